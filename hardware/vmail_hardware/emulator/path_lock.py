"""One emulated bus a path: a second one would take the first one's link away, which nobody would reach again."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class PathLock:
    """A file beside a path that is locked while the path is served.

    The kernel lets go of it however its process ends. What the link leads to tells less: after a kill, its number may
    be that of somebody's new terminal.
    """

    def __init__(self, path: Path) -> None:
        """Take the lock, making the folder if it is missing.

        Raises:
            FileExistsError: an emulated bus that is alive serves the path.
        """
        self._file = path.with_name(f".{path.name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._descriptor)
                raise FileExistsError(
                    f"{path} is served by another emulated bus that still runs: stop that one, or choose another path"
                ) from None
            if self._is_there():
                return
            os.close(self._descriptor)  # of a file that its last owner has just removed

    def release(self) -> None:
        """Let go, and leave no file behind."""
        self._file.unlink(missing_ok=True)
        os.close(self._descriptor)

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._file), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False
