"""Car Racing as the paper's code sets it up: three actions, each taken twice, and a start when the camera is near.

The paper's text says no more than that tracks are random. What is taken from its published code: 50 frames in which
nobody drives come before each episode, for in the first second the camera comes near; every action is repeated once;
1000 frames are driven at most; and steering, gas and brake are each stretched over [-1, 1]. That code drove
CarRacing-v0, in which a lap counted with all tiles; in v3 it counts from 95 % on.
"""

from __future__ import annotations

import dm_env
import numpy as np
from dm_env import specs

from vmail_sim.car_racing.picture import Camera
from vmail_sim.car_racing.simulator import STATE_SIZE, Simulator, stock

ACTION_REPEAT = 2
IDLE_FRAMES = 50
EPISODE_STEPS = 1000 // ACTION_REPEAT
ACTIONS = ("steering", "gas", "brake")


class CarRacing(dm_env.Environment):
    """A lap of a new track in each episode, as a `vmail_sim.world.World`.

    A lap that is finished and a car that leaves the playfield end the task (discount 0); after 500 steps the time is
    over (discount 1).
    """

    main_score = "return"
    joint_count = 0  # a policy sees the picture alone

    def __init__(self, pixels: int | None = 64, seed: int | None = None, indicators: bool = True) -> None:
        """A task.

        Args:
            pixels: side of the square picture; None leaves pictures out of observations.
            seed: of the tracks until `reseed`.
            indicators: whether speed, wheels, steering, yaw rate and the return so far are shown on a black bar over
                the lowest eighth of the picture, as gymnasium does; without it the ground goes on there.
        """
        self._simulator = Simulator()
        self._camera = Camera(self._simulator, indicators)
        self._pixels, self._seed = pixels, seed
        self._steps = 0
        self._running = False

    def reseed(self, seed: int) -> None:
        """See `World`."""
        self._seed = seed

    def reset(self) -> dm_env.TimeStep:
        """See `World`."""
        self._simulator.reset(seed=self._seed)
        self._seed = None
        self._simulator.idle(IDLE_FRAMES)
        self._steps, self._running = 0, True
        return dm_env.restart(self._observation())

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        """Take the action (3,) for two frames; the reward is the sum of both."""
        if not self._running:
            return self.reset()
        controls, reward, ended = controls_of(action), 0.0, False
        for _ in range(ACTION_REPEAT):
            _, gained, ended, _, _ = self._simulator.step(controls)
            reward += float(gained)
            if ended:
                break
        self._steps += 1
        self._running = not ended and self._steps < EPISODE_STEPS
        if ended:
            return dm_env.termination(reward, self._observation())
        if not self._running:
            return dm_env.truncation(reward, self._observation())
        return dm_env.transition(reward, self._observation())

    def action_spec(self) -> specs.BoundedArray:
        """Steering (1 is full right), gas and brake (-1 is none), (3,) float32 in [-1, 1]."""
        return specs.BoundedArray((len(ACTIONS),), np.float32, -1.0, 1.0, name="action")

    def observation_spec(self) -> dict[str, specs.Array]:
        """`state` of `Simulator.driver_state`; `image` unless pixels is None."""
        found = {"state": specs.Array((STATE_SIZE,), np.float32, name="state")}
        if self._pixels is not None:
            found["image"] = specs.BoundedArray((self._pixels, self._pixels, 3), np.uint8, 0, 255, name="image")
        return found

    def control_timestep(self) -> float:
        """See `World`."""
        return ACTION_REPEAT / stock.FPS

    def picture(self, height: int, width: int) -> np.ndarray:
        """See `World`."""
        return self._camera.picture(height, width)

    def score(self) -> dict[str, float]:
        """Share of the track's tiles that were visited."""
        return {"tiles": self._simulator.visited_share}

    def _observation(self) -> dict[str, np.ndarray]:
        observation = {"state": self._simulator.driver_state()}
        if self._pixels is not None:
            observation["image"] = self.picture(self._pixels, self._pixels)
        return observation


def controls_of(action: np.ndarray) -> np.ndarray:
    """A normalised action (3,) to gymnasium's steering in [-1, 1], gas and brake in [0, 1]."""
    if np.shape(action) != (len(ACTIONS),):
        raise ValueError(
            f"car_racing wants {len(ACTIONS)} actions ({', '.join(ACTIONS)}), got shape {np.shape(action)}"
        )
    steering, gas, brake = np.asarray(action, float)
    return np.array([steering, 0.5 * (gas + 1.0), 0.5 * (brake + 1.0)])


def action_of(steering: float, gas: float, brake: float) -> np.ndarray:
    """Inverse of `controls_of`, cut to [-1, 1]: (3,) float32."""
    return np.clip([steering, 2.0 * gas - 1.0, 2.0 * brake - 1.0], -1.0, 1.0).astype(np.float32)


def car_racing(name: str, pixels: int | None = 64, seed: int | None = None, indicators: bool = True) -> CarRacing:
    """Build `car_racing`; for the options see `CarRacing`."""
    return CarRacing(pixels, seed, indicators)
