"""ros2 launch vmail policy_runner.launch.py bundle:=DIR sim:=true: run a learned policy. See config/graphs.yaml."""

from launch import LaunchDescription
from vmail.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Camera, driver and policy_runner; with sim:=true the twin."""
    return describe("policy_runner")
