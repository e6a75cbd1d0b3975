"""What a gamepad, a recorded take and keys command, without nodes."""

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
from vmail_nodes.messages import goals_message, joint_state_message
from vmail_nodes.replay_source import PATIENCE_STEPS, UNOBEYED_STEPS, ReplaySource
from vmail_nodes.take_keys import DISCARD, NEXT, STOP
from vmail_nodes.teleop_sources import KeyboardSource

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
    once, last = held.step(), held.step()
    np.testing.assert_array_equal(once, last)
    assert "the gamepad fell silent while its button was held" in held.source.poll()
    np.testing.assert_array_equal(held.step(), last)
    assert held.source.poll() == ""
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


def test_letting_go_does_not_let_the_fingers_sink_that_nobody_moved() -> None:
    held = Pad()
    held.step(joy(pad.DEAD_MAN, sticks={4: 1.0}))
    standing = loaded(MIDDLE - SAG)
    held.source.add_goals(goals_message(SPEC.joint_names, MIDDLE, 1))
    held.source.add_state(standing)
    np.testing.assert_array_equal(held.step(joy(), obeys=False)[3:], MIDDLE[3:])


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
    source.on_obeyed()
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


def test_a_take_does_not_run_on_while_the_driver_does_not_obey() -> None:
    source = ReplaySource(SPEC, str(TAKE))
    first = ask(source, SPEC.rest, 0)
    assert first is not None
    for stamp in range(1, UNOBEYED_STEPS):
        np.testing.assert_array_equal(ask(source, first, stamp), first)
    assert ask(source, first, UNOBEYED_STEPS) is None
    assert source.finished == "take_0001 was not begun: the driver does not obey"


def test_a_hand_that_cannot_reach_the_first_pose_is_told() -> None:
    source = ReplaySource(SPEC, str(TAKE))
    stuck = SPEC.rest.copy()
    stuck[4] += 0.5
    assert all(ask(source, stuck, stamp) is not None for stamp in range(PATIENCE_STEPS))
    assert ask(source, stuck, 99) is None
    assert "MFJ21 does not reach where take_0001 began: after 5 s it is at " in source.finished


def test_what_is_no_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="take:="):
        ReplaySource(SPEC, "")
    with pytest.raises(ValueError, match="no bag at"):
        ReplaySource(SPEC, str(tmp_path / "none"))
    cut = shutil.copytree(TAKE, tmp_path / "cut")
    (cut / "metadata.yaml").unlink()
    with pytest.raises(ValueError, match="vmail recover"):
        ReplaySource(SPEC, str(cut))


# The keyboard ---------------------------------------------------------------------------------------------

SAG = 0.03  # how far below its goal a finger's own weight keeps a joint


def loaded(positions: np.ndarray, velocity: float = 0.0, current_ma: float = 40.0) -> JointState:
    """Joints as the driver tells of them: with currents."""
    return joint_state_message(
        SPEC.joint_names, positions, np.full(9, velocity), np.full(9, SPEC.joint_states_current_scale * current_ma), 1
    )


def keyboard(state: JointState, goals: np.ndarray | None = MIDDLE) -> KeyboardSource:
    """Keys for a hand in this state, with what its servos pursue."""
    source = KeyboardSource(SPEC, 0.08)
    source.add_goals(goals_message(SPEC.joint_names, goals, 1))
    source.add_state(state)
    return source


def commanded(source: KeyboardSource) -> np.ndarray:
    source.add_frame(1)
    due = source.command()
    assert due is not None
    return due[1]


def test_a_start_keeps_a_loaded_hand_at_its_goals() -> None:
    for state in (loaded(MIDDLE - SAG), loaded(MIDDLE + SAG)):
        source = keyboard(state)
        for again in (source.begin, source.on_hold, lambda source=source: source.press([" "], 0.0)):
            again()
            source.add_state(state)
            np.testing.assert_array_equal(commanded(source), MIDDLE)


@pytest.mark.parametrize(
    ("state", "goals"),
    [
        (loaded(MIDDLE - 0.2), MIDDLE),  # led elsewhere, or stuck
        (loaded(MIDDLE - SAG, velocity=0.5), MIDDLE),
        (loaded(MIDDLE - SAG, current_ma=400.0), MIDDLE),  # pushing
        (loaded(MIDDLE - SAG), None),  # limp
        (joints(MIDDLE - SAG), MIDDLE),  # of a driver that tells no currents
    ],
)
def test_otherwise_it_begins_where_the_joints_are(state: JointState, goals: np.ndarray | None) -> None:
    np.testing.assert_array_equal(commanded(keyboard(state, goals)), state.position)


def test_the_moved_joint_and_all_of_them_are_shown_with_what_is_commanded() -> None:
    source = keyboard(loaded(MIDDLE))
    target = MIDDLE[1] + 2 * 0.08 * SPEC.scale[1]
    assert source.press(["w", "w"], 1.0).endswith(f"{SPEC.joint_names[1]} to {target:+.2f} rad")
    assert source.press([], 1.5) == "" and not source.shown  # on its way
    moved = MIDDLE.copy()
    moved[1] = target - SAG
    source.add_goals(goals_message(SPEC.joint_names, moved + SAG * (np.arange(9) == 1), 2))
    source.add_state(loaded(moved))
    source.press([], 2.0)
    assert source.shown == [f"rad, measured (commanded): FFJ11 {target - SAG:+.2f} ({target:+.2f})"]
    source.press(["v"], 3.0)
    assert len(source.shown) == 2 and all(f"{name} " in source.shown[1] for name in SPEC.joint_names)


def test_the_recorders_keys_move_no_joint() -> None:
    source = keyboard(loaded(MIDDLE))
    assert source.press(["\x1b[C", "\x1b[D", "\x1b", "\x1b[A"], 0.0) == ""
    assert source.take_keys == [NEXT, DISCARD, STOP]
    np.testing.assert_array_equal(commanded(source), MIDDLE)


def test_help_names_the_joints_and_a_recorder_only_where_one_is() -> None:
    source = keyboard(loaded(MIDDLE))
    assert source.press(["?"], 0.0) == "" and len(source.shown) == 1
    assert (
        f"q/a {SPEC.joint_names[0]}, " in source.shown[0] and f"o/l {SPEC.joint_names[8]} up/down;" in source.shown[0]
    )
    assert "→" not in source.shown[0]
    source.recorder = True
    source.press(["?"], 0.0)
    assert "→ begins a take" in source.shown[-1]


def test_a_joint_that_the_guard_stops_says_so_once_it_gets_no_nearer() -> None:
    source = keyboard(loaded(MIDDLE))
    target = MIDDLE[1] + 0.08 * SPEC.scale[1]
    source.press(["w"], 0.0)
    near = MIDDLE.copy()
    for now, part in ((0.8, 0.3), (1.6, 0.4)):  # on its way, slowly
        near[1] = MIDDLE[1] + part * (target - MIDDLE[1])
        source.add_goals(goals_message(SPEC.joint_names, near, 2))
        source.press([], now)
        assert not source.shown
    source.press([], 2.4)
    (told,) = source.shown
    assert told.endswith(f"({near[1]:+.2f}); {target:+.2f} was asked for, the guard lets it go no farther")


@pytest.mark.parametrize("key", ["x", "X"])
def test_the_key_of_the_emergency_stop_works_with_caps_lock_too(key: str) -> None:
    source = keyboard(loaded(MIDDLE))
    assert source.press([key], 0.0) == ""
    assert source.wants_estop
