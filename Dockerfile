# The robot's computer: ROS 2, vmail's nodes and the policy runtime. Neither torch nor a simulator.
#
#   docker build -t vmail .
#   docker run --rm -it --network=host --ipc=host --cap-add=SYS_NICE --device=/dev/ttyUSB0 --device=/dev/video0 \
#       -v "$PWD/bundle:/bundle:ro" vmail \
#       ros2 launch vmail policy_runner.launch.py bundle:=/bundle port:=/dev/ttyUSB0 camera:=/dev/video0
#
# --network=host and --ipc=host let nodes outside the container see those inside: DDS uses both UDP and shared memory.
# SYS_NICE gives the nodes realtime priority. The udev rule of the README belongs on the host. A GPU needs a base image
# with ROS 2, CUDA and cuDNN, and --gpus all:
#   docker build -t vmail --build-arg BASE=... --build-arg ONNXRUNTIME=onnxruntime-gpu .
ARG BASE=ros:kilted-ros-base
FROM ${BASE}
ARG ONNXRUNTIME=onnxruntime

RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        python3-numpy python3-opencv python3-pip python3-rich python3-serial python3-yaml \
    && rm -rf /var/lib/apt/lists/*

# ROS's messages are compiled against the system's numpy 1, so nothing may bring another.
RUN pip install --no-cache-dir --break-system-packages "numpy<2" ${ONNXRUNTIME} "dynamixel-sdk>=4.1" fastcrc mcap rosbags

COPY . /opt/vmail
RUN pip install --no-cache-dir --break-system-packages --no-deps /opt/vmail && rm -rf /opt/vmail

# Where pip put launch files and nodes; the entry point's setup file adds ROS's own.
ENV AMENT_PREFIX_PATH=/usr/local
CMD ["ros2", "launch", "vmail", "policy_runner.launch.py", "--show-args"]
