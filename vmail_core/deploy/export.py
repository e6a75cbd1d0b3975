"""Export a training run to a bundle. It is written only when its parity certificate passes."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from vmail_core.deploy.bundle import Bundle, building, load_bundle, seal
from vmail_core.deploy.certificate import certify, until_enough
from vmail_core.deploy.graphs import write_graphs
from vmail_core.deploy.runtime import PolicyRuntime
from vmail_core.episodes import Episode, read_episode
from vmail_core.episodes.frames import at_size
from vmail_core.episodes.store import some_episodes
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.vmail import VMAIL
from vmail_core.models import Actor, Discriminator, WorldModel
from vmail_core.robot import RobotInterface, load_robot

Module = TypeVar("Module", bound=nn.Module)


def export_bundle(
    run: str | Path,
    out: str | Path,
    episodes: str | Path | Sequence[Episode] | None = None,
    *,
    robot: RobotInterface | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Export the last checkpoint of a run folder.

    Args:
        run: the run's folder.
        out: the bundle's folder to write.
        episodes: recorded episodes for the parity certificate, or their folder; by default the run's own practice, the
            newest first. No more are read than it takes.
        robot: the robot that the policy acts on; the D'Claw by default.
        overwrite: replace a bundle that is there.

    Raises:
        FileNotFoundError: no run, no checkpoint or practice in it, or no episodes.
        FileExistsError: `out` exists.
        ValueError: the run learned for another robot.
        CertificateError: the exported graphs do not follow the trained networks; nothing was written.
    """
    robot = robot or load_robot("dclaw")
    recorded: Iterable[Episode]
    folder = RunFolder(Path(run))
    config, actions = folder.config(), folder.action_size()
    if actions != robot.action_size:
        raise ValueError(
            f"{run} learned {actions} actions, robot {robot.name} has {robot.action_size} joints: "
            "give the robot that it learned for (--robot), or another run"
        )
    others = [digest for digest in folder.facts().get("interfaces", []) if digest != robot.digest()]
    if others:
        raise ValueError(
            f"{run} learned from demonstrations of another robot than {robot.name}, with other joints, limits, rates "
            "or camera: give the robot file that they were imported with (--robot)"
        )
    learner = VMAIL(config, robot.action_size, len(robot.joint_names))
    folder.load_networks(learner)
    if episodes is None:
        if not folder.practice.is_dir():
            raise FileNotFoundError(
                f"{run} has not practised yet, and a bundle is checked on a run's practice: go on with its training by "
                "the same `vmail train` command, or give other episodes (--episodes)"
            )
        recorded = until_enough(map(read_episode, reversed(some_episodes(folder.practice))))
    elif isinstance(episodes, str | Path):
        recorded = until_enough(map(read_episode, some_episodes(episodes)))
    else:
        recorded = episodes
    model, actor = learner.deployed
    return write_bundle(
        model,
        actor,
        learner.discriminator,
        out=out,
        robot=robot,
        episodes=[at_size(episode, config.model.image_size) for episode in recorded],
        training=training_info(folder),
        overwrite=overwrite,
    )


def write_bundle(
    model: WorldModel,
    actor: Actor,
    discriminator: Discriminator,
    *,
    out: str | Path,
    robot: RobotInterface,
    episodes: Sequence[Episode],
    training: dict[str, Any],
    overwrite: bool = False,
) -> Bundle:
    """Export networks, certify the graphs over recorded episodes, and write the bundle whole or not at all.

    Args:
        model, actor, discriminator: trained networks; they are copied, not changed.
        out: the bundle's folder to write.
        robot: the robot whose actions the policy chooses.
        episodes: recorded episodes at the picture size of the model, for the certificate.
        training: JSON data with the keys config, demos, git_commit and metrics.
        overwrite: replace a bundle that is there.

    Raises:
        ValueError: robot or episodes do not fit the networks.
        FileExistsError: `out` exists.
        CertificateError: the graphs do not follow the networks; nothing was written.
    """
    if robot.action_size != model.action_size:
        raise ValueError(f"the policy has {model.action_size} actions, robot {robot.name!r} has {robot.action_size}")
    joints = len(robot.joint_names)
    if model.observed_joints not in (0, joints):
        raise ValueError(f"the policy takes {model.observed_joints} joint positions, robot {robot.name!r} has {joints}")
    model, actor, discriminator = _portable(model), _portable(actor), _portable(discriminator)
    with building(out, overwrite) as folder:
        sizes = write_graphs(model, actor, discriminator, folder)
        draft = Bundle(folder, sizes, robot, training, certificate={}, digest="")
        certificate = certify(model, actor, discriminator, PolicyRuntime(draft), episodes)
        seal(dataclasses.replace(draft, certificate=certificate))
    return load_bundle(out)


def training_info(folder: RunFolder) -> dict[str, Any]:
    """What a bundle says about its run: config, commit, demonstrations, the last metrics and all evaluations."""
    facts = json.loads((folder.path / "run.json").read_text())
    rows = folder.metrics()
    last: dict[str, float] = {}
    for row in rows:
        last |= row
    evaluations = [row for row in rows if any(name.startswith("eval_") for name in row)]
    return {
        "config": dataclasses.asdict(folder.config()),
        "git_commit": facts["commit"],
        "demos": facts["demos"],
        "metrics": {"last": _finite(last), "evaluations": [_finite(row) for row in evaluations]},
    }


def _finite(row: dict[str, float]) -> dict[str, float | None]:
    """JSON has no NaN: a metric that was one becomes null."""
    return {name: value if math.isfinite(value) else None for name, value in row.items()}


def _portable(module: Module) -> Module:
    """A float32 copy on the CPU in evaluation mode, so that exporting never touches a learner that goes on."""
    return copy.deepcopy(module).to("cpu", torch.float32).eval()
