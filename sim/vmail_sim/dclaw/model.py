"""Assembles the D'Claw's MuJoCo model from the XML and meshes that the `robel` package installs.

Nothing of robel is copied: its files are read from where pip put them, its includes are resolved, the overlay claw is
left out where there is no pose to show, and the visual meshes are thinned so that software rendering keeps up. Visual
geoms do not collide, so physics is robel's own.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from lxml import etree

from vmail_sim import mjcf

JOINT_NAMES = ("FFJ10", "FFJ11", "FFJ12", "MFJ20", "MFJ21", "MFJ22", "THJ30", "THJ31", "THJ32")
VALVE_JOINT = "valve_OBJRx"
TARGET_BODY, TARGET_MARK = "target", "tmark"
TARGET_PLACE, TARGET_SIZE = "0.115 0 0.12", "0.007 0.018"  # m: beyond the prongs, at their height; radius, half length
OVERLAY_GROUP = 3  # of the geoms that show a wanted pose
CAMERA = "vmail"
VALVE_RED = "0.8 0.1 0.1 1"
POSE_GREEN = "0.3 1 0.3 0.4"
FACES_PER_MESH = 350

# The camera of V-MAIL's claw tasks, a free camera looking at a point.
CAMERA_LOOKAT = (0.0, 0.0, 0.2)
CAMERA_DISTANCE = 0.5
CAMERA_AZIMUTH_DEG = 180.0
CAMERA_ELEVATION_DEG = -30.0


def robel_root() -> Path:
    """Folder of the installed robel package, which is located but never imported (it wants mujoco-py).

    Raises:
        FileNotFoundError: robel is not installed; the message says how to install its assets.
    """
    return mjcf.package_folder(
        "robel",
        "robel's D'Claw assets are not installed; run: pip install 'pip<24.1' && pip install --no-deps robel==0.1.2",
    )


@functools.cache
def claw_xml(prongs: int, marked: bool = False) -> tuple[str, dict[str, bytes]]:
    """The scene of the claw over a valve with 3 or 4 prongs.

    Args:
        prongs: 3 or 4.
        marked: keep robel's valve mark and target site (its Screw tasks); otherwise the valve is plain red
            and turns without limit (V-MAIL's tasks).

    Returns:
        MJCF text and the assets it names, ready for `mujoco.Physics.from_xml_string`.
    """
    if prongs not in (3, 4):
        raise ValueError(f"the D'Claw has valves with 3 or 4 prongs, not {prongs}")
    scene = robel_root() / "dclaw" / "assets" / "dclaw3xh_valve3_v0.xml"
    tree = _resolve_includes(scene, {"valve3.xml": f"valve{prongs}.xml", "chain3xh_overlay.xml": None})
    if marked:
        _raise_target(tree)
    else:
        _plain_red_valve(tree)
    return _finish(tree)


@functools.cache
def pose_xml() -> tuple[str, dict[str, bytes]]:
    """The scene of robel's Pose tasks: the claw alone, and a second one, which only shows a pose, as green glass."""
    tree = _resolve_includes(robel_root() / "robel-scenes" / "dclaw" / "dclaw3xh.xml", {})
    for material in tree.iter("material"):
        if material.get("name") == "greenish":
            material.set("rgba", POSE_GREEN)
    return _finish(tree)


def _finish(tree: Any) -> tuple[str, dict[str, bytes]]:
    """With small meshes, fast drawing and the camera, as MJCF text and assets."""
    assets = _inline_assets(tree, robel_root())
    mjcf.light_for_software_rendering(tree)
    mjcf.add_camera(tree, CAMERA, CAMERA_LOOKAT, CAMERA_DISTANCE, CAMERA_AZIMUTH_DEG, CAMERA_ELEVATION_DEG)
    return etree.tostring(tree, encoding="unicode"), assets


def _parse(path: Path) -> Any:
    # robel's files carry an <?xml ...?> line after a comment, which XML forbids.
    text = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("<?xml"))
    return etree.fromstring(text, etree.XMLParser(remove_comments=True))


def _resolve_includes(path: Path, swaps: dict[str, str | None]) -> Any:
    """Inline every <include>; `swaps` renames an included file, or drops it (None).

    MuJoCo reads an include relative to the main model's folder; robel's paths all are.
    """
    tree = _parse(path)
    for include in list(tree.iter("include")):
        name = Path(include.get("file")).name
        target = swaps.get(name, name)
        parent = include.getparent()
        if target is not None:
            included = _parse((path.parent / include.get("file")).with_name(target).resolve())
            for offset, child in enumerate(list(included)):
                parent.insert(parent.index(include) + offset, child)
        parent.remove(include)
    return tree


def _inline_assets(tree: Any, root: Path) -> dict[str, bytes]:
    """Read mesh and texture files into memory, visual meshes thinned, and name them without folders."""
    for compiler in tree.iter("compiler"):
        for attribute in ("meshdir", "texturedir"):
            compiler.attrib.pop(attribute, None)
    used = {geom.get("mesh") for geom in tree.iter("geom") if geom.get("mesh")}
    assets: dict[str, bytes] = {}
    base = root / "robel-scenes" / "dclaw"
    for element in [*tree.iter("mesh"), *tree.iter("texture")]:
        file = element.get("file")
        if file is None:
            continue
        if element.tag == "mesh" and element.get("name") not in used:
            element.getparent().remove(element)
            continue
        path = (base / file).resolve()
        element.set("file", path.name)
        content = path.read_bytes()
        # Hulls collide: thinning them would change physics.
        visual = path.suffix == ".stl" and "hull" not in path.name
        assets[path.name] = mjcf.thin_stl(content, FACES_PER_MESH) if visual else content
    return assets


def _raise_target(tree: Any) -> None:
    """robel's target lies on the floor, where the valve hides it from this camera: it goes to the prongs' height."""
    for site in tree.iter("site"):
        if site.get("name") == TARGET_MARK:
            site.set("pos", TARGET_PLACE)
            site.set("size", TARGET_SIZE)


def _plain_red_valve(tree: Any) -> None:
    for joint in tree.iter("joint"):
        if joint.get("name") == VALVE_JOINT:
            joint.set("limited", "false")
    for body in tree.iter("body"):
        if body.get("name") == "valve":
            for geom in body.iter("geom"):
                if geom.get("mesh"):
                    geom.attrib.pop("class", None)
                    geom.set("class", "station_viz")
                    geom.set("rgba", VALVE_RED)
    for site in list(tree.iter("site")):
        if site.get("name") in ("valve_mark", TARGET_MARK):
            site.getparent().remove(site)
