"""The simulated twin of a robot: MuJoCo in real time, seen by a camera and moved through servo goals."""

from vmail_sim.twin.camera import CameraLoop, Frame
from vmail_sim.twin.plant import ClawPlant, Snapshot

__all__ = ["CameraLoop", "ClawPlant", "Frame", "Snapshot"]
