"""What the hands' models share: other packages' files, thinner meshes, fast drawing, a camera that looks at a point."""

from __future__ import annotations

import importlib.util
import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fast_simplification
import numpy as np
from lxml import etree


def package_folder(package: str, how_to_install: str) -> Path:
    """Folder of an installed package, which is located but never imported.

    Raises:
        FileNotFoundError: it is not installed; the message holds `how_to_install`.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(how_to_install)
    return Path(spec.submodule_search_locations[0])


def thin_stl(content: bytes, faces: int) -> bytes:
    """Reduce a binary STL to about that many faces. Meshes that collide must not be thinned: physics would change."""
    (count,) = struct.unpack_from("<I", content, 80)
    if count <= faces:
        return content
    record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    triangles = np.frombuffer(content, record, count, offset=84)["corners"]
    points, index = np.unique(triangles.reshape(-1, 3), axis=0, return_inverse=True)
    points, kept = fast_simplification.simplify(
        points.astype(np.float32), index.reshape(-1, 3).astype(np.int32), 1.0 - faces / count
    )
    out = np.zeros(len(kept), record)
    out["corners"] = points[kept]
    stream = io.BytesIO()
    stream.write(b"\0" * 80 + struct.pack("<I", len(kept)))
    stream.write(out.tobytes())
    return stream.getvalue()


def light_for_software_rendering(tree: Any) -> None:
    """Leave out shadows, reflections and multisampling: each costs a software renderer a multiple of the frame."""
    for quality in tree.iter("quality"):
        quality.set("shadowsize", "0")
        quality.set("offsamples", "0")
    for light in tree.iter("light"):
        light.set("castshadow", "false")
    for material in tree.iter("material"):
        material.set("reflectance", "0")


def add_camera(
    tree: Any, name: str, lookat: Sequence[float], distance: float, azimuth_deg: float, elevation_deg: float
) -> None:
    """A fixed camera where MuJoCo's free camera with these settings is."""
    azimuth, elevation = np.deg2rad(azimuth_deg), np.deg2rad(elevation_deg)
    forward = np.array([np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)])
    position = np.array(lookat) - distance * forward
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    up = np.cross(right, forward)
    camera = etree.SubElement(tree.find("worldbody"), "camera", name=name)
    camera.set("pos", " ".join(f"{value:.9g}" for value in position))
    camera.set("xyaxes", " ".join(f"{value:.9g}" for value in (*right, *up)))
