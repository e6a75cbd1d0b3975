"""The worlds as their makers draw them, to be measured beside this project's in benchmarks/worlds.py.

A stock world does in a control step what the task does, and is given the same actions: as many physics steps, and a
picture from the same place after the last one. Mesa draws in the calling thread on both sides (LP_NUM_THREADS=0).
dm_control's `physics.render` draws by default with shadows and reflections, which a processor takes long for; asked for
`plain` pictures, it leaves both out, as this project does.

- DM Control: the suite's own environment, action repeat 2, and its `physics.render` once for both. The walker's pace
  is not in the suite, and stands beside walker_walk: the same body, the same picture.
- D'Claw: robel's scene with all that it ships: full meshes, smooth edges, three lights that each cast shadows, and the
  second claw, which takes part in physics but is not drawn by default. robel's own environment classes do not load
  beside a Python of today: they need a gym older than 0.26, and mujoco-py or a MuJoCo that still reads robel's XML,
  whose declaration stands after a comment. So this project's task, without its pictures, acts in robel's scene, and
  dm_control's `physics.render` draws that.
- Baoding: PDDM's environment needs mujoco-py, too, and gymnasium-robotics has the hand's files, but not this task. So
  this project's task, without its pictures, acts in the same scene with the meshes and the quality of pictures that
  gymnasium-robotics ships, and dm_control's `physics.render` draws it.
- Car Racing: gymnasium's CarRacing-v3 as it is, which draws 96 px after every frame whether anyone looks or not; a
  control step is two frames. This project's episodes begin with 50 frames in which nobody drives, these do not.
"""

from __future__ import annotations

from typing import Any, Protocol
from unittest import mock

import gymnasium
import numpy as np
from lxml import etree

import vmail_sim
from vmail_sim import mjcf
from vmail_sim.baoding import model as hand
from vmail_sim.car_racing.tasks import ACTION_REPEAT as CAR_REPEAT
from vmail_sim.car_racing.tasks import controls_of
from vmail_sim.dclaw import model as claw
from vmail_sim.dmc.tasks import ACTION_REPEAT, SIDE_CAMERA

NOT_IN_SUITE = {"walker_pace": "walker_walk"}


class Playable(Protocol):
    """A world that is measured. Its pictures are (P, P, 3) uint8, or None where it draws none."""

    def reset(self) -> np.ndarray | None:
        """Begin an episode; returns its first picture."""

    def step(self, action: np.ndarray) -> tuple[np.ndarray | None, bool]:
        """One control step with a normalised action (A,): the picture after it, and whether the episode is over."""


class DrawnByDmControl:
    """A dm_control environment whose pictures come from its `physics.render`."""

    def __init__(self, env: Any, camera: str | int, pixels: int, plain: bool, repeat: int = 1) -> None:
        """Each action is taken `repeat` times before a picture."""
        self._env, self._repeat = env, repeat
        self._asked: dict[str, Any] = {"height": pixels, "width": pixels, "camera_id": camera}
        if plain:
            self._asked["render_flag_overrides"] = {"shadow": False, "reflection": False}

    def reset(self) -> np.ndarray:
        self._env.reset()
        return self._picture()

    def step(self, action: np.ndarray) -> tuple[np.ndarray, bool]:
        for _ in range(self._repeat):
            over = self._env.step(action).last()
            if over:
                break
        return self._picture(), over

    def _picture(self) -> np.ndarray:
        return self._env.physics.render(**self._asked)


class StockCarRacing:
    """CarRacing-v3."""

    def __init__(self) -> None:
        """Of gymnasium's registry, which adds a time limit of 1000 frames."""
        self._env = gymnasium.make("CarRacing-v3")
        self._seed: int | None = 0

    def reset(self) -> np.ndarray:
        picture, _ = self._env.reset(seed=self._seed)
        self._seed = None
        return picture

    def step(self, action: np.ndarray) -> tuple[np.ndarray, bool]:
        controls = controls_of(action)
        for _ in range(CAR_REPEAT):
            picture, _, ended, late, _ = self._env.step(controls)
            if ended or late:
                break
        return picture, ended or late


def robel_scene(task: str) -> str:
    """MJCF of a task of the D'Claw as robel has it, and this project's camera. robel has no scene with 4 prongs."""
    root, prongs = claw.robel_root(), 4 if "4" in task else 3
    name = "robel-scenes/dclaw/dclaw3xh.xml" if task == "dclaw_pose" else "dclaw/assets/dclaw3xh_valve3_v0.xml"
    tree = claw._resolve_includes(root / name, {"valve3.xml": f"valve{prongs}.xml"})
    folder = str(root / "robel-scenes" / "dclaw")
    etree.SubElement(tree, "compiler", meshdir=folder, texturedir=folder)
    view = claw.CAMERA_LOOKAT, claw.CAMERA_DISTANCE, claw.CAMERA_AZIMUTH_DEG, claw.CAMERA_ELEVATION_DEG
    mjcf.add_camera(tree, claw.CAMERA, *view)
    return etree.tostring(tree, encoding="unicode")


def full_hand_scene() -> tuple[str, dict[str, bytes]]:
    """MJCF and assets of Baoding without what this project does so that it is drawn fast."""
    with (
        mock.patch.object(mjcf, "thin_stl", lambda content, faces: content),
        mock.patch.object(mjcf, "light_for_software_rendering", lambda tree: None),
    ):
        return hand.hand_xml.__wrapped__()  # past the cache, which holds the light one


def stock_world(task: str, pixels: int, plain: bool = False) -> Playable:
    """The stock world beside a task. Car Racing has its own size of picture, and knows no plain ones."""
    if task == "car_racing":
        return StockCarRacing()
    if task == "baoding" or task.startswith("dclaw_"):
        env: Any = vmail_sim.load(task, seed=0, pixels=None)
        scene, camera = (full_hand_scene(), hand.CAMERA) if task == "baoding" else ((robel_scene(task),), claw.CAMERA)
        env._physics = type(env.physics).from_xml_string(*scene)
        return DrawnByDmControl(env, camera, pixels, plain)
    from dm_control import suite  # here, because vmail_sim chooses the backend first

    domain, _, name = NOT_IN_SUITE.get(task, task).partition("_")
    return DrawnByDmControl(suite.load(domain, name, {"random": 0}), SIDE_CAMERA, pixels, plain, ACTION_REPEAT)
