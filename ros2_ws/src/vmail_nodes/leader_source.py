"""Commands from a leader hand: a second hand of the same joints, limp, that somebody moves and the robot follows."""

from __future__ import annotations

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.bus_errors import BusError, BusLostError, BusReadError, BusWriteError
from vmail_hardware.calibration import Calibration, CalibrationError
from vmail_hardware.latency.bus_timing import patiently
from vmail_nodes.joint_source import JointSource

JOINED_RAD = 0.1  # nearer than that in every joint, the robot follows at full speed
APPROACH = 0.25  # of full speed until then: both hands stand differently at first


class LeaderSource(JointSource):
    """The leader's joint angles, read for each camera frame. See `Source`.

    What is mirrored, is mirrored by the leader's own robot file, with its ids and directions.
    """

    def __init__(
        self,
        spec: RobotSpec,
        port: str,
        leader: RobotSpec,
        calibration: Calibration | None = None,
        reply_timeout_ms: float = 4.0,
    ) -> None:
        """Follow the leader at a port, which must be the one that its `calibration` was made of.

        Raises:
            ValueError: there is no port, or the leader is no robot of its own with the same joints.
        """
        if not port:
            raise ValueError("parameter leader_port is empty: give the serial port of the leader's servos")
        if leader.name == spec.name:
            raise ValueError(
                f"leader and hand are both robot {spec.name}: give the leader a robot file of its own"
                " (leader:=my_leader.yaml) with another name, its servo ids and directions, and calibrate it too"
            )
        if set(leader.joint_names) != set(spec.joint_names):
            different = ", ".join(sorted(set(leader.joint_names) ^ set(spec.joint_names)))
            raise ValueError(
                f"leader {leader.name} and robot {spec.name} differ in {different}: they need the same joints"
            )
        self._opened = False
        self._order = [leader.joint_names.index(name) for name in spec.joint_names]
        self._leader, self._calibration = leader, calibration
        self._bus = DynamixelBus(port, leader, reply_timeout_ms=reply_timeout_ms)
        super().__init__(spec)
        self._said = ""  # nobody is approached before the start

    def open(self) -> None:
        """Open the leader's port and let its joints go. Raises OSError with the next step."""
        self._opened = True
        try:
            self._bus.open()
            self._bus.set_torque(False)
            if self._calibration is not None:
                self._calibration.check(self._leader, self._bus.servos, patiently(self._bus.read).position)
        except (BusError, CalibrationError) as error:
            raise OSError(f"leader: {error}") from error

    def close(self) -> None:
        """Close the port."""
        self._opened = False
        try:
            self._bus.close()
        except BusError as error:
            raise OSError(f"leader: {error}") from error

    def begin(self) -> None:
        """Approach the leader anew. A port that was lost is opened again."""
        super().begin()
        self._joined = False
        self._said = "approaching the leader; hold it still"
        if self._opened and not self._bus.is_open:
            try:
                self.open()
            except OSError as error:
                self.finished = str(error)

    def command(self) -> tuple[int, np.ndarray] | None:
        """Where the leader is; slowly at first, until the robot is there. None when the leader gives no answer."""
        due = self.due()
        if due is None:
            return None
        stamp_ns, present = due
        try:
            leader = self._bus.read().position[self._order]
        except (BusReadError, BusWriteError) as error:
            self._said = f"leader: {error}"
            return None
        except BusLostError as error:
            self.finished = f"leader: {error}; plug it in, then start again"
            return None
        leader = np.clip(leader, self._spec.lower, self._spec.upper)
        ahead = leader - present
        if not self._joined and np.abs(ahead).max() < JOINED_RAD:
            self._joined, self._said = True, "following the leader"
        if self._joined:
            return stamp_ns, leader
        reach = APPROACH * self._spec.max_joint_speed * self._spec.control_period
        return stamp_ns, present + np.clip(ahead, -reach, reach)

    def on_hold(self) -> None:
        """The driver does not obey: when it does again, the leader may be far away."""
        self._joined = False

    def poll(self) -> str:
        """What changed since the last call."""
        said, self._said = self._said, ""
        return said
