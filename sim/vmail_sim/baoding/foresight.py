"""What a planner asks of the Baoding task: where servos would go and what would come of it, in many copies at once."""

from __future__ import annotations

import copy

import mujoco
import numpy as np

from vmail_sim.baoding import model, rewards
from vmail_sim.baoding.physics import JOINTS, Physics, balls_of, joints_of
from vmail_sim.baoding.servos import Servos

TIMESTEP = 0.005  # s, twice the task's: foresight need not be exact, and more samples are worth more
WRIST = model.JOINT_NAMES.index("WRJ0")


class BaodingForesight:
    """A `vmail_sim.experts.mpc.Foresight` of the task."""

    action_size = JOINTS

    def __init__(self, physics: Physics, servos: Servos, control_timestep: float) -> None:
        """Of a running environment: `physics` is read, never stepped."""
        self.model: mujoco.MjModel = copy.copy(physics.model.ptr)
        self.model.opt.timestep = TIMESTEP
        self.substeps = round(control_timestep / TIMESTEP)
        self._data, self._servos = physics.data.ptr, servos
        # A full physics state holds the time, then positions, then velocities.
        self._positions = slice(1, 1 + self.model.nq)

    def state(self) -> np.ndarray:
        """See `Foresight`."""
        state = np.empty(mujoco.mj_stateSize(self.model, mujoco.mjtState.mjSTATE_FULLPHYSICS))
        mujoco.mj_getState(self.model, self._data, state, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        return state

    def controls(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """See `Foresight`."""
        return self._servos.targets(actions, joints_of(states[..., self._positions]))

    def rewards(self, states: np.ndarray, sensors: np.ndarray, step: int) -> np.ndarray:
        """See `Foresight`. MuJoCo's sensors are a physics step older than the state: the palm moves little in it."""
        positions = states[..., self._positions]
        palm_axes = sensors[..., 3:12].reshape(*sensors.shape[:-1], 3, 3).swapaxes(-1, -2)
        wanted = rewards.targets(step, sensors[..., :3], palm_axes)
        return rewards.turning(balls_of(positions), wanted, positions[..., WRIST])
