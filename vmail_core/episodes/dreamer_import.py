"""Episodes of Dreamer and DreamerV2 on disk, one .npz each with `image`, `action` and perhaps `reward`, to ours.

There, as here, `action[t]` is the one that led to `image[t]`, and row 0 is zero; a file with another order is refused.
Times are not stored there: the period between frames has to be told.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import META

# What numpy and zipfile raise on a file that is damaged or is something else.
UNREADABLE = (ValueError, TypeError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error)


def read_dreamer(path: str | Path, period: float, task: str = "") -> Episode:
    """Read one file.

    Args:
        path: the .npz file.
        period: seconds from one frame to the next.
        task: noted in the provenance.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, an array is missing, or its values are no episode; the message names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with np.load(path, allow_pickle=False) as archive:
            if META in archive.files:
                raise ValueError("it is an episode of vmail already: give its folder to `vmail train --demos`")
            arrays = {name: archive[name] for name in ("image", "action", "reward") if name in archive.files}
        missing = {"image", "action"} - arrays.keys()
        if missing:
            raise ValueError(f"it has no array {' and no '.join(sorted(missing))}")
        reward = arrays.get("reward")
        return Episode(
            image=arrays["image"],
            action=arrays["action"].astype(np.float32),
            time=np.arange(len(arrays["image"])) * period,
            reward=None if reward is None else reward.astype(np.float32),
            provenance={"source": "dreamer npz", "task": task, "times": "nominal"},
        )
    except UNREADABLE as error:
        raise ValueError(f"{path} is no Dreamer-style episode: {error}") from error
