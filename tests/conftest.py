"""Environment of every test, and how tests share two cores: real-time tests one after the other, the rest by file."""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
import tempfile

import pytest

from vmail.graph import fastdds_profile

# Before anything imports them: ROS must find the wheels' resources and stay on this machine, and two workers that
# each start a thread per core would slow each other down.
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
os.environ.setdefault("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(fastdds_profile())
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="vmail-tests-")  # not this user's calibrations
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells have it for what they start in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

REAL_TIME = {"ros", "hardware", "faults"}
# What a folder's conftest and tests import, beyond the base install. Where it is missing, the folder is left out.
NEEDS = {"ros": ("rclpy",), "faults": ("rclpy", "mujoco"), "demo": ("torch", "rclpy")}
MISSING = {
    folder: [module for module in modules if importlib.util.find_spec(module) is None]
    for folder, modules in NEEDS.items()
}
collect_ignore = [folder for folder, missing in MISSING.items() if missing]


def pytest_report_header() -> list[str]:
    """Say which folders are left out, and why."""
    return [f"tests/{name} is left out without {', '.join(MISSING[name])}" for name in collect_ignore]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Real-time tests form one group, which one worker runs, and come first; another file is a group each."""
    items.sort(key=lambda item: not _is_real_time(item))
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            item.add_marker(pytest.mark.xdist_group("real time" if _is_real_time(item) else item.path.name))


def _is_real_time(item: pytest.Item) -> bool:
    return bool(REAL_TIME & set(item.path.parts))
