"""ros2 launch vmail dclaw_teleop_demo.launch.py sim:=true record:=takes: record demonstrations."""

from launch import LaunchDescription
from vmail.launching import describe


def generate_launch_description() -> LaunchDescription:
    """Camera, driver, teleop and demo_recorder; with sim:=true the twin."""
    return describe("dclaw_teleop_demo")
