"""How the fingers of a hand are built, as far as the guard must know to keep them apart: links and their capsules."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

FloatArray = np.ndarray


@dataclasses.dataclass(frozen=True)
class Capsule:
    """All points within `radius` of the line from `start` to `end`, (3,) each in its link's frame. Lengths in m."""

    start: FloatArray
    end: FloatArray
    radius: float


@dataclasses.dataclass(frozen=True)
class Link:
    """What one joint moves. Lengths in m.

    Attributes:
        joint: name of the joint.
        offset: (3,) from the link before, or from the finger's base, to the joint, in that link's frame.
        axis: (3,) of the joint, of length 1; at angle 0 the link's frame is turned like the one before.
        capsules: that enclose it.
    """

    joint: str
    offset: FloatArray
    axis: FloatArray
    capsules: tuple[Capsule, ...]


@dataclasses.dataclass(frozen=True)
class Finger:
    """A chain of links on the palm.

    Attributes:
        position: (3,) of its base in the palm's frame.
        turn_deg: of its base about the palm's z.
        links: from the palm to the tip.
    """

    position: FloatArray
    turn_deg: float
    links: tuple[Link, ...]


@dataclasses.dataclass(frozen=True)
class Fingers:
    """The fingers of a hand, and how near they may come to each other.

    Attributes:
        least_clearance: m between the capsules of two fingers that a goal may lead to; below 0 they may overlap.
        fingers: all of them.
    """

    least_clearance: float
    fingers: tuple[Finger, ...]


def fingers_from(raw: dict[str, Any], joint_names: tuple[str, ...]) -> Fingers:
    """From the section `fingers` of a robot's file.

    Raises:
        ValueError: unknown or repeated joints, or a shape that cannot be.
        KeyError: a field is missing.
    """
    fingers = []
    for finger in raw["on_palm"]:
        names, links = finger["joints"], finger["links"]
        if len(names) != len(links):
            raise ValueError(f"finger of {', '.join(names)}: {len(names)} joints, but {len(links)} links")
        made = tuple(_link(name, link) for name, link in zip(names, links, strict=True))
        fingers.append(Finger(_vector(finger["position"]), float(finger["turn_deg"]), made))
    used = [link.joint for finger in fingers for link in finger.links]
    wrong = sorted({name for name in used if used.count(name) > 1 or name not in joint_names})
    if wrong:
        raise ValueError(f"fingers: {', '.join(wrong)} must be joints of the robot, each in one finger")
    if sum(any(link.capsules for link in finger.links) for finger in fingers) < 2:
        raise ValueError("fingers: at least two with capsules are needed to keep them apart; leave the section out")
    return Fingers(float(raw["least_clearance"]), tuple(fingers))


def _link(joint: str, raw: dict[str, Any]) -> Link:
    axis = _vector(raw["axis"])
    capsules = [Capsule(_vector(c["start"]), _vector(c["end"]), float(c["radius"])) for c in raw["capsules"]]
    if not np.isclose(np.linalg.norm(axis), 1.0) or any(capsule.radius <= 0.0 for capsule in capsules):
        raise ValueError(f"link of {joint}: its axis must have length 1, its radii be above 0")
    return Link(joint, _vector(raw["offset"]), axis, tuple(capsules))


def _vector(values: Any) -> FloatArray:
    vector = np.asarray(values, np.float64)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise ValueError(f"{values} is not a vector of three numbers")
    vector.setflags(write=False)
    return vector
