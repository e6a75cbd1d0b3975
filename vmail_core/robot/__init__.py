"""What a robot is: joints, servo ids, limits, rates, camera. Pure numpy and YAML."""

from vmail_core.robot.interface import RobotInterface
from vmail_core.robot.spec import RobotSpec, load_robot

__all__ = ["RobotInterface", "RobotSpec", "load_robot"]
