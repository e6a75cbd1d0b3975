"""The matrix of faults runs on the harness of tests/ros."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "ros"))

from ros_fixtures import module_ros, module_start_node, quick_switches, ros_domain  # noqa: E402

__all__ = ["module_ros", "module_start_node", "quick_switches", "ros_domain"]
