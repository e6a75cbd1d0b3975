"""Cloning from the full state: what the demonstrations are worth to a learner that need not see. A control only."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from vmail_core.episodes import Episode
from vmail_core.models.mlp import mlp
from vmail_sim.experts import load_expert
from vmail_sim.experts.demos import demonstrate
from vmail_sim.visual import VisualTask

UPDATES = 4000
BATCH = 128
STATE_NOISE = 0.05  # of a state's standard deviation


class StateClone:
    """A network from full state to action; it looks at the environment, not at the picture."""

    def __init__(self, env: VisualTask, network: nn.Module, mean: np.ndarray, std: np.ndarray) -> None:
        self.env, self._network, self._mean, self._std = env, network, mean, std

    def reset(self) -> None:
        """Nothing to forget."""

    @torch.no_grad()
    def act(
        self, image: np.ndarray, previous_action: np.ndarray, joint_positions: np.ndarray | None = None
    ) -> np.ndarray:
        """Action (A,) for the environment's present state."""
        state = torch.from_numpy((self.env.state - self._mean) / self._std)
        return self._network(state[None])[0].numpy()


class StateExpert:
    """The shipped expert in the same clothes."""

    def __init__(self, env: VisualTask, task: str) -> None:
        self.env, self._expert = env, load_expert(task)

    def reset(self) -> None:
        """Nothing to forget."""

    def act(
        self, image: np.ndarray, previous_action: np.ndarray, joint_positions: np.ndarray | None = None
    ) -> np.ndarray:
        """The expert's action (A,) for the environment's present state."""
        return self._expert(self.env.state)


def expert_episodes(task: str, count: int) -> list[Episode]:
    """Demonstrations in the bare simulator, whose full states are known; takes through ROS do not hold them."""
    env, expert = VisualTask(task, 64), load_expert(task)
    return [demonstrate(expert, env, seed) for seed in range(count)]


def clone_states(demos: list[Episode], seed: int) -> Callable[[VisualTask], StateClone]:
    """Train on the demonstrations' states and actions; returns what makes the policy for an environment."""
    torch.manual_seed(seed)
    states = np.concatenate([np.array(demo.provenance["states"], np.float32)[:-1] for demo in demos])
    actions = torch.from_numpy(np.concatenate([demo.action[1:] for demo in demos]))
    mean, std = states.mean(0), states.std(0) + 1e-3
    inputs = torch.from_numpy((states - mean) / std)
    hidden = mlp(inputs.shape[1], 256, 2, actions.shape[1], activation="relu")
    network = nn.Sequential(hidden, nn.Tanh())
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, UPDATES)
    for _ in range(UPDATES):
        chosen = torch.randint(len(inputs), (BATCH,))
        noisy = inputs[chosen] + STATE_NOISE * torch.randn(BATCH, inputs.shape[1])
        loss = (network(noisy) - actions[chosen]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return lambda env: StateClone(env, network.eval(), mean, std)
