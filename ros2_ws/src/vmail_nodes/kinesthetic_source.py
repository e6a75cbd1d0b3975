"""Demonstrations on the hand itself: it is limp, somebody moves its fingers, and the pictures watch.

Nothing is sent to the servos. What is asked for at each frame is where the joints are, in the name of KINESTHETIC; the
import makes each frame's action of it, the pose that the hand was led to by the next one.
"""

from __future__ import annotations

import numpy as np

from vmail_nodes.joint_source import JointSource


class KinestheticSource(JointSource):
    """Where the joints are, at every frame. See `Source`."""

    limp = True

    def command(self) -> tuple[int, np.ndarray] | None:
        """The present pose."""
        due = self.due()
        return None if due is None else (due[0], due[1].copy())
