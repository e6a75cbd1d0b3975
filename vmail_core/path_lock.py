"""One owner a path, however its process ends: of an emulated bus, of a folder that is written to."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Self


class PathLock:
    """A file beside a path that is locked while the path has an owner. The kernel lets go of it with the process."""

    def __init__(self, path: Path, refusal: str) -> None:
        """Take the lock, making the folder if it is missing.

        Raises:
            FileExistsError: the path has an owner that is alive; with the text `refusal`.
        """
        self._file = path.with_name(f".{path.name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        while True:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._descriptor)
                raise FileExistsError(refusal) from None
            if self._is_there():
                return
            os.close(self._descriptor)  # of a file that its last owner has just removed

    def release(self) -> None:
        """Let go, and leave no file behind."""
        self._file.unlink(missing_ok=True)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Itself, with the lock."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go."""
        self.release()

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._file), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False
