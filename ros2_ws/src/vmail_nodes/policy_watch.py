"""When a policy must stop commanding: old, frozen or empty pictures, missing joint states. Knows no ROS."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

NS_PER_S = 1_000_000_000


class Trouble(NamedTuple):
    """Why to stop: a name that programs compare, and a sentence for people."""

    reason: str
    detail: str


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the runner tolerates.

    Attributes:
        image_age_s: age of the newest picture, from its stamp.
        joint_states_age_s: age of the newest joint state, from its stamp; and for so long pictures may come without
            a joint state that is new enough to go with them.
        freeze_frames: this many identical pictures in a row, one a control period, are a frozen camera ...
        freeze_travel_rad: ... when a joint has meanwhile moved so far. Both, because a picture of a still scene without
            sensor noise, as a simulator renders it, is rightly identical. (A claw that is seen at 64 px changes its
            picture with any step of 0.0001 rad; servos that hold stay within 0.002.)
        contrast: grey levels between the darkest and the brightest value of a picture, below which nothing is to be
            seen in it: a lens cap, no light, a broken driver.
    """

    image_age_s: float
    joint_states_age_s: float
    freeze_frames: int
    freeze_travel_rad: float
    contrast: int


class PolicyWatch:
    """Judges the runner's inputs. Times are nanoseconds since the epoch, of the node's clock."""

    def __init__(self, limits: Limits) -> None:
        """Nothing has been seen yet."""
        self._limits = limits
        self.image_ns: int | None = None
        self.joints_ns: int | None = None
        self._repeats = 0
        self._same_pictures = 0
        self._picture: np.ndarray | None = None
        self._pose: np.ndarray | None = None

    def on_image(self, stamp_ns: int) -> None:
        """Note a picture's stamp. Only a newer one than all before makes the camera fresh."""
        if self.image_ns is not None and stamp_ns <= self.image_ns:
            self._repeats += 1
            return
        self.image_ns, self._repeats = stamp_ns, 0

    def on_joint_states(self, stamp_ns: int) -> None:
        """Note a joint state's stamp."""
        self.joints_ns = max(stamp_ns, self.joints_ns or 0)

    def begin(self, now_ns: int) -> None:
        """A run begins: stamps of the future are of a clock that was set back since, and count no more."""
        if self.image_ns is not None and self.image_ns > now_ns:
            self.image_ns = None
        if self.joints_ns is not None and self.joints_ns > now_ns:
            self.joints_ns = None

    def trouble(self, now_ns: int) -> Trouble | None:
        """What is wrong with camera or joint states at this time, if anything; both must have been seen once."""
        return self._camera_trouble(now_ns) or self._joints_trouble(now_ns)

    def missing(self, now_ns: int) -> list[str]:
        """Topics without a fresh message: what a run that begins has to wait for."""
        topics = []
        if self.image_ns is None or self._camera_trouble(now_ns):
            topics.append("camera/image_raw")
        if self.joints_ns is None or self._joints_trouble(now_ns):
            topics.append("joint_states")
        return topics

    def unpaired(self, stamp_ns: int, since_ns: int | None) -> Trouble | None:
        """Take a picture's stamp and `LiveAlignment.unpaired_since_ns`: has it lasted too long?"""
        lasted = 0.0 if since_ns is None else (stamp_ns - since_ns) / NS_PER_S
        if lasted <= self._limits.joint_states_age_s:
            return None
        return Trouble(
            "joint_states_stale",
            f"for {lasted:.2f} s no joint state was stamped within a control period before its picture; "
            "see the driver's diagnostics, and synchronise the clocks",
        )

    def frozen(self, picture: np.ndarray, joints: np.ndarray) -> Trouble | None:
        """Take a tick's picture (H, W, 3) and joints (N,) rad: does the picture stand still while joints move?"""
        if self._picture is None or not np.array_equal(picture, self._picture):
            self._picture, self._pose, self._same_pictures = picture, joints, 1
            return None
        self._same_pictures += 1
        assert self._pose is not None
        travel = float(np.abs(joints - self._pose).max())
        if self._same_pictures < self._limits.freeze_frames or travel < self._limits.freeze_travel_rad:
            return None
        return Trouble(
            "camera_frozen",
            f"{self._same_pictures} identical pictures while a joint moved {travel:.2f} rad; restart the camera",
        )

    def unseen(self, picture: np.ndarray) -> Trouble | None:
        """Take a tick's picture (H, W, 3): is anything to be seen in it?"""
        found = int(picture.max()) - int(picture.min())
        if found >= self._limits.contrast:
            return None
        return Trouble(
            "camera_dark", f"all of the picture lies within {found} grey levels; look at lens cap, light and exposure"
        )

    def forget_picture(self) -> None:
        """Begin anew: earlier pictures say nothing about the next one."""
        self._picture = self._pose = None

    def _camera_trouble(self, now_ns: int) -> Trouble | None:
        age = (now_ns - (self.image_ns or 0)) / NS_PER_S
        if age > self._limits.image_age_s:
            if self._repeats:
                return Trouble(
                    "camera_frozen", f"pictures come with the same stamp, now {age:.2f} s old; restart the camera"
                )
            return Trouble("camera_stale", f"the newest picture is {age:.2f} s old; see the camera node's diagnostics")
        if age < -self._limits.image_age_s:
            return Trouble(
                "camera_clock_ahead", f"pictures are stamped {-age:.2f} s in the future; synchronise the clocks"
            )
        return None

    def _joints_trouble(self, now_ns: int) -> Trouble | None:
        age = (now_ns - (self.joints_ns or 0)) / NS_PER_S
        if age > self._limits.joint_states_age_s:
            return Trouble("joint_states_missing", f"the newest is {age:.2f} s old; see the driver's diagnostics")
        if age < -self._limits.joint_states_age_s:
            return Trouble(
                "joint_states_clock_ahead", f"they are stamped {-age:.2f} s in the future; synchronise the clocks"
            )
        return None
