"""Experts by name: a tanh network from full state to the mean action, run in numpy, or a rule."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open

from vmail_core.episodes.hashing import sha256_of
from vmail_sim.registry import TASKS


class Rule(NamedTuple):
    """An expert that nothing was trained for, as "module:class", and tasks whose trained experts it makes use of."""

    place: str
    uses: tuple[str, ...] = ()


WEIGHTS = Path(__file__).with_name("weights")  # where trained ones ship
_VALVES = {prongs: (f"dclaw_valve{prongs}_ccw", f"dclaw_valve{prongs}_cw") for prongs in (3, 4)}
RULES = {  # by task
    "baoding": Rule("vmail_sim.experts.mpc:Planner"),
    "car_racing": Rule("vmail_sim.experts.driver:TrackDriver"),
    "dclaw_pose": Rule("vmail_sim.experts.claw:PoseTaker"),
    "dclaw_screw3": Rule("vmail_sim.experts.claw:TurnerOfThree", _VALVES[3]),
    "dclaw_screw4": Rule("vmail_sim.experts.claw:TurnerOfFour", _VALVES[4]),
    "dclaw_turn3": Rule("vmail_sim.experts.claw:TurnerOfThree", _VALVES[3]),
    "dclaw_turn4": Rule("vmail_sim.experts.claw:TurnerOfFour", _VALVES[4]),
}


class Expert(Protocol):
    """What can demonstrate a task."""

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """The action (A,) float32 in [-1, 1] for a state (S,)."""
        ...


class ExpertPolicy:
    """A trained state-feedback policy: (S,) state to (A,) action in [-1, 1]."""

    def __init__(self, layers: list[tuple[np.ndarray, np.ndarray]], metadata: dict[str, str]) -> None:
        """`layers` are (weight (out, in), bias (out,)) pairs; relu between, tanh at the end."""
        self._layers = layers
        self.metadata = metadata

    @property
    def state_size(self) -> int:
        """Length of the state vector."""
        return self._layers[0][0].shape[1]

    def __call__(self, state: np.ndarray) -> np.ndarray:
        """Mean action (A,) float32 for a state (S,)."""
        if state.shape != (self.state_size,):
            raise ValueError(f"expert wants a state of shape ({self.state_size},), got {state.shape}")
        x = state.astype(np.float32)
        for weight, bias in self._layers[:-1]:
            x = np.maximum(weight @ x + bias, 0.0)
        weight, bias = self._layers[-1]
        return np.tanh(weight @ x + bias).astype(np.float32)


def expert_path(task: str) -> Path:
    """Where the trained expert of a task ships."""
    return WEIGHTS / f"{task}.safetensors"


def has_expert(task: str) -> bool:
    """Whether one ships for the task."""
    return task in RULES or expert_path(task).is_file()


def fingerprint(task: str) -> str:
    """Which expert of a task this is: its name or file, and the beginning of that file's SHA-256.

    Raises:
        FileNotFoundError: no expert ships for that name; the message holds the command that trains one.
    """
    if task in RULES:
        rule = RULES[task]
        spec = importlib.util.find_spec(rule.place.split(":")[0])
        assert spec is not None and spec.origin is not None, rule
        return f"{rule.place} {sha256_of([Path(spec.origin), *map(expert_path, rule.uses)])[:12]}"
    path = _require_file(expert_path(task), task)
    return f"{path.name} {sha256_of([path])[:12]}"


def _require_file(path: Path, task_or_path: str | Path) -> Path:
    if not path.is_file():
        if isinstance(task_or_path, Path) or "/" in task_or_path:
            raise FileNotFoundError(f"no expert at {task_or_path}")
        if task_or_path not in TASKS:
            raise FileNotFoundError(f"no task {task_or_path!r}; known tasks: {', '.join(TASKS)}")
        raise FileNotFoundError(f"no expert at {path}; train one with: python -m vmail_sim.experts.sac {task_or_path}")
    return path


def load_expert(task_or_path: str | Path) -> Expert:
    """Load an expert by task name or from a file.

    Raises:
        FileNotFoundError: no expert ships for that name; the message holds the command that trains one.
        ValueError: the file is no expert.
    """
    if task_or_path in RULES:
        module, name = RULES[str(task_or_path)].place.split(":")
        return getattr(importlib.import_module(module), name)()
    path = Path(task_or_path)
    if path.suffix != ".safetensors":
        path = expert_path(str(task_or_path))
    _require_file(path, task_or_path)
    try:
        with safe_open(path, "numpy") as file:
            count = sum(key.endswith(".weight") for key in file.keys())
            layers = [(file.get_tensor(f"{i}.weight"), file.get_tensor(f"{i}.bias")) for i in range(count)]
            metadata = json.loads((file.metadata() or {}).get("vmail", "{}"))
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not an expert file: {error}") from error
    return ExpertPolicy(layers, metadata)
