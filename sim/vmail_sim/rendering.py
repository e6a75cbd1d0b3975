"""Headless rendering: the GL backend, chosen before dm_control is imported, cameras, and a check of pictures."""

from __future__ import annotations

import ctypes.util
import os
from typing import Any

import numpy as np


def prefer_headless_gl() -> str:
    """Set MUJOCO_GL to egl or osmesa unless the user chose one; returns the choice.

    Mesa's software driver draws in the caller's thread: small pictures take longer to hand to others than to draw, and
    those would take the processor from the nodes that wait for the picture.

    Raises:
        RuntimeError: neither library is installed; the message holds the command that installs one.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    if "MUJOCO_GL" not in os.environ:
        if ctypes.util.find_library("EGL") and (ctypes.util.find_library("OpenGL") or ctypes.util.find_library("GL")):
            os.environ["MUJOCO_GL"] = "egl"
        elif ctypes.util.find_library("OSMesa"):
            os.environ["MUJOCO_GL"] = "osmesa"
        else:
            raise RuntimeError(
                "no headless OpenGL: run `apt-get install -y libegl1 libegl-mesa0 libopengl0 libgl1-mesa-dri` "
                "(or set MUJOCO_GL=glfw on a machine with a screen)"
            )
    return os.environ["MUJOCO_GL"]


class SceneCamera:
    """A camera of a dm_control physics.

    The scene of each picture size is kept: `physics.render` makes and frees one a call, which costs as much as drawing.
    """

    def __init__(self, physics: Any, camera: str | int, plain: bool = False, shown_group: int | None = None) -> None:
        """With `plain`, without shadows and reflections, which a processor takes long to draw.

        Geoms of `shown_group` are drawn beside those of groups 0 to 2.
        """
        self._physics, self._camera, self._shown_group = physics, camera, shown_group
        self._flags = {"shadow": False, "reflection": False} if plain else None
        self._scenes: dict[tuple[int, int], Any] = {}

    def picture(self, height: int, width: int) -> np.ndarray:
        """The view now, (height, width, 3) uint8."""
        from dm_control import mujoco  # here, because the backend must be chosen first

        if not self._scenes:  # the first picture makes MuJoCo's own, which holds 640 x 480 pixels by default
            largest = self._physics.model.vis.global_
            largest.offheight, largest.offwidth = max(largest.offheight, height), max(largest.offwidth, width)
        if (height, width) not in self._scenes:
            self._scenes[height, width] = mujoco.Camera(self._physics, height, width, camera_id=self._camera)
        option = None
        if self._shown_group is not None:
            option = mujoco.wrapper.MjvOption()
            option.geomgroup[self._shown_group] = 1
        return self._scenes[height, width].render(scene_option=option, render_flag_overrides=self._flags).copy()


def check_plausible(image: np.ndarray, what: str) -> None:
    """Refuse a picture that is black or of one colour, which broken GL drivers return without an error.

    Args:
        image: (H, W, 3) uint8.
        what: named in the RuntimeError.
    """
    if int(image.max()) - int(image.min()) < 8:
        raise RuntimeError(f"{what}: the renderer returned an empty picture; check the GL driver (MUJOCO_GL)")
