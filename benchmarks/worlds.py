"""Control steps a second of each simulated world with a 64 px frame, beside the same world without pictures.

    python benchmarks/worlds.py

The ratio says what pictures cost; it holds where absolute rates drift with the machine.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import vmail_sim


def steps_per_second(task: str, pixels: int | None, seconds: float) -> float:
    """Rate over whole episodes of random actions, at least `seconds` long, resets included."""
    env = vmail_sim.load(task, seed=0, pixels=pixels)
    rng, size = np.random.default_rng(0), env.action_spec().shape
    env.reset()
    env.step(np.zeros(size, np.float32))  # the first frame makes the GL context
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        timestep = env.reset()
        while not timestep.last():
            timestep = env.step(rng.uniform(-1, 1, size).astype(np.float32))
            steps += 1
    return steps / (time.perf_counter() - began)


def main() -> None:
    """Print a line a world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement [5]")
    parser.add_argument("--pixels", type=int, default=64, help="side of the frame [64]")
    arguments = parser.parse_args()
    print(f"{'task':<20} {'steps/s with frame':>18} {'without':>10} {'ratio':>6}")
    for task in vmail_sim.task_names():
        with_frame = steps_per_second(task, arguments.pixels, arguments.seconds)
        without = steps_per_second(task, None, arguments.seconds)
        print(f"{task:<20} {with_frame:>18.0f} {without:>10.0f} {with_frame / without:>6.2f}")


if __name__ == "__main__":
    main()
