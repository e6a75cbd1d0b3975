"""The claw's fingers as the guard knows them are those of the simulator."""

import mujoco
import numpy as np

from vmail_core.robot import load_robot
from vmail_hardware.self_collision import SelfCollision
from vmail_sim.dclaw.model import JOINT_NAMES, claw_xml

SPEC = load_robot("dclaw")
TIPS = ("FFL12", "MFL22", "THL32")
LINK_CAPSULES = 5  # of a finger, its tip the last


def test_tips_are_where_the_simulator_has_them_and_clearance_agrees_with_its_distances():
    model = mujoco.MjModel.from_xml_string(*claw_xml(3))
    data, hand = mujoco.MjData(model), SelfCollision(SPEC.fingers, SPEC.joint_names)
    joints = [model.joint(name).qposadr[0] for name in JOINT_NAMES]
    solid = [g for g in range(model.ngeom) if model.geom_contype[g]]
    owner = {g: model.body(model.geom_bodyid[g]).name for g in solid}
    capsules = {owner[g]: g for g in solid if model.geom_type[g] == mujoco.mjtGeom.mjGEOM_CAPSULE}
    moving = [g for g in solid if owner[g][:2] in ("FF", "MF", "TH") and "base" not in owner[g]]
    pairs = [(a, b) for a in moving for b in moving if owner[a][:2] < owner[b][:2]]
    rng, errors = np.random.default_rng(0), []
    for _ in range(100):
        pose = rng.uniform(SPEC.lower, SPEC.upper)
        data.qpos[joints] = pose
        mujoco.mj_kinematics(model, data)
        palm = data.body("dClaw")
        start, end = hand.capsules(pose)
        for finger, tip in enumerate(TIPS):
            seen = palm.xmat.reshape(3, 3).T @ (data.geom_xpos[capsules[tip]] - palm.xpos)
            k = LINK_CAPSULES * (finger + 1) - 1
            assert np.linalg.norm((start[k] + end[k]) / 2 - seen) < 0.004  # robel's own angles are rounded
        true = min(mujoco.mj_geomDistance(model, data, a, b, 0.3, None) for a, b in pairs)
        errors.append(hand.clearance(pose) - true)
    # Capsules that enclose boxes are larger, and cut a corner here and there.
    assert np.max(errors) < 0.004 and -0.005 < np.median(errors) < 0.0, (np.min(errors), np.max(errors))
