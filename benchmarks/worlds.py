"""Control steps a second of each simulated world with a 64 px frame, beside the same world without pictures.

    python benchmarks/worlds.py [TASK ...]

The ratio says what pictures cost; it holds where absolute rates drift with the machine. The last column is the stock
environment with its own pictures, at its own size, where this project draws by other means.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

import vmail_sim

SMALL = 0.1  # of the range of actions


def steps_per_second(task: str, pixels: int | None, seconds: float) -> float:
    """Rate over whole episodes of small random actions, at least `seconds` long, resets included.

    With large ones a ball is dropped after a few steps, and little but resets would be measured.
    """
    env = vmail_sim.load(task, seed=0, pixels=pixels)
    rng, size = np.random.default_rng(0), env.action_spec().shape
    env.reset()
    env.step(np.zeros(size, np.float32))  # the first frame makes the GL context
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        timestep = env.reset()
        while not timestep.last():
            timestep = env.step(rng.uniform(-SMALL, SMALL, size).astype(np.float32))
            steps += 1
    return steps / (time.perf_counter() - began)


def stock_car_racing(seconds: float) -> float:
    """Gymnasium's CarRacing-v3, which draws 96 px at every frame; two frames are a control step, as in `car_racing`."""
    from gymnasium.envs.box2d.car_racing import CarRacing

    env, rng, steps = CarRacing(), np.random.default_rng(0), 0
    env.reset(seed=0)
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        action = rng.uniform((-1, 0, 0), 1, 3)
        ended = [env.step(action)[2] for _ in range(2)]
        steps += 1
        if any(ended):
            env.reset()
    return steps / (time.perf_counter() - began)


STOCK: dict[str, Callable[[float], float]] = {"car_racing": stock_car_racing}


def main() -> None:
    """Print a line a world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="of `vmail tasks` [all]")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement [5]")
    parser.add_argument("--pixels", type=int, default=64, help="side of the frame [64]")
    arguments = parser.parse_args()
    print(f"{'task':<20} {'steps/s with frame':>18} {'without':>10} {'ratio':>6} {'stock':>8}")
    for task in arguments.tasks or vmail_sim.task_names():
        with_frame = steps_per_second(task, arguments.pixels, arguments.seconds)
        without = steps_per_second(task, None, arguments.seconds)
        stock = f"{STOCK[task](arguments.seconds):.0f}" if task in STOCK else "-"
        print(f"{task:<20} {with_frame:>18.0f} {without:>10.0f} {with_frame / without:>6.2f} {stock:>8}")


if __name__ == "__main__":
    main()
