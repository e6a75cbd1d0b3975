"""The machine itself: Python, packages, processor, clock, memory and disk."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import resource
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from vmail.doctor.findings import Finding, Level

# What is needed for what: packages as they are imported, and how to get them.
PARTS = {
    "robot": (("cv2", "dynamixel_sdk", "fastcrc", "mcap", "rosbags", "serial"), "pip install vmail"),
    "policies on the robot": (("onnxruntime",), "pip install 'vmail[cpu]', or 'vmail[gpu]' for a GPU"),
    "simulation": (
        ("mujoco", "dm_control", "robel", "av", "gymnasium", "gymnasium_robotics", "Box2D", "pygame"),
        "make setup, or see `[sim]` in pyproject.toml",
    ),
    "learning": (("torch", "onnx", "safetensors", "tensorboard", "matplotlib"), "pip install 'vmail[train]'"),
}
PYTHONS = ((3, 11), (3, 14))  # from, to but without
LEAST_FREE_GB, LEAST_SHARED_MB = 5.0, 256.0
LEAST_PRIORITY = 20  # the driver's
SHARED = Path("/dev/shm")
CONFIGURED: object = sysconfig.get_config_var("CONFIG_ARGS")


def check_python() -> Iterator[Finding]:
    """Version of Python, and what is installed."""
    found, (least, beyond) = sys.version_info[:2], PYTHONS
    fits = least <= found < beyond
    yield Finding(
        Level.OK if fits else Level.FAILURE,
        "python",
        f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "" if fits else "install Python 3.11, 3.12 or 3.13, then `make setup PYTHON=/path/to/it`",
    )
    for part, (packages, mend) in PARTS.items():
        missing = [name for name in packages if importlib.util.find_spec(name) is None]
        if missing:
            yield Finding(Level.NOTE, part, f"{', '.join(missing)} not installed: none of it here", mend)
        else:
            yield Finding(Level.OK, part, ", ".join(f"{name} {_version(name)}" for name in packages))


def check_build(base: str = sys.base_prefix, configured: object = CONFIGURED) -> Iterator[Finding]:
    """Whether Python was built with optimisations, by what it was `configured` with; distributions' do not say so."""
    if base != "/usr" and "--enable-optimizations" not in str(configured):
        yield Finding(
            Level.NOTE,
            "python's speed",
            f"{base} was built without --enable-optimizations: a bus cycle takes up to a quarter longer",
            "`make clean setup PYTHON=/usr/bin/python3`, or build it anew with "
            "`PYTHON_CONFIGURE_OPTS=--enable-optimizations pyenv install`",
        )


def check_clock() -> Iterator[Finding]:
    """Whether the clock is kept right: a camera or a recorder on another machine compares stamps with it."""
    tool = shutil.which("timedatectl")
    if tool is None:
        yield Finding(Level.NOTE, "clock", "no timedatectl: whether it is synchronised is not known")
        return
    answer = subprocess.run([tool, "show", "-p", "NTPSynchronized", "--value"], capture_output=True, text=True)
    if answer.stdout.strip() == "yes":
        yield Finding(Level.OK, "clock", "synchronised")
    else:
        yield Finding(
            Level.NOTE,
            "clock",
            "not synchronised, which matters as soon as nodes run on two machines",
            "sudo timedatectl set-ntp true",
        )


def check_priority() -> Iterator[Finding]:
    """Whether nodes may ask for realtime priority."""
    most = resource.getrlimit(resource.RLIMIT_RTPRIO)[1]
    if os.geteuid() == 0 or most == resource.RLIM_INFINITY or most >= LEAST_PRIORITY:
        yield Finding(Level.OK, "realtime priority", "allowed")
        return
    yield Finding(
        Level.WARNING,
        "realtime priority",
        "not allowed: other programs can delay the driver",
        "echo '@dialout - rtprio 99' | sudo tee /etc/security/limits.d/99-vmail.conf, then log in again",
    )


def check_space(folder: Path = Path(), shared: Path = SHARED) -> Iterator[Finding]:
    """Room for recordings, and in the shared memory that ROS's messages go through.

    Args:
        folder: where one would record.
        shared: where Fast DDS keeps its segments.
    """
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb >= LEAST_FREE_GB:
        yield Finding(Level.OK, "disk", f"{free_gb:.0f} GB free here")
    else:
        yield Finding(Level.WARNING, "disk", f"{free_gb:.1f} GB free here", "make room, or record elsewhere (record:=)")
    free_mb = shutil.disk_usage(shared).free / 1e6
    if free_mb >= LEAST_SHARED_MB:
        yield Finding(Level.OK, "shared memory", f"{free_mb:.0f} MB free in {shared}")
        return
    left = sum(1 for _ in shared.glob("fastdds_*"))
    yield Finding(
        Level.FAILURE,
        "shared memory",
        f"{free_mb:.0f} MB free in {shared}, {left} files there are of Fast DDS",
        f"end all nodes, then `rm {shared}/fastdds_*`; in a container, start it with --shm-size=1g",
    )


def check_rendering() -> Iterator[Finding]:
    """Whether the simulator can draw; in a process of its own, for broken drivers take it down."""
    if importlib.util.find_spec("mujoco") is None:
        yield Finding(Level.NOTE, "rendering", "MuJoCo is not installed: nothing to draw")
        return
    program = (
        "from vmail_sim.visual import VisualTask; task = VisualTask('dclaw_valve3_ccw', 64); task.reset(0); "
        "import os; print(os.environ.get('MUJOCO_GL'))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120.0)
    if answer.returncode == 0:
        yield Finding(Level.OK, "rendering", f"the claw is drawn with {answer.stdout.strip()}")
        return
    reason = (answer.stderr.strip().splitlines() or [f"ended with exit code {answer.returncode}"])[-1]
    yield Finding(
        Level.FAILURE,
        "rendering",
        reason,
        "sudo apt-get install -y libegl1 libegl-mesa0 libopengl0 libgl1-mesa-dri, or set MUJOCO_GL",
    )


def _version(module: str) -> str:
    """Of the package that brings the module."""
    names = importlib.metadata.packages_distributions().get(module, [module])
    try:
        return importlib.metadata.version(names[0])
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"
