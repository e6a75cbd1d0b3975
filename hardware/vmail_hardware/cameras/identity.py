"""Which camera a source is, by a name that stays, and where its calibration is kept."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from vmail_hardware.cameras.opening import TWIN_SCHEME
from vmail_hardware.user_files import user_folder

AUTO, NONE = "auto", "none"


def camera_name(source: str, devices: Path = Path("/dev")) -> str:
    """A name that a camera keeps.

    A device's is that of its maker, model and serial number as udev knows them, else of the socket that it is plugged
    into, else that of the device file. All twins are one camera; a video file is one by its place.

    Args:
        source: as `open_camera` takes it.
        devices: where device files are.
    """
    if source.startswith(TWIN_SCHEME):
        return "twin"
    if source.isdecimal() or source.startswith("/dev/"):
        device = (devices / f"video{source}" if source.isdecimal() else Path(source)).resolve()
        for folder in ("by-id", "by-path"):
            for link in sorted((devices / "v4l" / folder).glob("*")):
                if link.resolve() == device:
                    return _safe(link.name)
        return _safe(device.name)
    place = Path(source).resolve()
    return f"{_safe(place.stem)}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"


def default_calibration(source: str) -> Path:
    """Where the calibration of this camera is kept for this user."""
    return user_folder("cameras") / f"{camera_name(source)}.yaml"


def calibration_file(source: str, choice: str) -> Path | None:
    """The calibration that a camera node uses: `choice` is "auto", "none" (or empty) or a file.

    "auto" takes this user's of the camera, if there is one. Whether a file that was named exists is not looked at.
    """
    if choice in (NONE, ""):
        return None
    if choice != AUTO:
        return Path(choice)
    path = default_calibration(source)
    return path if path.is_file() else None


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
