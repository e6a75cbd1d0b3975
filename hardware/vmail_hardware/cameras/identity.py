"""Which camera a source is, by a name that stays, and where its calibration is kept."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from vmail_hardware.cameras.frame import TWIN_SCHEME
from vmail_hardware.user_files import user_folder

AUTO, NONE = "auto", "none"
NO_NAME = "nothing tells this camera from another (no serial number of its own, no link in /dev/v4l/by-path)"


def is_device(source: str) -> bool:
    """Whether the source is a device, and no file or twin."""
    return source.isdecimal() or source.startswith("/dev/")


def camera_name(source: str, devices: Path = Path("/dev"), sysfs: Path = Path("/sys")) -> str:
    """A name that a camera keeps.

    A device's is that of its maker, model and serial number as udev knows them. Without a serial number, or if another
    camera here has the same one, it is that of the socket that it is plugged into: two equal cameras have one name
    between them, and which of the two gets it is chance. Else it is that of the device file, which does not last.
    All twins are one camera; a video file is one by its place.

    Args:
        source: as `open_camera` takes it.
        devices: where device files are.
        sysfs: where the kernel describes them.
    """
    if source.startswith(TWIN_SCHEME):
        return "twin"
    if is_device(source):
        return _safe(_lasting_name(source, devices, sysfs) or _device(source, devices).name)
    place = Path(source).resolve()
    return f"{_safe(place.stem)}-{hashlib.sha256(str(place).encode()).hexdigest()[:8]}"


def has_lasting_name(source: str, devices: Path = Path("/dev"), sysfs: Path = Path("/sys")) -> bool:
    """Whether the camera still has its name when it is plugged in again; the arguments are `camera_name`'s."""
    return not is_device(source) or _lasting_name(source, devices, sysfs) is not None


def _device(source: str, devices: Path) -> Path:
    return (devices / f"video{source}" if source.isdecimal() else Path(source)).resolve()


def _lasting_name(source: str, devices: Path, sysfs: Path) -> str | None:
    device = _device(source, devices)
    for folder in ("by-id", "by-path") if _is_unique(device.name, sysfs) else ("by-path",):
        for link in sorted((devices / "v4l" / folder).glob("*")):
            if link.resolve() == device:
                return link.name
    return None


def _is_unique(name: str, sysfs: Path) -> bool:
    """Whether the camera behind video<number> has a serial number, and no other one here has it too."""
    folder = sysfs / "class" / "video4linux"
    place, serial = _usb_serial(folder / name)
    others = [_usb_serial(path) for path in folder.glob("video*")]
    return serial is not None and all(where == place for where, other in others if other == serial)


def _usb_serial(video: Path) -> tuple[Path, tuple[str, ...] | None]:
    """The USB device of a video device, and its vendor, product and serial number; None if it has none."""
    device = (video / "device").resolve().parent  # above the interface that gives pictures
    try:
        vendor, product, serial = ((device / name).read_text().strip() for name in ("idVendor", "idProduct", "serial"))
    except OSError:
        return device, None
    return device, (vendor, product, serial) if serial else None


def default_calibration(source: str) -> Path:
    """Where the calibration of this camera is kept for this user."""
    return user_folder("cameras") / f"{camera_name(source)}.yaml"


def calibration_file(source: str, choice: str) -> Path | None:
    """The calibration that a camera node uses: `choice` is "auto", "none" (or empty) or a file.

    "auto" takes this user's of the camera, if there is one, and the camera has a name that lasts (`has_lasting_name`):
    another one may be called /dev/video0 today. Whether a file that was named exists is not looked at.
    """
    if choice in (NONE, ""):
        return None
    if choice != AUTO:
        return Path(choice)
    path = default_calibration(source)
    return path if path.is_file() and has_lasting_name(source) else None


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)
