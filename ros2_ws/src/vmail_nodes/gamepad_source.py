"""Commands from a gamepad (sensor_msgs/Joy, as ROS's joy_node publishes it): sticks move one finger at a time.

Nothing moves unless the dead man's button is held: let go, and the hand stays where it is. Axes and buttons are those
of an Xbox pad; of another one, `ros2 topic echo joy` shows which is which.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from sensor_msgs.msg import JointState, Joy

from vmail_core.robot import RobotSpec
from vmail_nodes.joint_source import StayingSource

AXES = (0, 1, 4)  # of a finger's joints, from the palm to the tip: left stick across and along, right stick along
DEAD_MAN, PREVIOUS, NEXT, REST, STAY, ESTOP, HANDOVER = 5, 4, 7, 0, 1, 2, 3  # buttons: RB held; LB, start; A, B, X, Y
DEAD_ZONE = 0.1
SILENCE_S = 0.15  # without a message from the pad nothing moves; joy_node sends twenty a second, also of an idle one
FULL_SCALE_S = 1.5  # a stick pushed all the way takes a joint from one limit to the other in so long


class GamepadSource(StayingSource):
    """Joint targets that sticks move at a speed, sent with every camera frame. See `Source`.

    Nothing moves before the dead man's button is held.
    """

    def __init__(self, spec: RobotSpec, fingers: Sequence[Sequence[int]]) -> None:
        """`fingers` are the joints (indices) that the sticks move together, at most three each."""
        self._fingers = [list(joints) for joints in fingers]
        self.wants_estop = self.wants_handover = False
        self._finger = 0
        self._said: list[str] = []
        self._pressed: set[int] = set()
        self._sticks, self._held, self._heard, self._moved = np.zeros(len(AXES)), False, -np.inf, 0.0
        super().__init__(spec)

    def begin(self) -> None:
        """Start from where the hand is, once that is known."""
        super().begin()
        self.target: np.ndarray | None = None
        self._pose: np.ndarray | None = None  # that a button asks for, until sticks move again
        self._moving = False

    def on_hold(self) -> None:
        """The driver does not obey: when it does again, nothing may be left to catch up with."""
        self.target = self._pose = None

    def add_state(self, message: JointState) -> None:
        """Where the joints are now. Raises ValueError when the message lacks some."""
        super().add_state(message)
        if self.target is None and self._here is not None:
            self.target = self._here.copy()

    def add_pad(self, message: Joy, now: float) -> None:
        """What the pad says at `now` (seconds of any steady clock)."""
        axes = [message.axes[axis] if axis < len(message.axes) else 0.0 for axis in AXES]
        self._sticks = np.where(np.abs(axes) > DEAD_ZONE, axes, 0.0)
        pressed = {button for button, down in enumerate(message.buttons) if down}
        new, self._pressed = pressed - self._pressed, pressed
        self._heard, self._held = now, DEAD_MAN in pressed
        if ESTOP in new:
            self.wants_estop = True
        if HANDOVER in new:
            self.wants_handover = True
        for button, step in ((NEXT, 1), (PREVIOUS, -1)):
            if button in new:
                self._finger = (self._finger + step) % len(self._fingers)
                names = ", ".join(self._spec.joint_names[joint] for joint in self._fingers[self._finger])
                self._said.append(f"sticks move {names}")
        if self._sticks.any() or STAY in new:
            self._pose = None
        if STAY in new and self._here is not None:
            self.target = self._here.copy()
        if REST in new and self._held:
            self._pose = self._spec.rest.copy()

    def command(self, now: float | None = None) -> tuple[int, np.ndarray] | None:
        """The target as the sticks have moved it by `now`."""
        if self.target is None or (due := self.due()) is None:
            return None
        (stamp_ns, present), now = due, time.monotonic() if now is None else now
        elapsed, self._moved = min(now - self._moved, 0.2), now
        silent = now - self._heard >= SILENCE_S
        if silent and self._held:  # told once
            self._held = False
            self._said.append(
                "the gamepad fell silent while its button was held, nothing moves: is it plugged in? joy_node repeats "
                "what it says by its autorepeat_rate"
            )
        moving = self._held
        if moving:
            joints = self._fingers[self._finger][: len(AXES)]
            span = (self._spec.upper - self._spec.lower)[joints]
            self.target = self.target if self._pose is None else self._pose.copy()
            self.target[joints] += self._sticks[: len(joints)] * span * elapsed / FULL_SCALE_S
            # Never farther ahead than a step: a joint that is stopped by something must not wind up.
            self.target = self._spec.limit_step(self.target, present)
        elif self._moving and self._here is not None:
            self.target, self._pose = self._here.copy(), None
        self._moving = moving
        return stamp_ns, self.target.copy()

    def poll(self) -> str:
        """What buttons did since the last call."""
        said, self._said = "; ".join(self._said), []
        return said


def fingers_of(spec: RobotSpec) -> list[list[int]]:
    """Joints of each finger, as the robot's file says; else three by three."""
    if spec.fingers is None:
        return [list(range(first, min(first + 3, spec.action_size))) for first in range(0, spec.action_size, 3)]
    return [[spec.joint_names.index(link.joint) for link in finger.links] for finger in spec.fingers.fingers]
