"""A run on disk: config, provenance, metrics (JSONL and TensorBoard), checkpoints, practice and videos.

    run/config.yaml  run.json  metrics.jsonl  events…  checkpoint/  practice/  videos/  (failed_batch.npz)

While workers collect, practice.new/ holds their episodes until learning takes them.

Checkpoints are safetensors and JSON. They are written beside the last one and renamed, so a kill at any
moment leaves one that is whole.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import platform
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch.utils.tensorboard import SummaryWriter

from vmail_core.durable import replace_file, sync
from vmail_core.learners.config import Config, config_from_dict
from vmail_core.learners.vmail import VMAIL
from vmail_core.provenance import git_commit, machine
from vmail_core.yaml_errors import in_one_line

ACTING = "acting_"


class RunFolder:
    """Reads and writes one run's folder."""

    def __init__(self, path: Path) -> None:
        """`path` may exist (a run to resume) or not."""
        self.path = path
        self._writer: SummaryWriter | None = None

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return (self.path / "config.yaml").is_file()

    @property
    def practice(self) -> Path:
        """Where the episodes of practice are kept."""
        return self.path / "practice"

    @property
    def videos(self) -> Path:
        """Where videos of evaluations are kept."""
        return self.path / "videos"

    def begin(
        self,
        config: Config,
        demos: list[str],
        main_score: str,
        device: str = "cpu",
        digests: Sequence[str] | None = None,
        interfaces: Sequence[str] = (),
    ) -> None:
        """Make the folder and write down what this run is.

        Args:
            config: all choices.
            demos: names of the demonstrations.
            main_score: judges the run.
            device: that it learns on.
            digests: of the demonstrations (`actions_digest`).
            interfaces: digests of the robots that they were imported for (`RobotInterface.digest`), as far as noted.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        facts = {
            "commit": git_commit(),
            "python": platform.python_version(),
            "torch": torch.__version__,
            "machine": machine(),
            "device": device,
            "demos": demos,
            "demo_actions": digests,
            "interfaces": list(interfaces),
            "main_score": main_score,
        }
        replace_file(self.path / "run.json", json.dumps(facts, indent=2) + "\n")
        replace_file(self.path / "config.yaml", yaml.safe_dump(dataclasses.asdict(config), sort_keys=False))

    def config(self) -> Config:
        """The run's config.

        Raises:
            FileNotFoundError: no run here.
            ValueError: another version of vmail wrote it, with settings that this one does not know.
        """
        settings = self.settings()
        try:
            return config_from_dict(settings)
        except ValueError as error:
            raise ValueError(f"{self.path} cannot be read by this version of vmail: {error}") from error

    def settings(self) -> dict[str, Any]:
        """The run's config as it was written, by whatever version.

        Raises:
            FileNotFoundError: no run here.
            ValueError: its file is damaged.
        """
        if not self.exists:
            what = "a bundle, made of a run" if (self.path / "manifest.json").is_file() else "it holds no config.yaml"
            raise FileNotFoundError(f"no run at {self.path}: {what}; `vmail runs` lists runs, `vmail train` starts one")
        try:
            return dict(yaml.safe_load((self.path / "config.yaml").read_text()))
        except (yaml.YAMLError, TypeError, ValueError) as error:
            reason = in_one_line(error) if isinstance(error, yaml.YAMLError) else "it holds no settings"
            raise _damaged(self.path / "config.yaml", reason) from error

    def facts(self) -> dict[str, Any]:
        """What `begin` noted beside the config. Raises FileNotFoundError: no run here; ValueError: it is damaged."""
        try:
            return dict(json.loads((self.path / "run.json").read_text()))
        except (TypeError, ValueError) as error:
            raise _damaged(self.path / "run.json", str(error)) from error

    def log(self, step: int, values: dict[str, float]) -> None:
        """Append metrics of an update, to metrics.jsonl and TensorBoard."""
        if self._writer is None:
            self._writer = SummaryWriter(str(self.path), purge_step=step)
        with writing(self.path):
            with (self.path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"update": step, **values}) + "\n")
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)  # raises what its thread could not write before

    def close(self) -> None:
        """Let go of TensorBoard's file, which a thread writes to; the next `log` begins another one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def metrics(self) -> list[dict[str, float]]:
        """All metrics so far. A line cut off by a kill is left out."""
        path, rows = self.path / "metrics.jsonl", []
        for line in path.read_text().splitlines() if path.is_file() else []:
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return rows

    def forget_after(self, step: int) -> None:
        """Drop metrics later than `step`, which a resumed run will write again."""
        rows = [row for row in self.metrics() if row["update"] <= step]
        replace_file(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def save_checkpoint(
        self, learner: VMAIL, state: dict[str, Any], rng: np.random.Generator, begun: dict[int, bytes] | None = None
    ) -> None:
        """Write networks, optimisers, random states and `state` (plain JSON data), whole or not at all.

        `begun` holds, by number, the safetensors of weights that act in episodes which are not yet part of practice.

        Raises:
            OSError: it cannot be written; the last checkpoint is still there.
        """
        new, old = self.path / "checkpoint.new", self.path / "checkpoint"
        networks = {name: tensor.contiguous() for name, tensor in learner.state_dict().items()}
        with writing(self.path):
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            save_file(networks, new / "networks.safetensors")
            save_file({**optimiser_tensors(learner), **random_states(learner)}, new / "optimisers.safetensors")
            for index, weights in (begun or {}).items():
                (new / f"{ACTING}{index:06d}.safetensors").write_bytes(weights)
            (new / "state.json").write_text(json.dumps({**state, "numpy_rng": rng.bit_generator.state}))
            for path in [*new.iterdir(), new]:
                sync(path)  # a rename may reach the disk before what it names
        replaced = self.path / "checkpoint.old"
        shutil.rmtree(replaced, ignore_errors=True)
        if old.exists():
            old.rename(replaced)
        new.rename(old)
        shutil.rmtree(replaced, ignore_errors=True)

    def begun_practice(self) -> dict[int, bytes]:
        """`begun` of the last checkpoint."""
        folder = self.checkpoint()
        files = sorted(folder.glob(f"{ACTING}*.safetensors")) if folder else []
        return {int(path.stem.removeprefix(ACTING)): path.read_bytes() for path in files}

    def save_batch(self, arrays: dict[str, Any]) -> Path:
        """Keep the batch at which learning failed, for whoever looks for the cause; returns its path."""
        path = self.path / "failed_batch.npz"
        with writing(self.path):
            np.savez_compressed(path, **{name: array for name, array in arrays.items() if array is not None})
        return path

    def checkpoint(self) -> Path | None:
        """The folder of the last whole checkpoint, if there is one."""
        for name in ("checkpoint", "checkpoint.old"):
            if (self.path / name / "state.json").is_file():
                return self.path / name
        return None

    def load_networks(self, learner: VMAIL) -> None:
        """Load the last checkpoint's networks.

        Raises:
            FileNotFoundError: this run has no checkpoint yet.
            ValueError: the checkpoint does not fit the config, or is damaged.
        """
        folder = self._whole_checkpoint()
        with reading(folder):
            networks = load_file(folder / "networks.safetensors")
        try:
            learner.load_state_dict(networks)
        except RuntimeError as error:
            lines = str(error).splitlines()  # the first is a heading, and one misfit says as much as all
            raise ValueError(
                f"{folder}/networks.safetensors does not fit the run's config: {lines[min(1, len(lines) - 1)].strip()}"
            ) from error

    def state(self) -> dict[str, Any]:
        """What the last checkpoint says of the run's progress.

        Raises:
            FileNotFoundError: there is no checkpoint yet.
            ValueError: it is damaged.
        """
        folder = self._whole_checkpoint()
        with reading(folder):
            return json.loads((folder / "state.json").read_text())

    def action_size(self) -> int:
        """How many actions the last checkpoint's networks take; raises as `state` does."""
        inputs, model = self._shapes()["model.rssm.embed_in.weight"][1], self.config().model
        return inputs - model.stoch * (model.classes or 1)

    def joint_count(self) -> int:
        """How many joint angles they tell, 0 where none; raises as `state` does."""
        shapes = self._shapes()
        heads = [name for name in shapes if name.startswith("model.joint_head.") and name.endswith(".bias")]
        return shapes[max(heads)][0] if heads else 0

    def _shapes(self) -> dict[str, list[int]]:
        """Of the last checkpoint's networks, by name."""
        folder = self._whole_checkpoint()
        with reading(folder), safe_open(folder / "networks.safetensors", "pt") as networks:
            return {name: networks.get_slice(name).get_shape() for name in networks.keys()}

    def _whole_checkpoint(self) -> Path:
        folder = self.checkpoint()
        if folder is None:
            raise FileNotFoundError(f"{self.path} has no checkpoint yet; let `vmail train` run a little longer")
        return folder

    def load_checkpoint(self, learner: VMAIL, rng: np.random.Generator) -> dict[str, Any]:
        """Restore everything that `save_checkpoint` wrote; returns its `state`."""
        self.load_networks(learner)
        with reading(self._whole_checkpoint()):
            tensors = load_file(self._whole_checkpoint() / "optimisers.safetensors")
        restore_random_states(learner, tensors)
        restore_optimisers(learner, tensors)
        state = self.state()
        rng.bit_generator.state = state.pop("numpy_rng")
        return state


def _damaged(file: Path, reason: str) -> ValueError:
    return ValueError(f"{file} is damaged ({reason}): restore it from a copy, or remove the run's folder")


@contextlib.contextmanager
def writing(run: Path) -> Iterator[None]:
    """Trouble with the disk inside becomes one error that names the run and what to do."""
    try:
        yield
    except FileExistsError:
        raise  # says by itself what is wrong
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(
            f"cannot write to {run}: {reason}; make room, then start the same command again: the run goes on from its "
            "last checkpoint"
        ) from error


@contextlib.contextmanager
def reading(checkpoint: Path) -> Iterator[None]:
    """Trouble with a checkpoint's files inside becomes one error that names it and what to do."""
    try:
        yield
    except (SafetensorError, OSError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{checkpoint} is damaged ({error}): restore it from a copy, or remove it, and `vmail train` begins anew"
        ) from error


def random_states(learner: VMAIL) -> dict[str, torch.Tensor]:
    """Of the generators that it draws from: uint8 tensors by name."""
    states = {"rng": torch.get_rng_state()}
    if learner.generator is not None:
        states["model_rng"] = learner.generator.get_state()
    on_gpu = learner.device.type == "cuda"
    return states | ({"cuda_rng": torch.cuda.get_rng_state(learner.device)} if on_gpu else {})


def restore_random_states(learner: VMAIL, tensors: dict[str, torch.Tensor]) -> None:
    """Take the generators' states out of `tensors`. A run that goes on on another device draws anew there."""
    torch.set_rng_state(tensors.pop("rng"))
    of_model, on_gpu = tensors.pop("model_rng", None), tensors.pop("cuda_rng", None)
    if of_model is not None and learner.generator is not None:
        learner.generator.set_state(of_model)
    if on_gpu is not None and learner.device.type == "cuda":
        torch.cuda.set_rng_state(on_gpu, learner.device)


def optimiser_tensors(learner: VMAIL) -> dict[str, torch.Tensor]:
    """Adam's moments and step counts by "optimiser.parameter.moment"."""
    return {
        f"{name}.{index}.{key}": value.contiguous()
        for name, optimiser in learner.optimisers.items()
        for index, moments in optimiser.state_dict()["state"].items()
        for key, value in moments.items()
    }


def restore_optimisers(learner: VMAIL, tensors: dict[str, torch.Tensor]) -> None:
    """Inverse of `optimiser_tensors`."""
    for name, optimiser in learner.optimisers.items():
        plain = optimiser.state_dict()
        for key, value in tensors.items():
            owner, index, moment = key.split(".")
            if owner == name:
                plain["state"].setdefault(int(index), {})[moment] = value
        optimiser.load_state_dict(plain)
        for parameter, moments in optimiser.state.items():
            for moment, value in moments.items():
                if value.shape == parameter.shape:
                    # Fused Adam walks memory: the moments must lie as the parameter does (channels_last).
                    moments[moment] = torch.empty_like(parameter).copy_(value)
