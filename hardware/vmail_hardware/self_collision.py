"""Whether the fingers of a hand get into each other's way, from joint angles alone."""

from __future__ import annotations

import numpy as np

from vmail_core.robot.fingers import Fingers

_PIECES = 12  # the way to a goal is looked at in so many pieces: 3 mm each for a claw's tip at full speed
_ROUNDING_M = 1e-9


class SelfCollision:
    """Distances between the capsules of different fingers, and how far the hand may go on its way to a goal."""

    def __init__(self, fingers: Fingers, joint_names: tuple[str, ...]) -> None:
        """Describe the hand.

        Args:
            fingers: F of them, how they are built.
            joint_names: N names, the order of joint arrays.
        """
        self._least = fingers.least_clearance
        hand = fingers.fingers
        depth = max(len(finger.links) for finger in hand)
        # All fingers are turned at once: a shorter one ends in links that carry nothing and never turn.
        self._column = np.full((len(hand), depth), len(joint_names))  # past the last joint, where the angle is 0
        self._offset = np.zeros((depth, len(hand), 3))
        self._cross = np.zeros((depth, len(hand), 3, 3))
        capsules = []
        for f, finger in enumerate(hand):
            for i, link in enumerate(finger.links):
                self._column[f, i] = joint_names.index(link.joint)
                self._offset[i, f] = link.offset
                self._cross[i, f] = _cross_matrix(link.axis)
                capsules += [(i, f, capsule) for capsule in link.capsules]
        self._base = np.stack([finger.position for finger in hand])
        upright = _cross_matrix(np.array([0.0, 0.0, 1.0]))
        self._base_frame = _turn(upright, np.deg2rad([finger.turn_deg for finger in hand]))
        self._link, self._finger = (np.array(index) for index in list(zip(*capsules, strict=True))[:2])
        self._start, self._end = (
            np.stack([getattr(capsule, end) for *_, capsule in capsules]) for end in ("start", "end")
        )
        self._one, self._other = np.nonzero(np.less.outer(self._finger, self._finger))
        radius = np.array([capsule.radius for *_, capsule in capsules])
        self._thickness = radius[self._one] + radius[self._other]
        moved = [{link.joint for link in finger.links} for finger in hand]
        self._moves = np.array([[name in joints for name in joint_names] for joints in moved])  # (F, N)

    def capsules(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the K capsules' middle lines, two arrays (..., K, 3) m in the palm's frame, at angles (..., N)."""
        positions = np.asarray(positions, np.float64)
        angles = np.concatenate([positions, np.zeros_like(positions[..., :1])], -1)[..., self._column]
        origin, frame = self._base, self._base_frame
        origins, frames = [], []
        for i in range(self._column.shape[1]):
            origin = origin + (frame @ self._offset[i, :, :, None])[..., 0]
            frame = frame @ _turn(self._cross[i], angles[..., i])
            origins.append(np.broadcast_to(origin, (*angles.shape[:-1], 3)))
            frames.append(frame)
        origin = np.stack(origins, -3)[..., self._link, self._finger, :]
        frame = np.stack(frames, -4)[..., self._link, self._finger, :, :]
        start, end = (origin + (frame @ place[..., None])[..., 0] for place in (self._start, self._end))
        return start, end

    def clearance(self, positions: np.ndarray) -> np.ndarray:
        """Smallest distance (...) m between capsules of two fingers at angles (..., N); below 0 they overlap."""
        return np.asarray(self._gaps(positions).min(-1))

    def _gaps(self, positions: np.ndarray) -> np.ndarray:
        """Distances (..., P) m between the capsules of each pair."""
        start, end = self.capsules(positions)
        one, other = self._one, self._other
        lines = _segment_distance(start[..., one, :], end[..., one, :], start[..., other, :], end[..., other, :])
        return np.asarray(lines - self._thickness)

    def reach(self, present: np.ndarray, goals: np.ndarray, stay: np.ndarray | None = None) -> np.ndarray:
        """Goals (N,) rad that are clear, and all on the way to them: those of fingers that would meet are cut back.

        A pair that is too near already may do whatever does not bring it nearer. Fingers that meet nobody go on.

        Args:
            present: (N,) rad, where the joints are.
            goals: (N,) rad.
            stay: (N,) rad, goals close to `present` with which joints stay where they are; without, that is `present`.
        """
        limit = np.minimum(self._least, self._gaps(present)) - _ROUNDING_M
        begin = np.asarray(present if stay is None else stay, np.float64)
        for _ in self._moves:  # with each look another finger at the least
            near = self._gaps(begin) < limit
            if not near.any():
                break
            begin = np.where(self._joints_of(near), present, begin)
        if (self._gaps(begin) < limit).any():
            begin = present
        reached = np.asarray(goals, np.float64)
        share = np.linspace(0.0, 1.0, _PIECES + 1)[:, None]
        for _ in self._moves:
            way = begin + share * (reached - begin)
            blocked = self._gaps(way) < limit
            if not blocked.any():
                return reached
            last = int(np.argmax(blocked.any(-1))) - 1
            reached = np.where(self._joints_of(blocked[last + 1]), way[last], reached)
        way = begin + share * (reached - begin)
        blocked = (self._gaps(way) < limit).any(-1)
        return np.asarray(way[int(np.argmax(blocked)) - 1] if blocked.any() else reached)

    def _joints_of(self, pairs: np.ndarray) -> np.ndarray:
        """(N,) bool: the joints of the fingers of these pairs, (P,) bool."""
        fingers = np.union1d(self._finger[self._one[pairs]], self._finger[self._other[pairs]])
        return np.asarray(self._moves[fingers].any(0))


def _cross_matrix(axis: np.ndarray) -> np.ndarray:
    """What the cross product with a vector (3,) is as a matrix."""
    x, y, z = axis
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _turn(cross: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) by angles (...) about unit axes, given as cross matrices; Rodrigues' formula."""
    angle = angle[..., None, None]
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross))


def _segment_distance(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Distance (...) between the segments from a to b and from c to d, each (..., 3).

    The nearest points of two segments are those of their lines if both lie within, else one of them is an end: so the
    least of five candidates is right, also for parallel segments.
    """
    along, across, between = b - a, d - c, a - c
    aa, cc, ac = _dot(along, along), _dot(across, across), _dot(along, across)
    ab, cb = _dot(along, between), _dot(across, between)
    slope = aa * cc - ac * ac
    crossing = slope > 1e-12 * aa * cc
    safe = np.where(crossing, slope, 1.0)
    s, t = (ac * cb - cc * ab) / safe, (aa * cb - ac * ab) / safe
    inside = crossing & (s >= 0.0) & (s <= 1.0) & (t >= 0.0) & (t <= 1.0)
    lines = np.linalg.norm(between + s[..., None] * along - t[..., None] * across, axis=-1)
    ends = [_point_distance(a, c, d), _point_distance(b, c, d), _point_distance(c, a, b), _point_distance(d, a, b)]
    return np.asarray(np.minimum.reduce([np.where(inside, lines, np.inf), *ends]))


def _point_distance(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Distance (...) from points to segments, each (..., 3)."""
    along = end - start
    share = np.clip(_dot(point - start, along) / np.maximum(_dot(along, along), 1e-18), 0.0, 1.0)
    return np.asarray(np.linalg.norm(point - start - share[..., None] * along, axis=-1))


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray((one * other).sum(-1))
