"""ROS 2 nodes: thin adapters between topics and vmail's packages. Each starts as `python -m vmail_nodes.<node>`."""
