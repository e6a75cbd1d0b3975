"""How long one policy step takes: encode, filter and act with ONNX Runtime on one core.

    python benchmarks/policy_step.py [--image-size 64] [--depth 32] [--steps 2000]

Beside it, in the same process: an ONNX graph that does nothing (what calling onnxruntime three times costs) and the
same networks in eager torch. Compare ratios between machines, not milliseconds. Exit code 1 above the target.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import torch
from random_bundle import random_learner, write_random_bundle

from vmail_core.deploy.runtime import PolicyRuntime, open_session
from vmail_core.learners.acting import FilteringPolicy

TARGET_P50_MS = 3.0
NO_OP = '<ir_version: 10, opset_import: ["": 20]> no_op (float[1,9] x) => (float[1,9] y) { y = Identity(x) }'


def percentiles(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """p50 and p99 in ms of a call, after a warm-up."""
    for _ in range(repeats // 10):
        call()
    times = np.empty(repeats)
    for i in range(repeats):
        began = time.perf_counter()
        call()
        times[i] = time.perf_counter() - began
    p50, p99 = np.percentile(1e3 * times, [50, 99])
    return float(p50), float(p99)


def no_op(folder: Path) -> Callable[[], object]:
    """Three calls of a graph that only hands its input on."""
    path = folder / "no_op.onnx"
    onnx.save(onnx.parser.parse_model(NO_OP), path)
    session, x = open_session(path), np.zeros((1, 9), np.float32)
    return lambda: [session.run(None, {"x": x}) for _ in range(3)]


def main() -> int:
    """Measure, print a table, judge p50."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()
    learner = random_learner(arguments.image_size, arguments.depth)
    side = arguments.image_size
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    action = np.zeros(9, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        runtime = PolicyRuntime(write_random_bundle(learner, Path(folder) / "bundle"))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        torch.set_num_threads(1)
        policy = FilteringPolicy(learner.model, learner.actor)
        rows = {
            "encode, filter, act (ONNX Runtime)": percentiles(lambda: runtime.step(image, action), arguments.steps),
            "three calls that do nothing": percentiles(no_op(Path(folder)), arguments.steps),
            "encode, filter, act (eager torch)": percentiles(lambda: policy.act(image, action), arguments.steps // 4),
            "likeness": percentiles(runtime.likeness, arguments.steps // 4),
            "preview": percentiles(runtime.preview, arguments.steps // 4),
        }
    p50 = rows["encode, filter, act (ONNX Runtime)"][0]
    print(f"{side} px, depth {arguments.depth}, one core, {arguments.steps} steps")
    print(f"{'':36} {'p50 ms':>8} {'p99 ms':>8} {'ratio of p50':>13}")
    for name, (median, tail) in rows.items():
        print(f"{name:36} {median:8.3f} {tail:8.3f} {median / p50:12.2f}x")
    verdict = "met" if p50 <= TARGET_P50_MS else "MISSED"
    print(f"target: p50 at most {TARGET_P50_MS} ms: {verdict}")
    return 0 if p50 <= TARGET_P50_MS else 1


if __name__ == "__main__":
    sys.exit(main())
