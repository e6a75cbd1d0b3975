"""Fixtures of every test over ROS; see `ros_fixtures` and `up_process`."""

from ros_fixtures import module_ros, module_start_node, quick_switches, ros, ros_domain, start_node
from up_process import up

__all__ = ["module_ros", "module_start_node", "quick_switches", "ros", "ros_domain", "start_node", "up"]
