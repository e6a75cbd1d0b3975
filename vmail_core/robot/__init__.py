"""What a robot is: joints, servo ids, limits, rates, camera. Pure numpy and YAML."""

from vmail_core.robot.spec import RobotSpec, load_robot

__all__ = ["RobotSpec", "load_robot"]
