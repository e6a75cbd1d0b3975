"""What a user has measured of a robot or a camera: kept by its name, where every command of this user finds it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def user_folder(kind: str) -> Path:
    """This user's folder for one kind of file."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "vmail" / kind


def replace_file(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def keep_file(path: Path, text: str, made: str) -> None:
    """Write a file, whole or not at all; one that was there is kept beside it with the date of the new one.

    Args:
        path: where.
        text: what.
        made: day and time of the new one, ISO 8601.
    """
    if path.exists():
        shutil.copy2(path, path.with_name(f"{path.stem}.until-{made.replace(':', '')}{path.suffix}"))
    replace_file(path, text.encode())
