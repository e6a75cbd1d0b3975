"""Trains a task's expert by soft actor-critic on states (stable-baselines3) and saves its mean network.

    python -m vmail_sim.experts.sac dclaw_valve3_ccw --steps 120000
    python -m vmail_sim.experts.sac walker_walk --steps 300000 --work runs/sac/walker_walk
    python -m vmail_sim.experts.sac walker_run --steps 600000 --start-from runs/sac/walker_walk

Rewards are the task's, scaled, less a cost on changes of action where the recipe has one: jittery demonstrations turn
the valve as far but cannot be imitated. The best policy so far is kept, judged by its mean and its least score; what
is to ship goes to sim/vmail_sim/experts/weights, with its curve. With --work the training may be stopped at any time:
the same command goes on from its last checkpoint. With --start-from it begins with the networks of a training of a
kindred task, as far as that got.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from safetensors.numpy import save
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

import vmail_sim
from vmail_core.durable import replace_file
from vmail_core.episodes.hashing import sha256_of
from vmail_sim.dclaw.valve import KICKS
from vmail_sim.experts.policy import ExpertPolicy

EVALUATED, EVERY = 10, 5000  # episodes an evaluation, steps between two
NETWORKS, REPLAY = "sac.zip", "replay.pkl"  # a checkpoint: of one's own trainings only, for both hold pickles
TRAINING = "training.json"  # what a checkpoint is of


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a family of tasks is trained.

    Attributes:
        learning_rate, discount: SAC's.
        steps_per_update: of practice.
        reward_scale: factor on the task's reward.
        smoothness_cost: per unit of squared change of action.
        options: of the task, while it is trained and judged.
    """

    learning_rate: float
    discount: float
    steps_per_update: int
    reward_scale: float
    smoothness_cost: float
    options: dict[str, Any]


RECIPES = {  # by the beginning of a task's name
    # A step takes little time beside an update, so there are four for each, where SAC usually has one.
    "cheetah": Recipe(7e-4, 0.99, 4, 1.0, 0.0, {}),
    "dclaw_valve": Recipe(7e-4, 0.97, 2, 0.2, 0.05, {"starts": "wide"}),
    "walker_walk": Recipe(3e-4, 0.99, 1, 1.0, 0.0, {}),
    "walker": Recipe(7e-4, 0.99, 4, 1.0, 0.0, {}),
}


def recipe_of(task: str) -> Recipe:
    """The recipe of the task's family. Raises ValueError where its expert is not trained by SAC."""
    for family, recipe in RECIPES.items():
        if task.startswith(family):
            return recipe
    raise ValueError(f"no recipe for the expert of {task}; there are some for: {', '.join(RECIPES)}")


class StateEnv(gymnasium.Env):
    """A task without pixels, as stable-baselines3 wants it."""

    def __init__(self, task: str, seed: int, options: dict[str, Any]) -> None:
        """Wrap `task` with its recipe's rewards; `options` go to the task."""
        self.task, self.env = task, vmail_sim.load(task, seed=seed, pixels=None, **options)
        self._recipe = recipe_of(task)
        state, actions = self.env.reset().observation["state"].size, self.env.action_spec().shape[0]
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (state,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (actions,), np.float32)
        self._last = np.zeros(actions, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        """Start an episode."""
        self._last = np.zeros_like(self._last)
        return self.env.reset().observation["state"], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One control step with the shaped reward; an end is final where the task says so, else the time is up."""
        timestep = self.env.step(action)
        change = float(np.sum((action - self._last) ** 2))
        self._last = action
        reward = self._recipe.reward_scale * timestep.reward - self._recipe.smoothness_cost * change
        final = bool(timestep.last() and timestep.discount == 0.0)
        return timestep.observation["state"], reward, final, bool(timestep.last() and not final), {}


def evaluate(policy: Any, task: str, episodes: int, seed: int, **options: Any) -> dict[str, float]:
    """What the task is judged by, its return and mean squared change of action, over the recipe's starts."""
    env = vmail_sim.load(task, seed=seed, pixels=None, **(recipe_of(task).options | options))
    scores, returns, changes = [], [], []
    for _ in range(episodes):
        timestep = env.reset()
        total, last = 0.0, None
        while not timestep.last():
            action = policy(timestep.observation["state"])
            if last is not None:
                changes.append(float(np.sum((action - last) ** 2)))
            last = action
            timestep = env.step(action)
            total += timestep.reward
        scores.append((env.score() | {"return": total})[env.main_score])
        returns.append(total)
    return {
        f"{env.main_score}_mean": float(np.mean(scores)),
        f"{env.main_score}_min": float(np.min(scores)),
        "return_mean": float(np.mean(returns)),
        "action_change": float(np.mean(changes)),
    }


def mean_network(model: SAC) -> list[tuple[np.ndarray, np.ndarray]]:
    """The actor's layers up to the mean, as (weight, bias) pairs."""
    linears = [layer for layer in model.actor.modules() if isinstance(layer, torch.nn.Linear)][:-1]  # last: log std
    return [(layer.weight.detach().numpy().copy(), layer.bias.detach().numpy().copy()) for layer in linears]


def save_expert(path: Path, layers: list[tuple[np.ndarray, np.ndarray]], metadata: dict[str, Any]) -> None:
    """Write an expert file atomically."""
    tensors = {f"{i}.{part}": array for i, pair in enumerate(layers) for part, array in zip(("weight", "bias"), pair)}
    replace_file(path, save(tensors, {"vmail": json.dumps(metadata, sort_keys=True)}))


class KeepBest(BaseCallback):
    """Evaluates now and then, appends to the curve, keeps the best policy so far, and a checkpoint of the training."""

    def __init__(
        self, env: StateEnv, out: Path, work: Path | None, seed: int, command: str, begun_with: dict[str, Any]
    ) -> None:
        """Writes `out`, the curve `out` with suffix .jsonl, and what it takes to go on into `work`.

        `begun_with` tells in `out` what training's networks it began with.
        """
        super().__init__()
        self._task, self._judged_by = env.task, env.env.main_score
        self._out, self._work, self._seed, self._command, self._begun_with = out, work, seed, command, begun_with
        before = max((row["minutes"] for row in read_curve(curve_of(out))), default=0.0)
        self._began = time.monotonic() - 60.0 * before

    def _on_step(self) -> bool:
        if self.num_timesteps % EVERY:
            return True
        assert isinstance(self.model, SAC)
        layers = mean_network(self.model)
        row: dict[str, Any] = {"steps": self.num_timesteps, "minutes": round((time.monotonic() - self._began) / 60, 2)}
        row |= evaluate(ExpertPolicy(layers, {}), self._task, EVALUATED, self._seed + 1000)
        row["merit"] = row[f"{self._judged_by}_mean"] + row[f"{self._judged_by}_min"]
        print(json.dumps(row), flush=True)
        # Expert, curve, checkpoint: whatever comes after a stop is done again from the last checkpoint on.
        curve = curve_of(self._out)
        rows = [before for before in read_curve(curve) if before["steps"] < self.num_timesteps]
        if row["merit"] > max((before.get("merit", -np.inf) for before in rows), default=-np.inf):
            save_expert(self._out, layers, {"task": self._task, "command": self._command, **self._begun_with, **row})
        replace_file(curve, "".join(json.dumps(known) + "\n" for known in (*rows, row)))
        if self._work is not None:
            save_checkpoint(self.model, self._work)
        return True


def curve_of(out: Path) -> Path:
    """The learning curve beside an expert's file."""
    return out.with_suffix(".jsonl")


def read_curve(path: Path) -> list[dict[str, Any]]:
    """Its rows so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def save_checkpoint(model: SAC, work: Path) -> None:
    """What it takes to go on, each file replaced at once: the networks last, for they say how far it is."""
    work.mkdir(parents=True, exist_ok=True)
    for name, write in ((REPLAY, model.save_replay_buffer), (NETWORKS, model.save)):
        write(work / f"new-{name}")
        (work / f"new-{name}").replace(work / name)


def require_same(work: Path, facts: dict[str, Any]) -> None:
    """Note what a training in `work` is of. Raises ValueError where a checkpoint of another one lies there."""
    note, facts = work / TRAINING, json.loads(json.dumps(facts))
    if (work / NETWORKS).is_file():
        known = json.loads(note.read_text()) if note.is_file() else {}
        for name, value in facts.items():
            if known.get(name) != value:
                raise ValueError(
                    f"{work} holds a training with {name} {known.get(name)}, not {value}: give another --work"
                )
    work.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(facts, indent=1) + "\n")


def start(env: StateEnv, seed: int, work: Path | None, kindred: Path | None = None) -> SAC:
    """A training that goes on from its checkpoint in `work`, or begins, with the networks of the one in `kindred`."""
    if work is not None and (work / NETWORKS).is_file():
        model = SAC.load(work / NETWORKS, env, device="cpu")
        model.load_replay_buffer(work / REPLAY)
        return model
    recipe = recipe_of(env.task)
    model = SAC(
        "MlpPolicy",
        env,
        learning_rate=recipe.learning_rate,
        gamma=recipe.discount,
        batch_size=256,
        train_freq=recipe.steps_per_update,
        gradient_steps=1,
        learning_starts=1000,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )
    if kindred is not None:
        model.set_parameters(str(kindred / NETWORKS), device="cpu")
    return model


def main(given: Sequence[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for name in vmail_sim.task_names() if name.startswith(tuple(RECIPES))]
    parser.add_argument("task", choices=known, metavar="TASK")
    parser.add_argument("--steps", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kick", default="none", choices=KICKS, help="disturb every episode of a valve task [none]")
    parser.add_argument("--out", type=Path, help="the expert's file [runs/sac/TASK.safetensors]")
    parser.add_argument("--work", type=Path, help="folder for checkpoints, to go on after an end [none are kept]")
    parser.add_argument("--start-from", type=Path, metavar="WORK", help="--work of a training to begin with")
    arguments = parser.parse_args(given)
    if arguments.start_from is not None and not (arguments.start_from / NETWORKS).is_file():
        parser.error(f"{arguments.start_from} holds no {NETWORKS}: train that one first, with --work")
    torch.set_num_threads(1)
    out = arguments.out or Path("runs/sac") / f"{arguments.task}.safetensors"
    out.parent.mkdir(parents=True, exist_ok=True)
    command = f"python -m vmail_sim.experts.sac {arguments.task} --steps {arguments.steps} --seed {arguments.seed}"
    options = recipe_of(arguments.task).options
    if arguments.kick != "none":
        options, command = options | {"kick": arguments.kick}, f"{command} --kick {arguments.kick}"
    begun_with: dict[str, Any] = {}
    if arguments.start_from is not None:
        command = f"{command} --start-from {arguments.start_from}"
        begun_with = {"begun_with": f"{sha256_of([arguments.start_from / NETWORKS])[:12]}"}
    if arguments.work is not None:
        command = f"{command} --work {arguments.work}"
    if arguments.work is not None:
        facts = {
            "task": arguments.task,
            "seed": arguments.seed,
            "start_from": str(arguments.start_from) if arguments.start_from else None,
            "recipe": dataclasses.asdict(recipe_of(arguments.task)) | {"options": options},
        }
        try:
            require_same(arguments.work, facts)
        except ValueError as error:
            parser.error(str(error))
    env = StateEnv(arguments.task, arguments.seed, options)
    model = start(env, arguments.seed, arguments.work, arguments.start_from)
    if not model.num_timesteps:
        curve_of(out).unlink(missing_ok=True)
    callback = KeepBest(env, out, arguments.work, arguments.seed, command, begun_with)
    model.learn(arguments.steps - model.num_timesteps, callback, reset_num_timesteps=not model.num_timesteps)


if __name__ == "__main__":
    main()
