"""Fixtures of every test over ROS; see `ros_fixtures`, `recorder_rig` and `up_process`."""

from recorder_rig import output, recorder, rig
from ros_fixtures import module_ros, module_start_node, quick_switches, ros, ros_domain, start_node
from up_process import up

__all__ = [
    "module_ros",
    "module_start_node",
    "output",
    "quick_switches",
    "recorder",
    "rig",
    "ros",
    "ros_domain",
    "start_node",
    "up",
]
