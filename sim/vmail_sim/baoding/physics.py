"""Quantities of the hand and the balls, by name."""

from __future__ import annotations

import numpy as np
from dm_control import mujoco

from vmail_sim.baoding import model, rewards
from vmail_sim.rendering import SceneCamera

JOINTS = len(model.JOINT_NAMES)
FREE_POSITIONS, FREE_VELOCITIES = 7, 6  # of a ball in qpos and qvel


def joints_of(qpos: np.ndarray) -> np.ndarray:
    """(..., 24) rad, in JOINT_NAMES order, of positions (..., 38)."""
    return qpos[..., :JOINTS]


def balls_of(qpos: np.ndarray) -> np.ndarray:
    """(..., 2, 3) m in the world, of positions (..., 38)."""
    return np.stack([qpos[..., JOINTS : JOINTS + 3], qpos[..., JOINTS + FREE_POSITIONS :][..., :3]], -2)


class Physics(mujoco.Physics):
    """MuJoCo physics of the hand with two balls."""

    def joint_positions(self) -> np.ndarray:
        """(24,) rad."""
        return joints_of(self.data.qpos).copy()

    def wrist_angle(self) -> float:
        """WRJ0, rad: positive lifts the fingers."""
        return float(self.data.qpos[model.JOINT_NAMES.index("WRJ0")])

    def balls(self) -> np.ndarray:
        """(2, 3) m: the balls' centres."""
        return balls_of(self.data.qpos)

    def ball_velocities(self) -> np.ndarray:
        """(2, 3) m/s."""
        return self.data.qvel[JOINTS:].reshape(2, FREE_VELOCITIES)[:, :3].copy()

    def targets(self, step: int) -> np.ndarray:
        """(2, 2) m: where the balls should be; see `rewards.targets`."""
        palm = self.model.name2id("palm", "body")
        return rewards.targets(step, self.data.xpos[palm], self.data.xmat[palm].reshape(3, 3))

    def move_markers(self, step: int) -> None:
        """Draw the targets of a step from the next physics step on."""
        sites = [self.model.name2id(name, "site") for name in model.MARKERS]
        self.model.site_pos[sites] = rewards.targets_in_palm(step)

    def place(self, joints: np.ndarray, balls: np.ndarray) -> None:
        """Put the hand's joints (24,) and the balls (2, 3) somewhere, at rest, the servos holding the joints there."""
        self.data.qpos[:JOINTS] = joints
        for ball, position in enumerate(balls):
            start = JOINTS + ball * FREE_POSITIONS
            self.data.qpos[start : start + FREE_POSITIONS] = *position, 1.0, 0.0, 0.0, 0.0
        self.data.qvel[:] = 0.0
        self.data.ctrl[:] = joints
        self.after_reset()

    def picture(self, height: int, width: int) -> np.ndarray:
        """The task's camera view, (height, width, 3) uint8."""
        camera: SceneCamera = self.__dict__.setdefault("_camera", SceneCamera(self, model.CAMERA, plain=True))
        return camera.picture(height, width)


def make_physics() -> Physics:
    """Compile the hand with two balls."""
    physics = Physics.from_xml_string(*model.hand_xml())
    joints = [physics.model.id2name(i, "joint") for i in range(physics.model.njnt)]
    servos = [physics.model.id2name(i, "actuator") for i in range(physics.model.nu)]
    assert joints == [*model.JOINT_NAMES, *model.BALLS], joints
    assert servos == [f"A_{name}" for name in model.JOINT_NAMES], servos
    return physics
