"""An import writes all of its episodes and its report, or nothing; a new folder appears whole, or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from vmail_core.episodes.import_report import ImportReport

REPORT = "import_report.json"


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder beside the episodes of `out`, to write into before `publish`; gone at the end, `out` too if empty."""
    existed = out.is_dir()
    out.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".import-", dir=out))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if not existed and not any(out.iterdir()):
            out.rmdir()


@contextlib.contextmanager
def new_folder(out: Path, replace: bool = False, aside: Path | None = None) -> Iterator[Path]:
    """A folder beside `out` that becomes `out` when the block ends well, and vanishes when it does not.

    With `replace`, an old `out` steps aside only then, and is deleted last, or kept as `aside` if that is given: none
    is ever half written.

    Raises:
        FileExistsError: `out` exists, without `replace`.
    """
    if out.exists() and not replace:
        raise FileExistsError(f"{out} exists already; choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield stage
        stage.chmod(0o755)
        if replace and out.exists():
            _swap(stage, out, aside)
        else:
            os.rename(stage, out)  # refused where a folder with something in it has appeared meanwhile
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def publish(stage: Path, report: ImportReport) -> None:
    """Move everything into place, only once all of it is whole.

    Raises:
        FileExistsError: an episode is there already; nothing was moved.
    """
    out = Path(report.out)
    taken = [path.name for path in report.episodes if path.exists()]
    if taken:
        raise FileExistsError(f"{out} already holds {', '.join(taken)}; choose another folder, or remove these files")
    (stage / REPORT).write_text(report.to_json())
    moved: list[str] = []
    try:
        for name in (path.name for path in report.episodes):
            os.rename(stage / name, out / name)
            moved.append(name)
        os.replace(stage / REPORT, _free_report(out))
    except BaseException:  # Ctrl-C, too: all or nothing
        for name in moved:
            os.rename(out / name, stage / name)
        raise


def _swap(stage: Path, out: Path, aside: Path | None) -> None:
    if aside is not None:
        aside.parent.mkdir(exist_ok=True)
    old = aside or stage.with_name(f"{stage.name}.old")
    os.rename(out, old)
    os.rename(stage, out)
    if aside is None:
        shutil.rmtree(old)


def _free_report(out: Path) -> Path:
    path, number = out / REPORT, 1
    while path.exists():
        number += 1
        path = out / f"import_report_{number}.json"
    return path
