"""Files that outlive a power cut."""

import os
from pathlib import Path


def replace_file(path: Path, content: str | bytes) -> None:
    """Write a file, whole or not at all, in place of what it was. Its folder is made if it is missing.

    Raises:
        OSError: there is no room, or this user may not; what it was is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    sync(temporary)  # a rename may reach the disk before what it names
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk; an OSError says why it is not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
