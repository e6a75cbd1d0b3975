"""Car Racing: gymnasium's rewards, ends and pictures, the paper's start, and a driver who knows the track."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.envs.box2d import car_racing as stock

import vmail_sim
from vmail_sim.car_racing.picture import Camera
from vmail_sim.car_racing.simulator import Simulator
from vmail_sim.car_racing.tasks import EPISODE_STEPS, IDLE_FRAMES, action_of, controls_of
from vmail_sim.experts import load_expert
from vmail_sim.experts.demos import demonstrate
from vmail_sim.experts.driver import TrackDriver, speed_for
from vmail_sim.experts.recording import LEAST_SCORE
from vmail_sim.visual import VisualTask

STRAIGHT_ON = np.array([0.0, -0.6, -1.0], np.float32)  # full gas would make it spin
STANDING = np.array([0.0, -1.0, 1.0], np.float32)


def some_actions(steps: int) -> np.ndarray:
    """Driving of a kind: mostly gas, gentle bends."""
    rng = np.random.default_rng(0)
    return np.stack([action_of(rng.uniform(-0.2, 0.2), rng.uniform(0.2, 0.6), 0.0) for _ in range(steps)])


@pytest.mark.parametrize("size", [32, 64, 96, 128])
def test_pictures_of_any_size(size: int) -> None:
    env = VisualTask("car_racing", size)
    image = env.reset(seed=0)
    assert image.shape == (size, size, 3) and image.dtype == np.uint8
    assert env.joint_count == 0 and env.joint_positions is None
    assert env.main_score == "return"


def test_rewards_and_ends_are_gymnasiums_own_over_both_repeats() -> None:
    env, reference = VisualTask("car_racing", 64), Simulator()
    env.reset(seed=3)
    reference.reset(seed=3)
    reference.idle(IDLE_FRAMES)
    for action in some_actions(40):
        expected = sum(reference.step(controls_of(action))[1] for _ in range(2))
        assert env.step(action).reward == pytest.approx(expected, abs=1e-12)
    assert env.score()["tiles"] == reference.tile_visited_count / len(reference.track) > 0.0


def test_the_simulator_drives_as_the_stock_environment_does() -> None:
    mine, theirs = Simulator(), stock.CarRacing()
    mine.reset(seed=1)
    theirs.reset(seed=1)
    for action in some_actions(20):
        assert mine.step(controls_of(action))[1:4] == theirs.step(controls_of(action))[1:4]
    assert tuple(mine.car.hull.position) == tuple(theirs.car.hull.position)


def test_an_episode_starts_at_rest_with_the_camera_near() -> None:
    env = vmail_sim.load("car_racing", seed=0)
    start = env.reset()
    assert start.first()
    assert np.abs(start.observation["state"][:4]).max() < 1e-3, "speed, yaw rate and steering"
    later = env.step(STANDING).observation["image"]
    assert np.abs(later.astype(int) - start.observation["image"]).mean() < 1.0, "the camera comes no nearer"


def test_time_that_runs_out_is_no_end_of_the_task() -> None:
    env, steps, step = VisualTask("car_racing", 64), 0, None
    env.reset(seed=0)
    while step is None or not step.last:
        step, steps = env.step(STANDING), steps + 1
    assert steps == EPISODE_STEPS == 500
    assert not step.ended
    assert env.score()["return"] == pytest.approx(-100.0, abs=20.0), "0.1 a frame, and the tiles it stands on"


def test_to_leave_the_playfield_ends_the_task() -> None:
    env, steps, step = vmail_sim.load("car_racing", pixels=None, seed=0), 0, None
    env.reset()
    while step is None or not step.last():
        step, steps = env.step(STRAIGHT_ON), steps + 1
    assert steps < EPISODE_STEPS
    assert step.discount == 0.0 and step.reward < -99.0
    assert env.step(STRAIGHT_ON).first(), "the next episode begins"


def test_a_finished_lap_ends_the_task() -> None:
    env, driver, step = VisualTask("car_racing", 64), TrackDriver(), None
    env.reset(seed=3)
    while step is None or not step.last:
        step = env.step(driver(env.state))
    assert step.ended and env.score()["tiles"] == 1.0


def test_actions_reach_the_car_as_steering_gas_and_brake() -> None:
    assert controls_of(np.array([0.5, -1.0, 1.0])) == pytest.approx([0.5, 0.0, 1.0])
    assert action_of(*controls_of(np.array([-0.3, 0.2, -0.6]))) == pytest.approx([-0.3, 0.2, -0.6])
    env = vmail_sim.load("car_racing", pixels=None, seed=0)
    env.reset()
    with pytest.raises(ValueError, match=r"3 actions \(steering, gas, brake\), got shape \(2,\)"):
        env.step(np.zeros(2, np.float32))


@pytest.mark.parametrize("frames", [1, 60])
def test_pictures_are_those_of_gymnasium(frames: int) -> None:
    """When the camera is far, and over a drive. What differs, of 255 grey levels, is no more than this:

    gymnasium's shrinking rounds down, by up to two levels everywhere, and shapes are a part of a pixel wider or
    narrower, which tells most in a track seen from afar.
    """
    simulator = Simulator()
    simulator.reset(seed=3)
    camera, differences = Camera(simulator), []
    for action in some_actions(frames):
        simulator.step(controls_of(action))
        theirs = stock.CarRacing._render(simulator, "state_pixels").astype(float)
        differences.append(camera.picture(96, 96) - theirs)
    pixels = np.stack(differences)
    assert np.abs(pixels).mean((1, 2, 3)).max() < 2.5
    assert np.abs(pixels - np.median(pixels)).mean() < 1.5, "where shapes are, not how bright they are"
    assert (np.abs(pixels) > 40.0).mean() < 0.002, "no part is missing"


def test_the_bar_of_indicators_is_an_option() -> None:
    shown, hidden = (VisualTask("car_racing", 64, indicators=choice).reset(seed=0) for choice in (True, False))
    assert np.array_equal(shown[:56], hidden[:56])
    assert shown[57:].mean() < 40.0 < 60.0 < hidden[57:].mean()
    with pytest.raises(ValueError, match="car_racing has no option 'look'; its options: pixels, seed, indicators"):
        vmail_sim.load("car_racing", look="classic")


def test_the_driver_brakes_for_a_bend_and_steers_into_it() -> None:
    straight = np.stack([np.zeros(20), 7.0 * np.arange(20)], 1)
    angle = 0.5 * np.arange(20)
    bend = np.cumsum(np.stack([7.0 * np.sin(angle), 7.0 * np.cos(angle)], 1), 0)  # to the right
    assert speed_for(bend) < 0.9 * speed_for(straight)
    calm = TrackDriver()(np.concatenate([[50.0], np.zeros(7), straight.ravel()]))
    turning = TrackDriver()(np.concatenate([[70.0], np.zeros(7), bend.ravel()]))
    assert calm[0] == pytest.approx(0.0) and calm[1] > -1.0 and calm[2] == -1.0
    assert turning[0] > 0.0 and turning[1] == -1.0 and turning[2] > -1.0
    with pytest.raises(ValueError, match=r"\(48,\), got \(30,\)"):
        TrackDriver()(np.zeros(30))


def test_the_driver_earns_what_a_demonstration_must() -> None:
    episode = demonstrate(load_expert("car_racing"), VisualTask("car_racing", 64), seed=100)
    facts = episode.provenance
    assert facts["score"]["return"] >= LEAST_SCORE["car_racing"].value
    assert facts["score"]["tiles"] == 1.0 and facts["ended"] is True
    assert "gymnasium" in facts["simulator"] and len(facts["states"]) == len(episode)
    assert episode.reward.sum() == pytest.approx(facts["score"]["return"], abs=0.1)
