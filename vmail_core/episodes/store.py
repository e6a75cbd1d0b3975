"""Episodes on disk: one compressed .npz each, with its provenance as JSON inside. Never pickle."""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vmail_core.durable import sync
from vmail_core.episodes.episode import Episode

FORMAT = "vmail-episode-1"
SUFFIX = ".npz"
META, _IMAGE = "vmail", "image"
# What numpy, zipfile and json raise on a file that is damaged or is something else.
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, EOFError, OSError, zipfile.BadZipFile, zlib.error)


def write_episode(folder: str | Path, episode: Episode, name: str) -> Path:
    """Write `folder/name.npz` whole or not at all, and return its path. The folder is made if it is missing.

    Raises:
        FileExistsError: there is such an episode already; episodes are never overwritten.
        ValueError: the name is not a plain file name.
    """
    if not name or name.startswith(".") or Path(name).name != name:
        raise ValueError(f"episode name {name!r} must be a plain file name without folders or a leading dot")
    path = Path(folder) / f"{name}{SUFFIX}"
    if path.exists():
        raise _exists(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_new(path, _to_bytes(episode))
    return path


def read_episode(path: str | Path) -> Episode:
    """Read one episode.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged or is not an episode; the message names it.
    """
    return _read(Path(path), lambda archive: archive[_IMAGE])


def read_outline(path: str | Path) -> Episode:
    """Read one episode but for its pictures, most of the work: they are of the same shape, and black.

    Raises:
        FileNotFoundError, ValueError: as for `read_episode`.
    """
    return _read(Path(path), _black)


def _read(path: Path, read_image: Callable[[Any], np.ndarray]) -> Episode:
    if not path.is_file():
        raise FileNotFoundError(f"no episode at {path}; `vmail import BAG --out {path.parent}` makes them from bags")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if META not in archive:
                raise ValueError(f"not written by vmail: it holds {', '.join(archive.files) or 'nothing'}")
            meta = json.loads(bytes(archive[META]))
            if meta.get("format") != FORMAT:
                raise ValueError(f"has format {meta.get('format')!r}, this vmail reads {FORMAT!r}")
            arrays = {key: archive[key] for key in archive.files if key not in (META, _IMAGE)}
            arrays[_IMAGE] = read_image(archive)
        return Episode(**arrays, provenance=meta["provenance"])
    except _UNREADABLE as error:
        raise ValueError(f"{path} is no whole vmail episode ({error}); remove it and import its bag again") from error


def list_episodes(folder: str | Path) -> list[Path]:
    """Paths of the folder's episodes, sorted by name; empty when there are none.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    folder = Path(folder)
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file; give the folder that the episodes are in")
    if not folder.is_dir():
        raise FileNotFoundError(f"no episode folder {folder}; `vmail import BAG --out {folder}` makes one from bags")
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def some_episodes(folder: str | Path) -> list[Path]:
    """As `list_episodes`, but at least one. Raises FileNotFoundError: there is none."""
    folder, paths = Path(folder), list_episodes(folder)
    if paths:
        return paths
    if any((place / "metadata.yaml").is_file() for place in (folder, *folder.iterdir())):
        raise FileNotFoundError(f"{folder} holds takes, no episodes: `vmail import TAKE… --out DIR` makes some of them")
    raise FileNotFoundError(f"{folder} holds no episodes; `vmail import BAG --out {folder}` makes them from bags")


def load_episodes(folder: str | Path, limit: int | None = None) -> list[Episode]:
    """Read the folder's episodes in order of name, the first `limit` of them when given.

    Raises:
        FileNotFoundError: the folder does not exist or holds no episode.
        ValueError: a file is damaged, or there are fewer episodes than `limit`.
    """
    paths = some_episodes(folder)
    if limit is not None:
        if not 0 < limit <= len(paths):
            raise ValueError(f"asked for {limit} episodes, but {folder} holds {len(paths)}")
        paths = paths[:limit]
    return [read_episode(path) for path in paths]


def _black(archive: Any) -> np.ndarray:
    """Pictures without memory of their own, of the shape and dtype that the archive's have."""
    with archive.zip.open(f"{_IMAGE}.npy") as stored:
        np.lib.format.read_magic(stored)
        shape, _, dtype = np.lib.format.read_array_header_1_0(stored)
    return np.broadcast_to(np.zeros((), dtype), shape)


def _to_bytes(episode: Episode) -> bytes:
    meta = json.dumps({"format": FORMAT, "provenance": episode.provenance}, sort_keys=True, allow_nan=False)
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {META: np.frombuffer(meta.encode(), np.uint8), **episode.arrays()}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _write_new(path: Path, content: bytes) -> None:
    """Temporary file, fsync, then a link into place, which fails where a file is already; a rename would not."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _publish(Path(temporary), path)
        sync(path.parent)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _publish(temporary: Path, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # Some file systems have no hard links (FAT, some network shares): a rename is as atomic there.
        os.rename(temporary, path)


def _exists(path: Path) -> FileExistsError:
    return FileExistsError(f"{path} exists already and episodes are never overwritten; choose another folder or name")
