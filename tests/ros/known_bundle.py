"""A bundle whose graphs are written by hand, so that a test can compute every action that the runner must command."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx

from vmail_core.deploy.bundle import Bundle, Sizes, building, load_bundle, seal
from vmail_core.robot import RobotSpec

SIZES = Sizes(image=16, embed=1, deter=1, stoch=10, action=9)

GRAPHS = {
    "encoder": """(uint8[1,16,16,3] image) => (float[1,1] embed) {
        pixels = Cast<to = 1>(image)
        axes = Constant<value_ints = [1, 2, 3]>()
        mean = ReduceMean<keepdims = 0>(pixels, axes)
        white = Constant<value_float = 255.0>()
        level = Div(mean, white)
        shape = Constant<value_ints = [1, 1]>()
        embed = Reshape(level, shape)
    }""",
    "filter": """(float[1,1] deter, float[1,10] stoch, float[1,9] action, float[1,1] embed)
            => (float[1,1] next_deter, float[1,10] next_stoch) {
        one = Constant<value_float = 1.0>()
        next_deter = Add(deter, one)
        next_stoch = Concat<axis = 1>(action, embed)
    }""",
    # The logarithm of a negative number is NaN, and so is NaN times zero.
    "policy": """(float[1,1] deter, float[1,10] stoch) => (float[1,9] action) {
        half = Constant<value_float = 0.5>()
        rate = Constant<value_float = 0.02>()
        light = Constant<value_float = 0.3>()
        zero = Constant<value_float = 0.0>()
        last = Constant<value_float = FINITE_STEPS>()
        sizes = Constant<value_ints = [9, 1]>()
        taken, level = Split<axis = 1>(stoch, sizes)
        habit = Mul(taken, half)
        drift = Mul(deter, rate)
        seen = Mul(level, light)
        left = Sub(last, deter)
        alarm = Log(left)
        nothing = Mul(alarm, zero)
        moved = Add(habit, drift)
        chosen = Add(moved, seen)
        action = Add(chosen, nothing)
    }""",
    "decoder": """(float[1,1] deter, float[1,10] stoch) => (uint8[1,16,16,3] image) {
        shape = Constant<value_ints = [1, 16, 16, 3]>()
        grey = Cast<to = 2>(deter)
        image = Expand(grey, shape)
    }""",
    "discriminator": """(float[1,1] deter, float[1,10] stoch, float[1,9] action) => (float[1,1] logit) {
        logit = Identity(deter)
    }""",
}


# Of each joint another share, so that joints in the wrong order show.
JOINT_WEIGHTS = np.linspace(0.1, 0.9, 9) / 2.0
ENCODER_WITH_JOINTS = """(uint8[1,16,16,3] image, float[1,9] joint_positions) => (float[1,1] embed) {
        pixels = Cast<to = 1>(image)
        axes = Constant<value_ints = [1, 2, 3]>()
        mean = ReduceMean<keepdims = 0>(pixels, axes)
        white = Constant<value_float = 255.0>()
        level = Div(mean, white)
        shape = Constant<value_ints = [1, 1]>()
        seen = Reshape(level, shape)
        weights = Constant<value_floats = [WEIGHTS]>()
        shares = Mul(joint_positions, weights)
        last = Constant<value_ints = [1]>()
        felt = ReduceSum<keepdims = 1>(shares, last)
        embed = Add(seen, felt)
    }""".replace("WEIGHTS", ", ".join(map(str, JOINT_WEIGHTS)))


def known_action(
    step: int, previous_action: np.ndarray, image: np.ndarray, joints: np.ndarray | None = None
) -> np.ndarray:
    """The action (9,) of this policy at a step counted from 1; `joints` (9,) rad where it observes them."""
    felt = 0.0 if joints is None else JOINT_WEIGHTS @ joints
    return 0.5 * previous_action + 0.02 * step + 0.3 * (image.mean() / 255.0 + felt)


def write_known_bundle(out: Path, robot: RobotSpec, finite_steps: int = 10**6, proprioception: bool = False) -> Bundle:
    """A policy that follows `known_action`, and whose action is NaN after `finite_steps` steps."""
    sizes = dataclasses.replace(SIZES, joints=9) if proprioception else SIZES
    with building(out) as folder:
        for name, text in (GRAPHS | ({"encoder": ENCODER_WITH_JOINTS} if proprioception else {})).items():
            text = text.replace("FINITE_STEPS", f"{finite_steps + 0.5}")
            model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 20]> {name} {text}')
            onnx.save(model, folder / f"{name}.onnx")
        training = {"config": {}, "demos": [], "git_commit": "none", "metrics": {}}
        seal(Bundle(folder, sizes, robot, training, certificate={"passed": True}, digest=""))
    return load_bundle(out)
