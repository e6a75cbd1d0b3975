"""Trains a task's expert by soft actor-critic on states (stable-baselines3) and saves its mean network.

    python -m vmail_sim.experts.sac dclaw_valve3_ccw --steps 120000

Rewards are the task's, scaled, less a cost on changes of action: jittery demonstrations turn the valve as
far but cannot be imitated. The best policy so far is kept, judged by radians turned from wide starts.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from safetensors.numpy import save_file
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback

import vmail_sim
from vmail_sim.dclaw.valve import KICKS
from vmail_sim.experts.policy import ExpertPolicy, expert_path

REWARD_SCALE = 0.2
SMOOTHNESS_COST = 0.05  # per unit of squared change of action


class StateEnv(gymnasium.Env):
    """A valve task without pixels, as stable-baselines3 wants it."""

    def __init__(self, task: str, seed: int, kick: str) -> None:
        """Wrap `task` with wide starts and a kick in each episode, or none."""
        self.env = vmail_sim.load(task, seed=seed, pixels=None, starts="wide", kick=kick)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (30,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (9,), np.float32)
        self._last = np.zeros(9, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        """Start an episode."""
        self._last = np.zeros(9, np.float32)
        return self.env.reset().observation["state"], {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        """One control step with the shaped reward; episodes end by time alone."""
        timestep = self.env.step(action)
        change = float(np.sum((action - self._last) ** 2))
        self._last = action
        reward = REWARD_SCALE * timestep.reward - SMOOTHNESS_COST * change
        return timestep.observation["state"], reward, False, timestep.last(), {}


def evaluate(policy: Any, task: str, episodes: int, seed: int, **options: Any) -> dict[str, float]:
    """Radians turned the wanted way, task return and mean squared change of action, over wide starts."""
    env = vmail_sim.load(task, seed=seed, pixels=None, **{"starts": "wide", **options})
    turned, returns, changes = [], [], []
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
        turned.append(env.score()["radians"])
        returns.append(total)
    return {
        "radians_mean": float(np.mean(turned)),
        "radians_min": float(np.min(turned)),
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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    save_file(tensors, temporary, {"vmail": json.dumps(metadata, sort_keys=True)})
    temporary.replace(path)


class KeepBest(BaseCallback):
    """Evaluates every `every` steps, appends to the curve and keeps the best policy so far."""

    def __init__(self, task: str, out: Path, every: int, seed: int, command: str) -> None:
        """Writes `out` and the curve `out` with suffix .jsonl."""
        super().__init__()
        self._task, self._out, self._every, self._seed, self._command = task, out, every, seed, command
        self._best = -np.inf
        self._began = time.monotonic()

    def _on_step(self) -> bool:
        if self.num_timesteps % self._every:
            return True
        assert isinstance(self.model, SAC)
        layers = mean_network(self.model)
        row = {"steps": self.num_timesteps, "minutes": round((time.monotonic() - self._began) / 60, 2)}
        row |= evaluate(ExpertPolicy(layers, {}), self._task, episodes=10, seed=self._seed + 1000)
        print(json.dumps(row), flush=True)
        with self._out.with_suffix(".jsonl").open("a") as curve:
            curve.write(json.dumps(row) + "\n")
        score = row["radians_mean"] + row["radians_min"]
        if score > self._best:
            self._best = score
            save_expert(self._out, layers, {"task": self._task, "command": self._command, **row})
        return True


def main() -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=[name for name in vmail_sim.task_names() if "valve" in name])
    parser.add_argument("--steps", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kick", default="none", choices=KICKS, help="disturb every training episode [none]")
    parser.add_argument("--out", type=Path, help="default: where the task's expert ships")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    out = arguments.out or expert_path(arguments.task)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.with_suffix(".jsonl").unlink(missing_ok=True)
    command = f"python -m vmail_sim.experts.sac {arguments.task} --steps {arguments.steps} --seed {arguments.seed}"
    command += f" --kick {arguments.kick}"
    model = SAC(
        "MlpPolicy",
        StateEnv(arguments.task, arguments.seed, arguments.kick),
        learning_rate=7e-4,
        gamma=0.97,
        batch_size=256,
        train_freq=2,
        gradient_steps=1,
        learning_starts=1000,
        policy_kwargs={"net_arch": [256, 256]},
        seed=arguments.seed,
        device="cpu",
    )
    model.learn(arguments.steps, callback=KeepBest(arguments.task, out, 5000, arguments.seed, command))


if __name__ == "__main__":
    main()
