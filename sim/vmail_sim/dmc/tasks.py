"""Walker and cheetah of the DeepMind Control suite: its physics and rewards, a picture, and repeated actions."""

from __future__ import annotations

import typing
from typing import Any, Literal

import dm_env
import mujoco
import numpy as np
from dm_control import suite
from dm_env import specs

from vmail_sim.dmc.walker_pace import walk_at_pace
from vmail_sim.rendering import SceneCamera

ACTION_REPEAT = 2
SIDE_CAMERA = 0
Look = Literal["plain", "classic"]
CLASSIC_SHADOW_PIXELS = (
    512  # of the shadow map: 64 px pictures cannot tell it from the default 4096, which takes 5x longer
)


class SuiteTask(dm_env.Environment):
    """A task of the suite as the paper has it: one camera, every action taken twice, 500 steps an episode."""

    main_score = "return"
    joint_count = 0  # what a policy sees of these bodies is the picture alone, as in the paper

    def __init__(
        self, domain: str, task: str, pixels: int | None = 64, seed: int | None = None, look: Look = "plain"
    ) -> None:
        """A task of dm_control.suite, or the walker at the pace of `walker_pace`.

        Args:
            domain, task: the suite's names, or "walker" and "pace".
            pixels: side of the square picture; None leaves pictures out of observations.
            seed: of the starts until `reseed`.
            look: "classic" draws as the suite did by default under MuJoCo 2, with shadows and reflections: for
                demonstrations that were recorded so. "plain" leaves both out and is several times faster.
        """
        self._random = np.random.RandomState(seed)
        kwargs = {"flat_observation": True}
        if (domain, task) == ("walker", "pace"):
            self._env = walk_at_pace(self._random, kwargs)
        else:
            self._env = suite.load(domain, task, task_kwargs={"random": self._random}, environment_kwargs=kwargs)
        self._pixels = pixels
        model, quality = self.physics.model, self.physics.model.vis.quality
        if look == "plain":
            quality.offsamples = 0
        elif look == "classic":
            quality.shadowsize = CLASSIC_SHADOW_PIXELS
            lay_floor_from_its_corner(model)
        else:
            raise ValueError(f"look {look!r} is not one of {', '.join(typing.get_args(Look))}")
        self._camera = SceneCamera(self.physics, SIDE_CAMERA, plain=look == "plain")

    @property
    def physics(self) -> Any:
        """The suite's physics."""
        return self._env.physics

    def reseed(self, seed: int) -> None:
        """See `World`."""
        self._random.seed(seed)

    def reset(self) -> dm_env.TimeStep:
        """See `World`."""
        return self._seen(self._env.reset())

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        """Take the action twice; the reward is the sum of both."""
        timestep = self._env.step(action)
        if timestep.first():  # the episode was over: a new one begins
            return self._seen(timestep)
        reward = timestep.reward
        for _ in range(ACTION_REPEAT - 1):
            if timestep.last():
                break
            timestep = self._env.step(action)
            reward += timestep.reward
        return self._seen(timestep._replace(reward=reward))

    def action_spec(self) -> specs.BoundedArray:
        """See `World`."""
        return self._env.action_spec().replace(dtype=np.float32)

    def observation_spec(self) -> dict[str, Any]:
        """`state`: everything that the suite observes, flat; `image` unless pixels is None."""
        found = {"state": self._env.observation_spec()["observations"].replace(dtype=np.float32)}
        if self._pixels is not None:
            found["image"] = specs.BoundedArray((self._pixels, self._pixels, 3), np.uint8, 0, 255, name="image")
        return found

    def control_timestep(self) -> float:
        """See `World`."""
        return ACTION_REPEAT * self._env.control_timestep()

    def picture(self, height: int, width: int) -> np.ndarray:
        """See `World`."""
        return self._camera.picture(height, width)

    def score(self) -> dict[str, float]:
        """Nothing beside the return."""
        return {}

    def _seen(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
        observation = {"state": timestep.observation["observations"].astype(np.float32)}
        if self._pixels is not None:
            observation["image"] = self.picture(self._pixels, self._pixels)
        return timestep._replace(observation=observation)


def lay_floor_from_its_corner(model: Any) -> None:
    """Shift the floor's texture as MuJoCo 2 laid it: from the plane's corner on, not from its centre.

    A discriminator would tell old pictures from new ones by nothing but the tiles. Call it before the first picture.
    """
    (floor,) = np.flatnonzero(model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE)  # walker and cheetah name it differently
    material = model.geom_matid[floor]
    texture = int(np.max(model.mat_texid[material]))
    height, width = int(model.tex_height[texture]), int(model.tex_width[texture])
    start, size = int(model.tex_adr[texture]), height * width * int(model.tex_nchannel[texture])
    pixels = model.tex_data[start : start + size].reshape(height, width, -1)
    # With texuniform, a texture spans 2 m / texrepeat.
    across, along = (model.geom_size[floor, :2] * model.mat_texrepeat[material] / 2.0) % 1.0
    pixels[:] = np.roll(pixels, (round(along * height), round(across * width)), (0, 1))


def suite_task(name: str, pixels: int | None = 64, seed: int | None = None, look: Look = "plain") -> SuiteTask:
    """Build `walker_walk` and the like; for the options see `SuiteTask`."""
    domain, _, task = name.partition("_")
    return SuiteTask(domain, task, pixels, seed, look)
