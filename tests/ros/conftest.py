"""Fixtures of every test over ROS; see `ros_fixtures`."""

from ros_fixtures import module_ros, module_start_node, quick_switches, ros, ros_domain, start_node

__all__ = ["module_ros", "module_start_node", "quick_switches", "ros", "ros_domain", "start_node"]
