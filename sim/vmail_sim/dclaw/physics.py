"""Quantities of the claw, and of what it works at, by name."""

from __future__ import annotations

import numpy as np
from dm_control import mujoco

from vmail_sim.dclaw import model
from vmail_sim.rendering import SceneCamera

JOINTS = len(model.JOINT_NAMES)


class ClawPhysics(mujoco.Physics):
    """MuJoCo physics of a D'Claw. Angles in rad, speeds in rad/s; joints in JOINT_NAMES order."""

    shown_group: int | None = None  # of geoms that are drawn beside the usual ones

    def joint_positions(self) -> np.ndarray:
        """(9,) claw joint angles."""
        return self.data.qpos[:JOINTS].copy()

    def joint_velocities(self) -> np.ndarray:
        """(9,) claw joint speeds."""
        return self.data.qvel[:JOINTS].copy()

    def picture(self, height: int, width: int) -> np.ndarray:
        """The task's camera view, (height, width, 3) uint8."""
        if "_camera" not in self.__dict__:
            self._camera = SceneCamera(self, model.CAMERA, shown_group=self.shown_group)
        return self._camera.picture(height, width)

    def place_claw(self, joints: np.ndarray) -> None:
        """Place the nine joints (9,), everything at rest."""
        self.data.qpos[:JOINTS] = joints
        self.data.qvel[:] = 0.0
        self.data.ctrl[:] = joints
        self.after_reset()

    def command(self, goals: np.ndarray, late_by: int = 0) -> None:
        """Give the servos goals (9,) rad, which reach them `late_by` physics steps into the coming control step.

        That must have as many.
        """
        self._late = goals, late_by

    def step(self, nstep: int = 1) -> None:
        """Advance by `nstep` physics steps; goals that are late arrive meanwhile."""
        goals, late_by = self.__dict__.pop("_late", (None, 0))
        if goals is not None:
            if late_by:
                super().step(late_by)
            self.set_control(goals)
        super().step(nstep - late_by)


class ValvePhysics(ClawPhysics):
    """A claw over a valve."""

    def valve_angle(self) -> float:
        """Valve angle, unwrapped: full turns add up."""
        return float(self.data.qpos[-1])

    def valve_velocity(self) -> float:
        """Valve speed, positive counter-clockwise seen from above."""
        return float(self.data.qvel[-1])

    def set_claw_and_valve(self, joints: np.ndarray, valve: float) -> None:
        """Place the nine claw joints and the valve, at rest."""
        self.data.qpos[-1] = valve
        self.place_claw(joints)

    def point_target(self, angle: float) -> None:
        """Turn the target of a valve that is marked to where the valve's own mark should be."""
        self.named.model.body_quat[model.TARGET_BODY] = np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2)


class PosePhysics(ClawPhysics):
    """A claw with nothing below it, and the shape of a claw where its fingers should be."""

    shown_group = model.OVERLAY_GROUP

    def show_pose(self, joints: np.ndarray) -> None:
        """Put the shape at joints (9,); nothing touches it."""
        self.data.qpos[JOINTS:] = joints
        self.data.qvel[JOINTS:] = 0.0
        self.forward()  # pictures go by where bodies are


def make_physics(prongs: int, marked: bool = False) -> ValvePhysics:
    """Compile the claw over a valve with 3 or 4 prongs; see `model.claw_xml`."""
    xml, assets = model.claw_xml(prongs, marked)
    physics = ValvePhysics.from_xml_string(xml, assets)
    _require_joints(physics, [*model.JOINT_NAMES, model.VALVE_JOINT])
    return physics


def make_pose_physics() -> PosePhysics:
    """Compile the claw with the shape of its wanted pose; see `model.pose_xml`."""
    xml, assets = model.pose_xml()
    physics = PosePhysics.from_xml_string(xml, assets)
    _require_joints(physics, [*model.JOINT_NAMES, *(f"_{name}" for name in model.JOINT_NAMES)])
    return physics


def _require_joints(physics: ClawPhysics, wanted: list[str]) -> None:
    names = [physics.model.id2name(i, "joint") for i in range(physics.model.njnt)]
    assert names == wanted, names
