"""Where results come from: commit, machine and versions, for run folders and reports."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path


def git_commit(folder: Path = Path(__file__).parent) -> str:
    """The commit (12 hex digits) of the checkout that `folder` lies in; "unknown" outside one.

    It ends in -dirty when files differ. Those in results/ do not count: a study writes there while it runs.
    """
    try:
        commit = _git(folder, "describe", "--always", "--abbrev=12")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("-dirty" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def machine() -> str:
    """Processor, usable cores, memory and system, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Version of Python and of each installed distribution among `packages`."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
