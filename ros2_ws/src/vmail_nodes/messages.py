"""Between numpy arrays and the standard messages that vmail speaks. Stamps are nanoseconds since the epoch."""

from __future__ import annotations

import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

NS_PER_S = 1_000_000_000
POLICY = "policy"
"""The commander of what a policy commands."""


def time_from_ns(stamp_ns: int) -> Time:
    """A message stamp from nanoseconds since the epoch."""
    return Time(sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)


def ns_from_time(stamp: Time) -> int:
    """Nanoseconds since the epoch of a message stamp."""
    return stamp.sec * NS_PER_S + stamp.nanosec


def image_from_array(pixels: np.ndarray, stamp_ns: int, frame_id: str = "camera") -> Image:
    """An rgb8 Image from pixels (H, W, 3) uint8."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"an image is (H, W, 3) uint8, got {pixels.shape} {pixels.dtype}")
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding="rgb8", step=3 * pixels.shape[1])
    message.header.stamp = time_from_ns(stamp_ns)
    message.header.frame_id = frame_id
    # Assigning bytes or a numpy array makes rclpy check every element: 104 ms at 640 x 480 against 0.5 ms.
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(pixels).reshape(-1).data)
    message.data = data
    return message


def array_from_image(message: Image) -> np.ndarray:
    """Pixels (H, W, 3) uint8 in RGB order, a copy.

    Raises:
        ValueError: an encoding other than rgb8 or bgr8, no pixels, or fewer bytes than height and step announce.
    """
    if message.encoding not in ("rgb8", "bgr8"):
        raise ValueError(f"camera image has encoding {message.encoding!r}; publish rgb8 or bgr8")
    raw = np.frombuffer(message.data, np.uint8)
    if not message.width or not message.height:
        raise ValueError(f"camera image of {message.width}x{message.height} has no pixels: look at what publishes it")
    if message.step < 3 * message.width or raw.size < message.height * message.step:
        raise ValueError(
            f"camera image of {message.width}x{message.height} with step {message.step} holds only {raw.size} bytes"
        )
    rows = raw[: message.height * message.step].reshape(message.height, message.step)
    pixels = rows[:, : 3 * message.width].reshape(message.height, message.width, 3)
    return np.ascontiguousarray(pixels[:, :, ::-1] if message.encoding == "bgr8" else pixels).copy()


def command_message(
    names: Sequence[str], positions: np.ndarray, stamp_ns: int, commander: str = "", time_from_start_ns: int = 0
) -> JointTrajectory:
    """One-point JointTrajectory: positions (N,) rad, stamped with the camera frame that they were computed from.

    Its frame_id, which means nothing for joints, names who commands: so each command of a recording tells its origin.
    `time_from_start_ns` is when the joints are to be there, for controllers that interpolate: see `reach_ns`.
    """
    message = JointTrajectory(joint_names=list(names))
    message.header.stamp, message.header.frame_id = time_from_ns(stamp_ns), commander
    seconds, nanoseconds = divmod(time_from_start_ns, NS_PER_S)
    point = JointTrajectoryPoint(positions=np.asarray(positions, np.float64).tolist())
    point.time_from_start = Duration(sec=seconds, nanosec=nanoseconds)
    message.points = [point]
    return message


def reach_ns(control_period_s: float, age_ns: int) -> int:
    """How long after its picture, which is `age_ns` old, a command is to be reached: when the next one is there.

    That is two control periods, or one from now on where the picture is old. The driver does not wait for it.
    ros2_control's joint_trajectory_controller interpolates up to it, and refuses what ends before it arrives.
    """
    period_ns = round(control_period_s * NS_PER_S)
    return max(2 * period_ns, age_ns + period_ns)


def positions_from_command(message: JointTrajectory, names: Sequence[str]) -> np.ndarray:
    """Positions (N,) rad of a one-point command, in the order of `names`. Values are passed on unchecked.

    Raises:
        ValueError: the message has other joints, or not exactly one point with one position for each.
    """
    if len(message.points) != 1:
        raise ValueError(f"a joint command has exactly one point, got {len(message.points)}")
    return _ordered(message.points[0].positions, message.joint_names, names, "joint command")


def latency_ns(message: JointTrajectory) -> int:
    """Nanoseconds from camera stamp to bus write, of a `joint_commands_sent` message."""
    duration = message.points[0].time_from_start
    return duration.sec * NS_PER_S + duration.nanosec


def joint_state_message(
    names: Sequence[str],
    positions: np.ndarray,
    velocities: np.ndarray,
    efforts: np.ndarray | None,
    stamp_ns: int,
) -> JointState:
    """JointState of N joints: rad, rad/s, effort in mA times the robot's scale (None leaves it empty)."""
    message = JointState(
        name=list(names),
        position=np.asarray(positions, np.float64).tolist(),
        velocity=np.asarray(velocities, np.float64).tolist(),
        effort=[] if efforts is None else np.asarray(efforts, np.float64).tolist(),
    )
    message.header.stamp = time_from_ns(stamp_ns)
    return message


def goals_message(names: Sequence[str], goals: np.ndarray | None, stamp_ns: int) -> JointState:
    """JointState of the goals (N,) rad that servos pursue; without joints where they pursue none."""
    message = JointState() if goals is None else JointState(name=list(names), position=goals.tolist())
    message.header.stamp = time_from_ns(stamp_ns)
    return message


def goals_from_message(message: JointState, names: Sequence[str]) -> np.ndarray | None:
    """The goals (N,) rad of a `goals_message`, in the order of `names`. Raises ValueError when a joint is missing."""
    return _ordered(message.position, message.name, names, "joint goals") if message.name else None


def positions_from_joint_state(message: JointState, names: Sequence[str]) -> np.ndarray:
    """Positions (N,) rad in the order of `names`. Raises ValueError when a joint is missing."""
    return _ordered(message.position, message.name, names, "joint state")


def velocities_from_joint_state(message: JointState, names: Sequence[str]) -> np.ndarray:
    """Velocities (N,) rad/s in the order of `names`. Raises ValueError when a joint is missing."""
    return _ordered(message.velocity, message.name, names, "joint state")


def efforts_from_joint_state(message: JointState, names: Sequence[str]) -> np.ndarray:
    """Efforts (N,), mA times the robot's scale, in the order of `names`. Raises ValueError when a joint is missing."""
    return _ordered(message.effort, message.name, names, "joint state")


def _ordered(values: Sequence[float], present: Sequence[str], wanted: Sequence[str], what: str) -> np.ndarray:
    if len(values) != len(present):
        raise ValueError(f"{what} names {len(present)} joints but holds {len(values)} values")
    column = dict(zip(present, values, strict=True))
    missing = [name for name in wanted if name not in column]
    if missing:
        raise ValueError(f"{what} lacks {', '.join(missing)}; it has {', '.join(present) or 'no joints'}")
    return np.array([column[name] for name in wanted], np.float64)
