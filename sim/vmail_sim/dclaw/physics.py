"""Quantities of the claw and valve, by name."""

from __future__ import annotations

import numpy as np
from dm_control import mujoco

from vmail_sim.dclaw import model
from vmail_sim.rendering import SceneCamera


class Physics(mujoco.Physics):
    """MuJoCo physics of a D'Claw over a valve. Angles in rad, speeds in rad/s; joints in JOINT_NAMES order."""

    def joint_positions(self) -> np.ndarray:
        """(9,) claw joint angles."""
        return self.data.qpos[: len(model.JOINT_NAMES)].copy()

    def joint_velocities(self) -> np.ndarray:
        """(9,) claw joint speeds."""
        return self.data.qvel[: len(model.JOINT_NAMES)].copy()

    def valve_angle(self) -> float:
        """Valve angle, unwrapped: full turns add up."""
        return float(self.data.qpos[-1])

    def valve_velocity(self) -> float:
        """Valve speed, positive counter-clockwise seen from above."""
        return float(self.data.qvel[-1])

    def picture(self, height: int, width: int) -> np.ndarray:
        """The task's camera view, (height, width, 3) uint8."""
        camera: SceneCamera = self.__dict__.setdefault("_camera", SceneCamera(self, model.CAMERA))
        return camera.picture(height, width)

    def set_claw_and_valve(self, joints: np.ndarray, valve: float) -> None:
        """Place the nine claw joints and the valve, at rest."""
        self.data.qpos[: len(model.JOINT_NAMES)] = joints
        self.data.qpos[-1] = valve
        self.data.qvel[:] = 0.0
        self.data.ctrl[:] = joints
        self.after_reset()


def make_physics(prongs: int, marked: bool = False) -> Physics:
    """Compile the claw over a valve with 3 or 4 prongs; see `model.claw_xml`."""
    xml, assets = model.claw_xml(prongs, marked)
    physics = Physics.from_xml_string(xml, assets)
    names = [physics.model.id2name(i, "joint") for i in range(physics.model.njnt)]
    assert names == [*model.JOINT_NAMES, model.VALVE_JOINT], names
    return physics
