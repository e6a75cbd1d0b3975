"""What a gamepad and a recorded take command, without nodes."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from sensor_msgs.msg import JointState, Joy

from vmail.demo.settings import SHIPPED_TAKES
from vmail_core.robot import load_robot
from vmail_nodes import gamepad_source as pad
from vmail_nodes.gamepad_source import GamepadSource, fingers_of
from vmail_nodes.messages import joint_state_message
from vmail_nodes.replay_source import PATIENCE_STEPS, ReplaySource

SPEC = load_robot("dclaw")
TAKE = SHIPPED_TAKES / "take_0001"
MIDDLE = (SPEC.lower + SPEC.upper) / 2.0


def joints(positions: np.ndarray) -> JointState:
    return joint_state_message(SPEC.joint_names, positions, 0 * positions, None, 1)


def joy(*buttons: int, sticks: dict[int, float] | None = None) -> Joy:
    axes = [0.0] * 8
    for axis, value in (sticks or {}).items():
        axes[axis] = value
    return Joy(axes=axes, buttons=[int(button in buttons) for button in range(11)])


class Pad:
    """A pad source that is asked for a command ten times a second."""

    def __init__(self) -> None:
        self.source, self.now, self.stamp = GamepadSource(SPEC, fingers_of(SPEC)), 100.0, 0
        self.source.add_state(joints(MIDDLE))
        self.step()

    def step(self, message: Joy | None = None, obeys: bool = True) -> np.ndarray:
        """A tenth of a second; by default the joints are where the last command sent them."""
        self.now, self.stamp = self.now + 0.1, self.stamp + 1
        if obeys and self.source.target is not None:
            self.source.add_state(joints(self.source.target))
        if message is not None:
            self.source.add_pad(message, self.now)
        self.source.add_frame(self.stamp)
        due = self.source.command(self.now)
        assert due is not None and due[0] == self.stamp and self.source.command(self.now) is None
        return due[1]


# The gamepad ----------------------------------------------------------------------------------------------


def test_sticks_move_one_finger_while_the_dead_mans_button_is_held() -> None:
    held = Pad()
    before = held.step()
    after = held.step(joy(pad.DEAD_MAN, sticks={pad.AXES[0]: 1.0, pad.AXES[2]: -0.5}))
    span = (SPEC.upper - SPEC.lower) * 0.1 / pad.FULL_SCALE_S
    expected = np.zeros(9)
    expected[[0, 2]] = span[0], -0.5 * span[2]
    np.testing.assert_allclose(after - before, expected, atol=1e-9)
    still = Pad()
    np.testing.assert_array_equal(still.step(joy(sticks={pad.AXES[0]: 1.0})), MIDDLE)
    np.testing.assert_array_equal(still.step(joy(pad.DEAD_MAN, sticks={pad.AXES[0]: 0.05})), MIDDLE)


def test_a_pad_that_falls_silent_moves_nothing_more_and_limits_hold() -> None:
    held = Pad()
    held.step(joy(pad.DEAD_MAN, sticks={pad.AXES[1]: 1.0}))
    for _ in range(10):
        last = held.step()
    np.testing.assert_array_equal(held.step(), last)
    for _ in range(40):
        last = held.step(joy(pad.DEAD_MAN, sticks={pad.AXES[1]: 1.0}))
    assert last[1] == SPEC.upper[1]


def test_buttons_choose_fingers_and_poses_and_stop_the_hand() -> None:
    held = Pad()
    moved = held.step(joy(pad.NEXT))
    assert held.source.poll() == "sticks move MFJ20, MFJ21, MFJ22" and held.source.poll() == ""
    np.testing.assert_array_equal(moved, MIDDLE)
    assert held.step(joy(pad.DEAD_MAN, sticks={pad.AXES[0]: 1.0}))[3] > MIDDLE[3]
    np.testing.assert_array_equal(held.step(joy(pad.REST)), held.step())  # not without the dead man's button
    held.step(joy())
    held.step(joy(pad.DEAD_MAN, pad.REST))
    on_the_way = held.step(joy(pad.DEAD_MAN))
    for _ in range(20):
        there = held.step(joy(pad.DEAD_MAN))
    np.testing.assert_allclose(there, SPEC.rest)
    assert np.abs(on_the_way - SPEC.rest).max() > 0.1
    assert not held.source.wants_estop
    held.step(joy(pad.ESTOP))
    assert held.source.wants_estop
    held.source.wants_estop = False
    held.step(joy(pad.ESTOP))
    assert not held.source.wants_estop, "a button that stays down was pressed once"


def test_letting_go_leaves_the_hand_where_it_is() -> None:
    held = Pad()
    held.step(joy(pad.DEAD_MAN, pad.REST))
    held.step(joy(pad.DEAD_MAN))
    at = held.source.target.copy()
    for message in (joy(), None, None, joy(pad.DEAD_MAN)):
        np.testing.assert_array_equal(held.step(message), at)


def test_a_joint_that_something_stops_does_not_wind_up() -> None:
    held = Pad()
    for _ in range(20):
        target = held.step(joy(pad.DEAD_MAN, sticks={pad.AXES[0]: 1.0}), obeys=False)
    assert target[0] - MIDDLE[0] <= SPEC.max_joint_speed * SPEC.control_period + 1e-9
    held.source.on_hold()
    held.source.add_state(joints(MIDDLE))
    np.testing.assert_array_equal(held.step(joy()), MIDDLE)


def test_a_small_pad_lacks_axes_and_does_no_harm() -> None:
    held = Pad()
    np.testing.assert_array_equal(held.step(Joy(axes=[0.0], buttons=[0])), MIDDLE)


# The take ---------------------------------------------------------------------------------------------------


def ask(source: ReplaySource, present: np.ndarray, stamp: int) -> np.ndarray | None:
    source.add_state(joints(present))
    source.add_frame(stamp)
    due = source.command()
    return None if due is None else due[1]


def test_a_take_is_done_again_from_its_first_pose_on() -> None:
    source = ReplaySource(SPEC, str(TAKE))
    first = ask(source, SPEC.rest + 0.3, 0)
    assert first is not None and source.poll() == ""
    np.testing.assert_array_equal(ask(source, SPEC.rest + 0.3, 1), first)
    given = [ask(source, first, stamp) for stamp in range(2, 90)]
    assert source.poll() == "replaying take_0001, 80 commands" and source.poll() == ""
    commands = [command for command in given if command is not None]
    assert len(commands) == 81 and source.finished == "replayed take_0001: 80 commands"
    np.testing.assert_array_equal(commands[0], first)
    assert np.ptp(np.stack(commands), axis=0).max() > 0.5
    source.begin()
    assert not source.finished and ask(source, first, 1) is not None
    source.on_hold()
    assert source.finished.startswith("the driver did not obey") and ask(source, first, 2) is None


def test_a_hand_that_cannot_reach_the_first_pose_is_told() -> None:
    source = ReplaySource(SPEC, str(TAKE))
    stuck = SPEC.rest.copy()
    stuck[4] += 0.5
    assert all(ask(source, stuck, stamp) is not None for stamp in range(PATIENCE_STEPS))
    assert ask(source, stuck, 99) is None
    assert source.finished == "MFJ21 does not reach where take_0001 began"


def test_what_is_no_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="take:="):
        ReplaySource(SPEC, "")
    with pytest.raises(ValueError, match="no bag at"):
        ReplaySource(SPEC, str(tmp_path / "none"))
    cut = shutil.copytree(TAKE, tmp_path / "cut")
    (cut / "metadata.yaml").unlink()
    with pytest.raises(ValueError, match="vmail recover"):
        ReplaySource(SPEC, str(cut))
