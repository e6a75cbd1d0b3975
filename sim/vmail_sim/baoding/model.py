"""Assembles the Shadow hand with two Baoding balls from the files that the `gymnasium-robotics` package installs.

Nothing of that package is copied: the Adroit hand's XML and meshes (Vikash Kumar, Apache-2.0) are read from where pip
put them. Around them stands PDDM's scene (Nagabandi et al. 2019): where the hand is mounted, how it starts, the balls,
and the contact and servo settings that PDDM gave the same hand.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree

from vmail_sim import mjcf

JOINT_NAMES = (
    *("WRJ1", "WRJ0"),
    *("FFJ3", "FFJ2", "FFJ1", "FFJ0"),
    *("MFJ3", "MFJ2", "MFJ1", "MFJ0"),
    *("RFJ3", "RFJ2", "RFJ1", "RFJ0"),
    *("LFJ4", "LFJ3", "LFJ2", "LFJ1", "LFJ0"),
    *("THJ4", "THJ3", "THJ2", "THJ1", "THJ0"),
)
BALLS = ("ball1", "ball2")
MARKERS = ("target1", "target2")
CAMERA = "vmail"

TIMESTEP = 0.0025
BALL_RADIUS, BALL_MASS = 0.028, 0.043
BALL_COLOURS = ("1 0.8 0.2 1", "0.85 0.3 0.35 1")
HAND_COLOUR = "0.25 0.27 0.3 1"
FLOOR_COLOUR = "0.45 0.5 0.55 1"
WRIST_KP = "5"
FRICTION = "1 0.005 0.001"  # sliding, torsional, rolling

# PDDM's start: the joints in JOINT_NAMES order, rad, and the centres of the balls, m.
START_JOINTS = np.array(
    [0.0126, -0.398]
    + [0.379, 0.0564, 1.167, 0.0407]
    + [0.265, -0.136, 1.144, 0.045]
    + [0.074, 0.139, 1.112, 0.234]
    + [-0.022, -0.368, 0.0, 1.25, 0.152]
    + [-0.021, 0.374, 0.0939, -0.126, -0.536]
)
START_BALLS = np.array([[-0.029, -0.001, 0.19], [0.03, 0.01, 0.19]])

# Where PDDM has the wrist is -0.144 m along the forearm's axis; this package's wrist is 0.396 m from the elbow.
FOREARM_POSITION = "0 -0.54 0.19"
FOREARM_EULER = "-1.57 0 0"

# Angles of V-MAIL's published environment; it leaves the point that is looked at to the simulator.
CAMERA_LOOKAT = (0.0, -0.01, 0.165)
CAMERA_DISTANCE = 0.3
CAMERA_AZIMUTH_DEG = -67.5
CAMERA_ELEVATION_DEG = -42.5

FACES_PER_MESH = 250


def adroit_folder() -> Path:
    """Folder of the Adroit hand's XML in the installed gymnasium-robotics package.

    Raises:
        FileNotFoundError: it is not installed; the message says how to install it.
    """
    package = mjcf.package_folder(
        "gymnasium_robotics",
        "the Shadow hand's assets are not installed; run: pip install --no-deps gymnasium-robotics==1.4.2",
    )
    return package / "envs" / "assets" / "adroit_hand"


@functools.cache
def hand_xml() -> tuple[str, dict[str, bytes]]:
    """The scene of the hand with both balls.

    Returns:
        MJCF text and the assets it names, ready for `mujoco.Physics.from_xml_string`.
    """
    folder = adroit_folder()
    tree = etree.Element("mujoco", model="baoding")
    tree.extend(_parse(folder / "adroit_assets.xml"))
    world = etree.SubElement(tree, "worldbody")
    etree.SubElement(world, "light", pos="0 1 4", dir="0 -1 -4", diffuse="0.8 0.8 0.8", specular="0.1 0.1 0.1")
    etree.SubElement(world, "geom", name="floor", type="plane", size="1 1 0.1", rgba=FLOOR_COLOUR)
    forearm = etree.SubElement(world, "body", name="forearm", pos=FOREARM_POSITION, euler=FOREARM_EULER)
    etree.SubElement(
        forearm, "geom", {"class": "D_Vizual"}, pos="0 -0.01 0.181", euler="0 0 -1.57", mesh="forearm_simple"
    )
    etree.SubElement(forearm, "geom", {"class": "DC_Hand"}, type="capsule", size="0.05 0.033", pos="0 0 0.29")
    forearm.extend(_parse(folder / "adroit_model.xml"))
    _settings(tree)
    _add_balls(tree, world)
    mjcf.light_for_software_rendering(tree)
    mjcf.add_camera(tree, CAMERA, CAMERA_LOOKAT, CAMERA_DISTANCE, CAMERA_AZIMUTH_DEG, CAMERA_ELEVATION_DEG)
    return etree.tostring(tree, encoding="unicode"), _inline_meshes(tree, folder / "resources" / "meshes")


def _parse(path: Path) -> Any:
    return etree.parse(str(path), etree.XMLParser(remove_comments=True)).getroot()


def _settings(tree: Any) -> None:
    """PDDM's settings of integrator, friction and wrist, in place of those that this package gives the hand."""
    for option in tree.iter("option"):
        option.attrib.clear()
        option.set("timestep", str(TIMESTEP))
        option.set("iterations", "20")
    for size in tree.iter("size"):
        for name in ("njmax", "nconmax", "nstack"):  # sizes of old; MuJoCo finds them itself
            size.attrib.pop(name, None)
    for large in tree.iter("global"):
        large.attrib.pop("offwidth")
        large.attrib.pop("offheight")
    (geom,) = tree.xpath("./default/geom")
    geom.set("friction", FRICTION)
    for actuator in tree.iter("general"):
        if actuator.get("joint") in ("WRJ1", "WRJ0"):
            actuator.set("gainprm", f"{WRIST_KP} 0 0")
            actuator.set("biasprm", f"0 -{WRIST_KP} 0")
    for material in list(tree.iter("material")):
        if material.get("name") not in ("MatColl", "MatViz"):
            material.getparent().remove(material)
        elif material.get("name") == "MatViz":
            material.set("rgba", HAND_COLOUR)
    for unused in [*tree.iter("texture"), *tree.iter("sensor")]:
        unused.getparent().remove(unused)


def _add_balls(tree: Any, world: Any) -> None:
    """The balls, and a small marker of its colour above the palm for where each should be, as PDDM draws them."""
    (palm,) = tree.xpath(".//body[@name='palm']")
    for name, marker, colour, position in zip(BALLS, MARKERS, BALL_COLOURS, START_BALLS, strict=True):
        body = etree.SubElement(world, "body", name=name, pos=" ".join(map(str, position)))
        etree.SubElement(body, "freejoint", name=name)
        geom = etree.SubElement(body, "geom", name=name, type="sphere", size=str(BALL_RADIUS), mass=str(BALL_MASS))
        geom.set("condim", "4")
        geom.set("rgba", colour)
        # Not at the palm's origin, where MuJoCo would take its frame for the palm's and ignore that it is moved.
        etree.SubElement(palm, "site", name=marker, size="0.007", rgba=colour, pos="0 -0.07 0")
    # mujoco.rollout reports sensors, not frames of bodies.
    sensors = etree.SubElement(tree, "sensor")
    for sensor in ("framepos", "framexaxis", "frameyaxis", "framezaxis"):
        etree.SubElement(sensors, sensor, name=f"palm_{sensor}", objtype="xbody", objname="palm")


def _inline_meshes(tree: Any, folder: Path) -> dict[str, bytes]:
    """Read the meshes into memory, thinned: none of them collides."""
    for compiler in tree.iter("compiler"):
        compiler.attrib.pop("meshdir")
        compiler.attrib.pop("texturedir")
    return {
        mesh.get("file"): mjcf.thin_stl((folder / mesh.get("file")).read_bytes(), FACES_PER_MESH)
        for mesh in tree.iter("mesh")
        if mesh.get("file")
    }
