"""The bundle: contract 3. A folder with five ONNX graphs, a manifest that hashes them, and a certificate.

    encoder.onnx        image uint8 (1, S, S, 3)                         -> embed float32 (1, E)
                        with proprioception also joint_positions float32 (1, J)
    filter.onnx         deter (1, D), stoch (1, Z), action (1, A), embed -> deter', stoch' (posterior mean)
    policy.onnx         deter, stoch                                     -> action float32 (1, A), tanh of the mean
    decoder.onnx        deter, stoch                                     -> image uint8 (1, S, S, 3)
    discriminator.onnx  deter, stoch, action                             -> logit float32 (1, 1)
    manifest.json       sizes, robot, control rate, SHA-256 of every file, training run
    certificate.json    parity of the graphs against torch over recorded episodes

A bundle is written whole or not at all and never changes afterwards. Reading one checks every hash; there
is no way to load an unchecked bundle. Needs neither torch nor ROS.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vmail_core.episodes.staging import new_folder
from vmail_core.robot import RobotInterface

FORMAT = "vmail-bundle"
FORMAT_VERSION = 1
FORMAT_VERSION_JOINTS = 2
"""Of a bundle with proprioception, so that a vmail from before there was any refuses it by its version."""
MANIFEST = "manifest.json"
CERTIFICATE = "certificate.json"
GRAPHS = ("encoder.onnx", "filter.onnx", "policy.onnx", "decoder.onnx", "discriminator.onnx")
TRAINING_KEYS = ("config", "demos", "git_commit", "metrics")
_EXPORT_AGAIN = "export the bundle again with `vmail export RUN --out BUNDLE`"


class BundleError(ValueError):
    """A bundle that must not run: the message names the file and the next step."""


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Widths that the five graphs agree on.

    Attributes:
        image: S, side of the square camera image in pixels.
        embed: E, width of the encoder's output.
        deter: D, width of the recurrent (deterministic) latent.
        stoch: Z, width of the stochastic latent.
        action: A, number of normalised actions.
        joints: J, number of joint positions that the encoder takes beside the picture; 0 for pictures alone.
    """

    image: int
    embed: int
    deter: int
    stoch: int
    action: int
    joints: int = 0

    def __post_init__(self) -> None:
        """Refuse sizes that are not whole numbers, or not positive; `joints` may be 0."""
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "joints" else 1
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"size {field.name!r} must be a whole number, at least {least}, got {value!r}")

    def to_dict(self) -> dict[str, int]:
        """For the manifest. Without proprioception it says nothing of joints, as before there was any."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "joints" or value}


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk.

    Attributes:
        path: the folder.
        sizes: widths of the graphs.
        robot: the robot that the policy was trained for.
        training: config, git commit, metrics summary and demonstrations of the run.
        certificate: the parity certificate (see `vmail_core.deploy.certificate`).
        digest: SHA-256 over the manifest, and through its hashes over every file.
    """

    path: Path
    sizes: Sizes
    robot: RobotInterface
    training: dict[str, Any]
    certificate: dict[str, Any]
    digest: str

    def graph(self, name: str) -> Path:
        """Path of one graph, by name with or without ".onnx"."""
        return self.path / f"{name.removesuffix('.onnx')}.onnx"

    def require_robot(self, robot: RobotInterface) -> None:
        """Raise BundleError unless a policy meets the same in this robot as in the one that it was trained for."""
        if robot.digest() == self.robot.digest():
            return
        ours, theirs = robot.interface(), self.robot.interface()
        fields = ", ".join(key for key in ours if ours[key] != theirs[key] and key != "name")
        raise BundleError(
            f"{self.path / MANIFEST}: made for robot {self.robot.name!r}, which differs from this robot {robot.name!r}"
            f" in {fields}; use a bundle trained for this robot, or a robot file with the same values there"
        )


def load_bundle(path: str | Path) -> Bundle:
    """Read a bundle and check its schema, the hash of every file, and that its certificate passed.

    Raises:
        BundleError: anything is missing, altered or of another version; the message names the file.
    """
    folder = Path(path)
    if not folder.is_dir():
        what = "a file, and a bundle is a folder" if folder.exists() else "no such bundle folder"
        raise BundleError(f"{folder}: {what}; give one that `vmail export RUN --out BUNDLE` wrote")
    if (folder / "run.json").is_file() and not (folder / MANIFEST).exists():
        raise BundleError(
            f"{folder}: a training run, not a bundle; `vmail export {folder} --out BUNDLE` makes one of it"
        )
    manifest = _read_json(folder / MANIFEST)
    _check_header(folder / MANIFEST, manifest)
    for name, entry in manifest["files"].items():
        _check_file(folder, name, entry)
    certificate = _read_json(folder / CERTIFICATE)
    if certificate.get("passed") is not True:
        raise BundleError(f"{folder / CERTIFICATE}: the parity certificate did not pass; {_EXPORT_AGAIN}")
    try:
        robot = RobotInterface.from_interface(manifest["robot"])
        sizes = Sizes(**manifest["sizes"])
    except (TypeError, ValueError) as error:
        raise BundleError(f"{folder / MANIFEST}: {error}; {_EXPORT_AGAIN}") from error
    if robot.action_size != sizes.action:
        raise BundleError(f"{folder / MANIFEST}: robot and action size disagree; {_EXPORT_AGAIN}")
    if sizes.joints not in (0, len(robot.joint_names)):
        raise BundleError(
            f"{folder / MANIFEST}: the policy takes {sizes.joints} joint positions, robot {robot.name!r} has "
            f"{len(robot.joint_names)}; {_EXPORT_AGAIN}"
        )
    return Bundle(folder, sizes, robot, manifest["training"], certificate, manifest["digest"])


@contextlib.contextmanager
def building(out: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """A temporary folder beside `out` that becomes `out` when the block ends well, and vanishes when it does not.

    Raises:
        FileExistsError: `out` exists and `overwrite` is not set, or it is not a bundle at all.
    """
    target = Path(out).absolute()
    _refuse_existing(target, overwrite)
    with new_folder(target, replace=overwrite) as folder:
        yield folder
        _refuse_existing(target, overwrite)  # what has appeared meanwhile


def seal(draft: Bundle) -> Bundle:
    """Write certificate.json and manifest.json into a folder that holds the five graphs; returns it verified.

    Every other file that lies in the folder by then is hashed into the manifest too.
    """
    missing = [key for key in TRAINING_KEYS if key not in draft.training]
    if missing:
        raise ValueError(f"training info lacks {', '.join(missing)}")
    _write_json(draft.path / CERTIFICATE, draft.certificate)
    names = sorted(p.name for p in draft.path.iterdir() if p.name != MANIFEST)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION_JOINTS if draft.sizes.joints else FORMAT_VERSION,
        "sizes": draft.sizes.to_dict(),
        "control_rate_hz": draft.robot.control_rate_hz,
        "robot": draft.robot.interface(),
        "training": draft.training,
        "files": {name: _describe(draft.path / name) for name in names},
    }
    manifest["digest"] = _digest(manifest)
    _write_json(draft.path / MANIFEST, manifest)
    return load_bundle(draft.path)


def _check_header(path: Path, manifest: dict[str, Any]) -> None:
    if manifest.get("format") != FORMAT:
        raise BundleError(f"{path}: not a vmail bundle manifest; {_EXPORT_AGAIN}")
    version = manifest.get("format_version")
    if version not in (FORMAT_VERSION, FORMAT_VERSION_JOINTS):
        raise BundleError(
            f"{path}: format version {version!r}, this vmail reads {FORMAT_VERSION} and {FORMAT_VERSION_JOINTS}; "
            f"{_EXPORT_AGAIN}"
        )
    expected: dict[str, type] = {
        "sizes": dict,
        "control_rate_hz": float,
        "robot": dict,
        "training": dict,
        "files": dict,
        "digest": str,
    }
    for key, kind in expected.items():
        if not isinstance(manifest.get(key), kind):
            raise BundleError(f"{path}: field {key!r} is missing or not a {kind.__name__}; {_EXPORT_AGAIN}")
    if manifest["digest"] != _digest(manifest):
        raise BundleError(f"{path}: altered since it was exported (its digest does not match); {_EXPORT_AGAIN}")
    unlisted = [name for name in (*GRAPHS, CERTIFICATE) if name not in manifest["files"]]
    if unlisted:
        raise BundleError(f"{path}: does not list {', '.join(unlisted)}; {_EXPORT_AGAIN}")


def _check_file(folder: Path, name: str, entry: dict[str, Any]) -> None:
    path = folder / name
    if Path(name).name != name:
        raise BundleError(f"{folder / MANIFEST}: lists {name!r}, which lies outside the bundle; {_EXPORT_AGAIN}")
    if not path.is_file():
        raise BundleError(f"{path}: missing from the bundle; copy the whole folder again, or {_EXPORT_AGAIN}")
    if _describe(path) != entry:
        raise BundleError(
            f"{path}: altered or cut short since it was exported (SHA-256 does not match the manifest);"
            f" copy the whole folder again, or {_EXPORT_AGAIN}"
        )


def _describe(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def _digest(manifest: dict[str, Any]) -> str:
    body = {key: value for key, value in manifest.items() if key != "digest"}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise BundleError(f"{path}: missing from the bundle; copy the whole folder again, or {_EXPORT_AGAIN}")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BundleError(f"{path}: not readable as JSON ({error}); {_EXPORT_AGAIN}") from error
    if not isinstance(data, dict):
        raise BundleError(f"{path}: holds no JSON object; {_EXPORT_AGAIN}")
    return data


def _write_json(path: Path, data: dict[str, Any]) -> None:
    # allow_nan=False: a NaN in a metrics summary would make JSON that other readers refuse.
    path.write_text(json.dumps(data, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _refuse_existing(target: Path, overwrite: bool) -> None:
    if not target.exists():
        return
    if not overwrite:
        raise FileExistsError(f"{target}: exists already; choose another folder or ask to overwrite it")
    if not (target / MANIFEST).is_file():
        raise FileExistsError(f"{target}: exists and is not a bundle, so it is not overwritten; choose another folder")
