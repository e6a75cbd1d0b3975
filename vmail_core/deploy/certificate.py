"""The parity certificate: the exported graphs do what the trained network does, over recorded episodes.

Torch and ONNX Runtime each filter the same pictures and recorded actions with their *own* latents, hundreds of
recurrent steps in a row without a reset, so that a small error in one step has every chance to grow.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import platform
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor

from vmail_core.deploy.bundle import Sizes
from vmail_core.deploy.runtime import PolicyRuntime
from vmail_core.episodes import Episode
from vmail_core.learners.acting import FilteringPolicy
from vmail_core.models import Actor, Discriminator, WorldModel

STEPS = 400
PREVIEW_EVERY = 10  # the decoder is not part of the recurrence and costs more than all else together
# What may differ at most: the action (1e-4 of the D'Claw's largest scale is a tenth of a servo tick), the
# discriminator's probability, and the preview in grey levels (a value next to .5 may be rounded either way).
TOLERANCES = {"action": 1e-4, "likeness": 1e-3, "pixel": 1.0}


class CertificateError(RuntimeError):
    """The exported graphs do not follow the trained network; the message says by how much."""


def certify(
    model: WorldModel,
    actor: Actor,
    discriminator: Discriminator,
    runtime: PolicyRuntime,
    episodes: Sequence[Episode],
    steps: int = STEPS,
) -> dict[str, Any]:
    """Run both for `steps` recurrent steps over the episodes one after the other, from the first again if need be.

    Returns:
        The certificate as JSON data; of the episodes it names those that were gone through.

    Raises:
        ValueError: no episodes, or their pictures, actions or joint positions do not fit the bundle.
        CertificateError: a difference exceeds its tolerance.
    """
    sizes = runtime.bundle.sizes
    _check_episodes(episodes, sizes)
    policy = FilteringPolicy(model, actor)
    runtime.reset()
    found: dict[str, list[float]] = {name: [] for name in TOLERANCES}
    with _one_thread():
        for step, (image, taken, joints) in enumerate(itertools.islice(_rows(episodes), steps)):
            action = policy.act(image, taken, joints)
            feature = policy.belief.feature
            found["action"].append(float(np.abs(runtime.step(image, taken, joints) - action).max()))
            found["likeness"].append(abs(runtime.likeness(action) - _likeness(discriminator, feature, action)))
            if step % PREVIEW_EVERY == 0:
                found["pixel"].append(float(np.abs(runtime.preview() - _picture(model, feature)).max()))
    return {
        "format_version": 1,
        "passed": True,
        "steps": steps,
        "differences": {name: _summarise(name, values) for name, values in found.items()},
        "episodes": [
            {"sha256": episode_hash(e, bool(sizes.joints)), "frames": len(e)} for e in until_enough(episodes, steps)
        ],
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "torch": torch.__version__,
            "machine": platform.machine(),
        },
    }


def until_enough(episodes: Iterable[Episode], steps: int = STEPS) -> Iterator[Episode]:
    """The episodes, up to the one in which so many steps are reached."""
    frames = 0
    for episode in episodes:
        yield episode
        frames += len(episode)
        if frames >= steps:
            return


def episode_hash(episode: Episode, joints: bool) -> str:
    """SHA-256 of what a policy took from an episode: pictures and actions, and with `joints` the joint positions."""
    digest = hashlib.sha256(np.ascontiguousarray(episode.image).tobytes())
    digest.update(np.ascontiguousarray(episode.action).tobytes())
    if joints:
        assert episode.joint_positions is not None
        digest.update(np.ascontiguousarray(episode.joint_positions).tobytes())
    return digest.hexdigest()


def _rows(episodes: Sequence[Episode]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Every picture with the action that led to it and the joint positions at it, if known, without end."""
    for episode in itertools.cycle(episodes):
        for row in range(len(episode)):
            joints = None if episode.joint_positions is None else episode.joint_positions[row].copy()
            # Copies, because an episode's arrays are read-only, which torch warns about.
            yield episode.image[row].copy(), episode.action[row].copy(), joints


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Torch on one thread: at batch size 1 more of them only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def _likeness(discriminator: Discriminator, feature: Tensor, action: np.ndarray) -> float:
    return float(torch.sigmoid(discriminator(feature, torch.from_numpy(action).unsqueeze(0))))


@torch.no_grad()
def _picture(model: WorldModel, feature: Tensor) -> np.ndarray:
    """The decoded picture (S, S, 3) in grey levels."""
    return ((model.decoder(feature)[0].movedim(0, -1) + 0.5) * 255.0).clamp(0.0, 255.0).round().numpy()


def _summarise(name: str, values: list[float]) -> dict[str, float]:
    worst, tolerance = float(np.max(values)), TOLERANCES[name]  # one that is not a number is the worst
    if not worst <= tolerance:
        raise CertificateError(
            f"the exported graphs differ from the trained network: {name} by {worst:.3g}, {tolerance:g} is allowed;"
            " no bundle was written. Compare the versions of torch, onnx and onnxruntime with the pinned ones"
        )
    return {"worst": worst, "mean": float(np.mean(values)), "tolerance": tolerance}


def _check_episodes(episodes: Sequence[Episode], sizes: Sizes) -> None:
    if not episodes:
        raise ValueError("the parity certificate needs recorded episodes; give a folder that `vmail import` wrote")
    expected = ((sizes.image, sizes.image, 3), (sizes.action,))
    for number, episode in enumerate(episodes):
        found = (episode.image.shape[1:], episode.action.shape[1:])
        if found != expected:
            raise ValueError(
                f"episode {number} has pictures {found[0]} and actions {found[1]}, the policy takes {expected[0]} and"
                f" {expected[1]}; give episodes of the robot and picture size that it was trained on"
            )
        known = 0 if episode.joint_positions is None else episode.joint_positions.shape[1]
        if sizes.joints not in (0, known):
            raise ValueError(
                f"episode {number} has {known or 'no'} joint positions, the policy takes {sizes.joints} with every "
                "picture; give episodes that were recorded with them"
            )
