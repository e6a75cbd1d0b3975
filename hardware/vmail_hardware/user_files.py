"""What a user has measured of a robot or a camera: kept by its name, where every command of this user finds it."""

from __future__ import annotations

import itertools
import os
import shutil
from pathlib import Path

from vmail_core.durable import replace_file


def user_folder(kind: str) -> Path:
    """This user's folder for one kind of file."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "vmail" / kind


def keep_file(path: Path, content: str | bytes, made: str) -> None:
    """Write a file, whole or not at all; one that was there is kept beside it with the date of the new one.

    Args:
        path: where.
        content: what.
        made: day and time of the new one, ISO 8601.
    """
    if path.exists():
        shutil.copy2(path, _until(path, made.replace(":", "")))
    replace_file(path, content)


def _until(path: Path, moment: str) -> Path:
    """A name that is free, with a number if the moment has one already: dates are of whole seconds."""
    stem = f"{path.stem}.until-{moment}"
    names = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(free for name in names if not (free := path.with_name(f"{name}{path.suffix}")).exists())
