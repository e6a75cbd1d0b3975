"""Episodes of a robomimic dataset (HDF5, also what robosuite and MimicGen write) to ours.

There, `actions[t]` follows picture t: ours begin with a zero action and take the last picture from `next_obs`, where
the dataset has it. Joint angles are those of every arm, `robot0_joint_pos`, `robot1_joint_pos`, ..., one after another.
Times are not stored; the environment's control frequency is, as a rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.import_report import Rejection

ARM_JOINTS = re.compile(r"robot\d+_joint_pos")  # rad; gripper, sine and cosine have names of their own


def read_robomimic(
    path: str | Path, camera: str | None = None, period: float | None = None, task: str = ""
) -> Iterator[Episode | Rejection]:
    """Every demonstration of a file, in order of number; one that is no episode as a rejection with the reason.

    Args:
        path: the .hdf5 file.
        camera: the picture among its observations; needed where there are several.
        period: seconds from frame to frame; by default what the file says of its environment.
        task: noted in the provenance; by default the file's environment.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, no such dataset, or does not tell its rate; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with h5py.File(path) as file:
            if "data" not in file:
                raise ValueError("it has no group data")
            environment = _environment(file["data"])
            seconds = _period(environment) if period is None else period
            notes = {"source": "robomimic hdf5", "task": task or environment.get("env_name", ""), "times": "nominal"}
            for name in sorted(file["data"], key=_number):
                try:
                    yield _episode(file["data"][name], camera, seconds, notes | {"demonstration": name})
                except (AttributeError, KeyError, TypeError, ValueError) as error:
                    yield Rejection(name, f"{path}, {name}: {error.args[0]}")
    # h5py raises OSError on what is no HDF5, or is cut off.
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no robomimic dataset that can be read: {error}") from error


def _environment(data: h5py.Group) -> dict[str, Any]:
    found = json.loads(data.attrs.get("env_args", "{}"))
    return found if isinstance(found, dict) else {}


def _period(environment: dict[str, Any]) -> float:
    frequency = (environment.get("env_kwargs") or {}).get("control_freq")
    if not frequency:
        raise ValueError("it does not tell its control frequency; give the seconds from frame to frame (--period)")
    return 1.0 / float(frequency)


def _episode(demo: h5py.Group, camera: str | None, period: float, notes: dict[str, Any]) -> Episode:
    if "obs" not in demo:
        raise ValueError("it holds no pictures: render them with robomimic's dataset_states_to_obs.py")
    name = camera or _only_camera(demo)
    if name not in demo["obs"]:
        raise ValueError(f"it has no camera {name}; its observations: {', '.join(sorted(demo['obs']))}")
    steps, whole = len(demo["obs"][name]), name in demo.get("next_obs", {})
    images = _observed(demo, name, whole)
    arms = sorted((found for found in demo["obs"] if ARM_JOINTS.fullmatch(found)), key=_number)
    joints = np.concatenate([_observed(demo, arm, whole) for arm in arms], -1).astype(np.float32) if arms else None
    actions = np.asarray(demo["actions"])
    if actions.ndim != 2 or len(actions) != steps:
        raise ValueError(f"actions {actions.shape} do not fit {steps} pictures")
    if np.abs(actions).max() > 1.0:
        raise ValueError(f"actions reach {np.abs(actions).max():.3g}; normalise them to [-1, 1] first")
    rows = len(images)
    action, reward = np.zeros((rows, actions.shape[1]), np.float32), None
    action[1:] = actions[: rows - 1]
    if "rewards" in demo:
        reward = np.zeros(rows, np.float32)
        reward[1:] = demo["rewards"][: rows - 1]
    return Episode(
        image=images,
        action=action,
        time=np.arange(rows) * period,
        joint_positions=joints,
        reward=reward,
        provenance=notes,
    )


def _observed(demo: h5py.Group, name: str, whole: bool) -> np.ndarray:
    """An observation (T, ...); with `whole`, (T + 1, ...): the one after the last action too."""
    if not whole:
        return demo["obs"][name][()]
    if name not in demo["next_obs"]:
        raise ValueError(f"its next_obs lack {name}, which its obs hold")
    return np.concatenate([demo["obs"][name], demo["next_obs"][name][-1:]])


def _only_camera(demo: h5py.Group) -> str:
    pictures = [name for name, data in demo["obs"].items() if data.ndim == 4 and data.dtype == np.uint8]
    if len(pictures) != 1:
        found = f"several cameras, choose one: {', '.join(sorted(pictures))}" if pictures else "no pictures"
        raise ValueError(f"its observations hold {found}")
    return pictures[0]


def _number(name: str) -> tuple[int, str]:
    digits = "".join(letter for letter in name if letter.isdigit())
    return (int(digits) if digits else -1, name)
