"""The matrix of faults runs on the harness of tests/ros."""

from ros_fixtures import module_ros, module_start_node, quick_switches, ros_domain

__all__ = ["module_ros", "module_start_node", "quick_switches", "ros_domain"]
