"""The twin's plant has the physics, the starts and the pictures of the task, and keeps real time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
import pytest

import vmail_sim
from vmail_core.robot import load_robot
from vmail_sim.dclaw import model, valve
from vmail_sim.twin import CameraLoop, ClawPlant, Frame

SPEC = load_robot("dclaw")
TASK = "dclaw_valve3_ccw"
ON = np.ones(SPEC.action_size, bool)
SUBSTEPS = 40


@pytest.fixture
def plant() -> Iterator[ClawPlant]:
    """A plant whose clock the test may start."""
    made = ClawPlant(SPEC, TASK, seed=11)
    yield made
    made.stop()


def test_starts_equal_those_of_the_task_with_the_same_seed(plant: ClawPlant) -> None:
    env = vmail_sim.load(TASK, seed=11, pixels=None)
    for _ in range(3):
        observation = env.reset().observation
        snapshot = plant.snapshot()
        np.testing.assert_array_equal(snapshot.joints, observation["joint_positions"])
        assert snapshot.valve_angle == observation["valve_angle"]
        plant.random_start()


def test_moves_exactly_as_the_task_under_the_same_goals(plant: ClawPlant) -> None:
    env = vmail_sim.load(TASK, seed=11, pixels=None)
    env.reset()
    random = np.random.default_rng(0)
    for _ in range(20):
        action = random.uniform(-1, 1, SPEC.action_size).astype(np.float32)
        plant.set_goals(SPEC.joint_targets(action, plant.positions()), ON)
        for _ in range(SUBSTEPS):
            plant.advance()
        env.step(action)
        np.testing.assert_allclose(plant.snapshot().qpos, env.physics.data.qpos, rtol=0, atol=1e-9)


def test_the_state_vector_of_a_snapshot_is_the_experts(plant: ClawPlant) -> None:
    env = vmail_sim.load(TASK, seed=11, pixels=None)
    observation = env.reset().observation
    s = plant.snapshot()
    zero = np.zeros(SPEC.action_size, np.float32)
    state = valve.valve_state(plant.prongs, s.joints, s.velocities, s.valve_angle, s.valve_velocity, zero)
    np.testing.assert_array_equal(state, observation["state"])


def test_a_joint_without_torque_gets_no_force_and_the_others_keep_theirs(plant: ClawPlant) -> None:
    torque = ON.copy()
    torque[4] = False
    plant.set_goals(plant.positions() + 0.2, torque)
    plant.advance()
    plant.advance()
    currents = np.array(plant.measured()[2])
    assert currents[4] == 0.0
    assert np.all(np.abs(np.delete(currents, 4)) > 50.0)
    assert list(plant.torque_enabled()) == list(torque)


def test_a_kick_comes_at_its_step_after_the_first_goal(plant: ClawPlant) -> None:
    plant.arm_kick("valve", control_step=3)
    for _ in range(200):
        plant.advance()
    assert plant.snapshot().valve_velocity > -1.0  # armed: nothing happens before a goal comes
    plant.set_goals(plant.positions(), ON)
    for _ in range(3 * SUBSTEPS):
        plant.advance()
    assert plant.snapshot().valve_velocity > -1.0
    plant.advance()
    assert plant.snapshot().valve_velocity < -3.0


def test_keeps_real_time_and_never_runs_ahead(plant: ClawPlant) -> None:
    steps = 0
    advance = plant.advance

    def counted() -> None:
        nonlocal steps
        advance()
        steps += 1

    plant.advance = counted  # type: ignore[method-assign]
    began = time.monotonic()
    plant.start()
    time.sleep(1.0)
    plant.stop()
    elapsed = time.monotonic() - began
    assert steps * 0.0025 <= elapsed + 0.0025
    assert steps * 0.0025 + plant.lost_seconds >= elapsed - 0.1


def test_pictures_are_those_of_the_task_at_the_stamped_instant(plant: ClawPlant) -> None:
    frames: list[Frame] = []
    camera = CameraLoop(plant, 20.0, 64, 64, frames.append)
    plant.set_goals(plant.positions(), ON)
    plant.start()
    before = time.time_ns()
    camera.start()
    time.sleep(0.6)
    camera.stop()
    plant.stop()
    assert len(frames) >= 4
    assert camera.error is None
    stamps = [frame.snapshot.stamp_ns for frame in frames]
    assert before < stamps[0] and stamps == sorted(set(stamps))
    env = vmail_sim.load(TASK, seed=0)
    env.physics.data.qpos[:] = frames[-1].snapshot.qpos
    env.physics.forward()
    np.testing.assert_array_equal(frames[-1].image, env.physics.render(64, 64, camera_id=model.CAMERA))


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(ValueError, match="ccw"):
        ClawPlant(SPEC, "dclaw_valve5_ccw")
    with pytest.raises(ValueError, match="wide"):
        ClawPlant(SPEC, TASK, starts="narrow")
