"""A claw that is another one in every episode: how it moves, how it looks, how late it obeys.

For policies that are meant for a real hand, which is never quite the simulated one. Dynamics are drawn as robel's
RandomDynamics tasks draw them for a valve (Ahn et al. 2019), also for poses, where friction of what is touched and the
mount stay as they are there; looks and lateness are this project's own.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from dm_control.mujoco.wrapper import mjbindings

from vmail_sim.dclaw import model, valve
from vmail_sim.dclaw.physics import JOINTS, ClawPhysics

DYNAMICS = ("fixed", "random")
LOOKS = ("plain", "random")
LATENESS = ("none", "random")

# robel's ranges.
DAMPING = (0.005, 0.1)  # Nm s/rad, each joint its own
FRICTION_LOSS = (0.001, 0.005)  # Nm, each joint its own
SERVO_GAIN = (1.0, 3.0)  # Nm/rad, all servos the same
FRICTION = ((0.8, 1.2), (0.003, 0.007), (0.00005, 0.00015))  # sliding, torsional, rolling; all geoms the same
MOUNT_M = 0.01  # the claw hangs off by up to so much, along each axis
COLOUR = (0.2, 0.9)  # of the mount and the valve, each channel

LIGHT = (0.5, 1.8)  # times each light's brightness
LIGHT_DIRECTION = 0.4  # added to each component of a light's direction
FLOOR = (0.5, 1.0)  # times each channel of the floor
CAMERA_M = 0.015  # the camera stands off by up to so much, along each axis
CAMERA_RAD = 0.035  # and is turned by up to so much, about each axis
FIELD_OF_VIEW_DEG = 2.0  # and zooms by up to so much
LATEST_S = 0.04  # until goals reach the servos

_FIELDS = (
    *("dof_damping", "dof_frictionloss", "actuator_gainprm", "actuator_biasprm", "geom_friction", "body_pos"),
    *("geom_rgba", "mat_rgba", "light_diffuse", "light_dir", "cam_pos", "cam_quat", "cam_fovy"),
)


@dataclasses.dataclass(frozen=True)
class Randomisation:
    """What differs from episode to episode: `dynamics` and `look` "random" or not, and `lateness`.

    Raises:
        ValueError: unknown values; the message lists the known ones.
    """

    dynamics: str = "fixed"
    look: str = "plain"
    lateness: str = "none"

    def __post_init__(self) -> None:
        """Check."""
        valve.require("dynamics", self.dynamics, DYNAMICS)
        valve.require("look", self.look, LOOKS)
        valve.require("lateness", self.lateness, LATENESS)


class Randomiser:
    """Draws a claw for each episode."""

    def __init__(self, physics: ClawPhysics, what: Randomisation) -> None:
        """Remember the claw as it is now; all that is drawn is drawn around that."""
        self._physics, self._what = physics, what
        self._nominal = {name: getattr(physics.model, name).copy() for name in _FIELDS}

    def draw(self, random: np.random.RandomState) -> int:
        """Make the next episode's claw; returns how many physics steps goals are late. A scene is to be placed next."""
        for name, value in self._nominal.items():
            getattr(self._physics.model, name)[:] = value
        if self._what.dynamics == "random":
            self._draw_dynamics(random)
        if self._what.look == "random":
            self._draw_look(random)
        if self._what.lateness == "none":
            return 0
        return int(random.randint(round(LATEST_S / self._physics.timestep()) + 1))

    def _draw_dynamics(self, random: np.random.RandomState) -> None:
        claw = self._physics.model
        moving = list(range(JOINTS))
        if model.VALVE_JOINT in self._names("joint", claw.njnt):
            moving.append(claw.name2id(model.VALVE_JOINT, "joint"))  # hinges all, so joints are degrees of freedom
        claw.dof_damping[moving] = random.uniform(*DAMPING, len(moving))
        claw.dof_frictionloss[moving] = random.uniform(*FRICTION_LOSS, len(moving))
        gain = random.uniform(*SERVO_GAIN)
        claw.actuator_gainprm[:, 0], claw.actuator_biasprm[:, 1] = gain, -gain
        claw.geom_friction[:] = [random.uniform(*limits) for limits in FRICTION]
        claw.body_pos[claw.name2id("mount", "body")] += random.uniform(-MOUNT_M, MOUNT_M, 3)

    def _draw_look(self, random: np.random.RandomState) -> None:
        claw = self._physics.model
        coloured = [
            claw.name2id(name, "body") for name in ("mount", "valve") if name in self._names("body", claw.nbody)
        ]
        geoms = np.flatnonzero(np.isin(claw.geom_bodyid, coloured))
        claw.geom_rgba[geoms, :3] = random.uniform(*COLOUR, (len(geoms), 3))
        claw.mat_rgba[claw.name2id("MatPlane", "material"), :3] *= random.uniform(*FLOOR, 3)
        claw.light_diffuse[:] *= random.uniform(*LIGHT, (len(claw.light_diffuse), 1))
        claw.light_dir[:] += random.uniform(-LIGHT_DIRECTION, LIGHT_DIRECTION, claw.light_dir.shape)
        claw.light_dir[:] /= np.linalg.norm(claw.light_dir, axis=1, keepdims=True)
        camera = claw.name2id(model.CAMERA, "camera")
        claw.cam_pos[camera] += random.uniform(-CAMERA_M, CAMERA_M, 3)
        mjbindings.mjlib.mju_quatIntegrate(claw.cam_quat[camera], random.uniform(-CAMERA_RAD, CAMERA_RAD, 3), 1.0)
        claw.cam_fovy[camera] += random.uniform(-FIELD_OF_VIEW_DEG, FIELD_OF_VIEW_DEG)

    def _names(self, kind: str, count: int) -> list[str]:
        return [self._physics.model.id2name(index, kind) for index in range(count)]
