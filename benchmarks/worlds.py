"""Control steps a second of each simulated world with a 64 px frame, beside the same world without pictures.

    python benchmarks/worlds.py [TASK ...]

The ratio says what pictures cost; it holds where absolute rates drift with the machine. "Stock" is the stock
environment with its own pictures, at its own size, where this project draws by other means. The last columns are
episodes that one and two processes play and hand over, pictures included.
"""

from __future__ import annotations

import argparse
import collections
import functools
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np

import vmail_sim
from vmail_core.worker_pool import WorkerPool

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


class Player:
    """A process's world."""

    def __init__(self, task: str, pixels: int) -> None:
        self._env = vmail_sim.load(task, seed=0, pixels=pixels)

    def __call__(self, seed: int) -> np.ndarray:
        """The pictures of an episode of small random actions."""
        rng, size = np.random.default_rng(seed), self._env.action_spec().shape
        self._env.reseed(seed)
        timestep = self._env.reset()
        pictures = [timestep.observation["image"]]
        while not timestep.last():
            timestep = self._env.step(rng.uniform(-SMALL, SMALL, size).astype(np.float32))
            pictures.append(timestep.observation["image"])
        return np.stack(pictures)


def collected_per_second(task: str, pixels: int, seconds: float, processes: int) -> float:
    """Control steps a second whose pictures arrive here, played by so many processes, over at least `seconds`."""
    begun: collections.deque[Future[np.ndarray]] = collections.deque()
    with WorkerPool[int, np.ndarray](functools.partial(Player, task, pixels), processes) as pool:
        for future in [pool.submit(seed, task) for seed in range(processes)]:
            future.result()  # all have their world now
        steps, seed, began = 0, processes, time.perf_counter()
        while time.perf_counter() - began < seconds or begun:
            while len(begun) < 2 * processes and time.perf_counter() - began < seconds:
                begun.append(pool.submit(seed, task))
                seed += 1
            steps += len(begun.popleft().result()) - 1
        return steps / (time.perf_counter() - began)


STOCK: dict[str, Callable[[float], float]] = {"car_racing": stock_car_racing}


def main() -> None:
    """Print a line a world."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="of `vmail tasks` [all]")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement [5]")
    parser.add_argument("--pixels", type=int, default=64, help="side of the frame [64]")
    arguments = parser.parse_args()
    head = ("task", "steps/s with frame", "without", "ratio", "stock", "1 process", "2 processes", "ratio")
    print("{:<18}{:>20}{:>9}{:>7}{:>7}{:>11}{:>13}{:>7}".format(*head))
    for task in arguments.tasks or vmail_sim.task_names():
        with_frame = steps_per_second(task, arguments.pixels, arguments.seconds)
        without = steps_per_second(task, None, arguments.seconds)
        stock = f"{STOCK[task](arguments.seconds):.0f}" if task in STOCK else "-"
        one, two = (collected_per_second(task, arguments.pixels, arguments.seconds, count) for count in (1, 2))
        print(
            f"{task:<18}{with_frame:>20.0f}{without:>9.0f}{with_frame / without:>7.2f}{stock:>7}"
            f"{one:>11.0f}{two:>13.0f}{two / one:>7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
