import numpy as np
import pytest

import vmail_sim
from vmail_core.robot import load_robot
from vmail_sim.dclaw import tasks
from vmail_sim.experts import load_expert, policy
from vmail_sim.experts.demos import demonstrate
from vmail_sim.visual import VisualTask

VALVES = [name for name in vmail_sim.task_names() if "valve" in name]


def test_the_count_of_joints_is_known_before_the_first_picture():
    env = VisualTask("dclaw_valve3_ccw", 32)
    count = env.joint_count
    env.reset(seed=0)
    assert env.joint_positions.shape == (count,) == (9,) and env.joint_positions.dtype == np.float32


def test_wide_starts_are_wide_and_fixed_ones_are_not():
    env = vmail_sim.load("dclaw_valve3_ccw", seed=0, pixels=None)
    starts = [env.reset().observation for _ in range(40)]
    valves = np.array([start["valve_angle"] for start in starts])
    off = np.array([start["joint_positions"] for start in starts]) - load_robot("dclaw").rest
    assert np.ptp(valves) > 5.0, "anywhere in the turn"
    assert np.abs(off).max() > 0.1, "claw joints perturbed by 0.1 rad and more"
    fixed = vmail_sim.load("dclaw_valve3_ccw", seed=0, pixels=None, starts="fixed")
    assert fixed.reset().observation["valve_angle"] == 0.0


@pytest.mark.parametrize("kick", ["valve", "claw", "both"])
def test_a_kick_changes_what_follows_it(kick):
    def states(option):
        env = vmail_sim.load("dclaw_valve3_ccw", seed=1, pixels=None, kick=option)
        env.reset()
        return np.stack([env.step(np.zeros(9, np.float32)).observation["state"] for _ in range(79)])

    calm, kicked = states("none"), states(kick)
    changed = np.flatnonzero(np.abs(calm - kicked).max(1) > 1e-3)
    assert tasks.EPISODE_STEPS // 3 <= changed[0] < 2 * tasks.EPISODE_STEPS // 3


@pytest.mark.parametrize(("option", "value"), [("starts", "narrow"), ("kick", "cat")])
def test_an_unknown_option_is_answered_with_the_choices(option, value):
    with pytest.raises(ValueError, match=f"{option}='{value}'.*choose"):
        vmail_sim.load("dclaw_valve3_ccw", **{option: value})


def test_an_unknown_task_is_answered_with_the_list():
    with pytest.raises(ValueError, match="dclaw_valve3_ccw"):
        vmail_sim.load("dclaw_valve5_ccw")


def test_goals_move_no_faster_than_the_robot_may():
    env = vmail_sim.load("dclaw_valve3_ccw", seed=0, pixels=None)
    robot = load_robot("dclaw")
    env.reset()
    for sign in (1, -1):
        before = env.physics.joint_positions()
        env.step(np.full(9, sign, np.float32))
        reach = robot.max_joint_speed * robot.control_period
        assert np.all(np.abs(env.physics.data.ctrl - before) <= reach + 1e-9)


@pytest.mark.parametrize("name", VALVES)
def test_the_expert_turns_its_valve(name):
    episode = demonstrate(load_expert(name), VisualTask(name, 64), seed=0)
    assert episode.provenance["score"]["radians"] >= 12.0
    assert episode.image.shape == (81, 64, 64, 3)


def test_what_is_stored_replays_to_the_pixel():
    env = VisualTask("dclaw_valve3_ccw", 64)
    episode = demonstrate(load_expert("dclaw_valve3_ccw"), env, seed=1)
    frames = [env.reset(1)] + [env.step(action).image for action in episode.action[1:]]
    assert np.array_equal(np.stack(frames), episode.image)


def test_an_expert_refuses_a_state_of_another_size():
    with pytest.raises(ValueError, match=r"\(30,\).*\(7,\)"):
        load_expert("dclaw_valve3_ccw")(np.zeros(7))


def test_no_expert_says_how_to_train_one(tmp_path, monkeypatch):
    monkeypatch.setattr(policy, "WEIGHTS", tmp_path)
    with pytest.raises(FileNotFoundError, match="python -m vmail_sim.experts.sac cheetah_run"):
        load_expert("cheetah_run")
    with pytest.raises(FileNotFoundError, match="no task 'cheetah_rnu'; known tasks: baoding, car_racing"):
        load_expert("cheetah_rnu")
    with pytest.raises(FileNotFoundError, match=r"no expert at mine/cheetah_run\.safetensors"):
        load_expert("mine/cheetah_run.safetensors")
