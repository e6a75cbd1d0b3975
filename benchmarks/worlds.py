"""Control steps a second of each simulated world with a frame, beside the stock world with its own pictures.

    python benchmarks/worlds.py [TASK ...] [--seconds 5] [--pixels 64] [--plain]

What is stock of each world is said in benchmarks/stock_worlds.py. Both are given the same random actions, of the whole
range except where balls would be dropped, and what a reset takes is counted in. They are played in turns on one core,
so that the ratios hold while the machine's speed drifts. Car Racing is measured at 96 px, too, the only size of the
stock one. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from stock_worlds import Playable, stock_world

import vmail_sim
from vmail_core.provenance import machine
from vmail_core.worker_pool import WorkerPool

FAMILIES = {"cheetah": "DM Control", "walker": "DM Control", "dclaw": "D'Claw", "baoding": "Baoding"}  # by first word
LEAST_STEPS, TARGET_PIXELS = {"DM Control": 430, "D'Claw": 300, "Baoding": 160}, 64  # steps/s with such a frame
LEAST_OVER_STOCK, STOCK_CAR_PIXELS = 2.0, 96
LEAST_OF_TWO = 1.8
RANGE = {"baoding": 0.1}  # of actions; with larger ones a ball is dropped after a few, and resets would be measured
TURNS = 3  # in which the seconds of a measurement are spent
COLUMNS = """\
with frame    control steps a second on one core, a picture after each, resets included
without       the same without pictures, and what share of that is left with them
stock         the stock world with its own pictures{plain}, and how many times as fast this one is
1, 2 proc.    steps a second whose pictures arrive here, played by one and by two processes, and the ratio
"""


class Row(NamedTuple):
    """What was measured of a world: steps a second."""

    task: str
    pixels: int
    with_frame: float
    without: float
    stock: float
    one: float
    two: float


class OwnWorld:
    """A world of this project, as a `Playable`."""

    def __init__(self, task: str, pixels: int | None) -> None:
        self.task = task
        self.env = vmail_sim.load(task, seed=0, pixels=pixels)

    def reset(self) -> np.ndarray | None:
        return self.env.reset().observation.get("image")

    def step(self, action: np.ndarray) -> tuple[np.ndarray | None, bool]:
        timestep = self.env.step(action)
        return timestep.observation.get("image"), timestep.last()


def random_actions(world: OwnWorld, seed: int) -> Callable[[], np.ndarray]:
    """Gives one at each call, the same ones for the same seed."""
    most, size, rng = RANGE.get(world.task, 1.0), world.env.action_spec().shape, np.random.default_rng(seed)
    return lambda: rng.uniform(-most, most, size).astype(np.float32)


@dataclasses.dataclass
class Tally:
    """Resets and steps of a world, and the seconds that they took."""

    resets: int = 0
    steps: int = 0
    reset_s: float = 0.0
    step_s: float = 0.0

    def rate(self, length: int) -> float:
        """Steps a second in episodes of that length. A slow world need not play one to its end for that."""
        return 1.0 / (self.step_s / self.steps + self.reset_s / self.resets / length)


def playing(world: Playable, draw: Callable[[], np.ndarray], tally: Tally) -> Iterator[None]:
    """Plays one episode after the other; stops after each reset and each step, when that is in the tally."""
    while True:
        began, over = time.perf_counter(), False
        world.reset()
        tally.reset_s += time.perf_counter() - began
        tally.resets += 1
        yield
        while not over:
            action, began = draw(), time.perf_counter()
            _, over = world.step(action)
            tally.step_s += time.perf_counter() - began
            tally.steps += 1
            yield


def pictures_of_episode(world: Playable, draw: Callable[[], np.ndarray]) -> list[Any]:
    """The first one, then one a step."""
    pictures, over = [world.reset()], False
    while not over:
        picture, over = world.step(draw())
        pictures.append(picture)
    return pictures


def rates_in_turns(own: OwnWorld, others: Sequence[Playable], length: int, seconds: float) -> list[float]:
    """Steps a second of each, with the same actions; `seconds` for each in all, more where it is very slow."""
    worlds = own, *others
    tallies = [Tally() for _ in worlds]
    for world in worlds:
        world.reset()  # the first frame makes the GL context
    players = [playing(world, random_actions(own, 0), tally) for world, tally in zip(worlds, tallies)]
    for player in players * TURNS:
        began = time.perf_counter()
        next(player)  # the first time a reset, which is to be followed by a step
        next(player)
        while time.perf_counter() - began < seconds / TURNS:
            next(player)
    return [tally.rate(length) for tally in tallies]


class Player:
    """A process's world."""

    def __init__(self, task: str, pixels: int) -> None:
        self._world = OwnWorld(task, pixels)

    def __call__(self, seed: int) -> np.ndarray:
        """The pictures of an episode."""
        self._world.env.reseed(seed)
        return np.stack(pictures_of_episode(self._world, random_actions(self._world, seed)))


def collected(pool: WorkerPool[int, np.ndarray], processes: int, seconds: float) -> tuple[int, float]:
    """Steps whose pictures arrive here, over at least so many seconds, and how many it took in the end."""
    begun: collections.deque[Future[np.ndarray]] = collections.deque()
    steps, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds or begun:
        # An episode more for each process: all have as many, and end together.
        if len(begun) <= processes and time.perf_counter() - began < seconds:
            begun.extend(pool.submit(seed, "an episode") for seed in range(processes))
        steps += len(begun.popleft().result()) - 1
    return steps, time.perf_counter() - began


def collected_per_second(task: str, pixels: int, seconds: float) -> list[float]:
    """Steps a second of one process and of two, in turns."""
    make, counts = functools.partial(Player, task, pixels), (1, 2)
    steps, spent = np.zeros(len(counts)), np.zeros(len(counts))
    with contextlib.ExitStack() as stack:
        pools = [stack.enter_context(WorkerPool[int, np.ndarray](make, count)) for count in counts]
        for pool, count in zip(pools, counts):
            collected(pool, count, 0.1)  # all have their world now
        for _ in range(TURNS):
            for index, (pool, count) in enumerate(zip(pools, counts)):
                more, took = collected(pool, count, seconds / TURNS)
                steps[index] += more
                spent[index] += took
    return (steps / spent).tolist()


@contextlib.contextmanager
def on_one_core() -> Iterator[None]:
    """This thread, and threads that start meanwhile."""
    usable = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(usable)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def measure(task: str, pixels: int, seconds: float, plain: bool) -> Row:
    """Everything of a task."""
    with on_one_core():
        own, blind, stock = OwnWorld(task, pixels), OwnWorld(task, None), stock_world(task, pixels, plain)
        length = len(pictures_of_episode(blind, random_actions(blind, 0))) - 1
        alone = rates_in_turns(own, (blind, stock), length, seconds)
    return Row(task, pixels, *alone, *collected_per_second(task, pixels, seconds))


def judge(rows: list[Row]) -> list[tuple[str, bool]]:
    """Each target that these rows say something of, and whether it is met."""
    judged = []
    for family, least in LEAST_STEPS.items():
        of_family = [r for r in rows if FAMILIES.get(r.task.split("_")[0]) == family and r.pixels == TARGET_PIXELS]
        if of_family:
            worst = min(of_family, key=lambda row: row.with_frame)
            text = f"{family} at least {least} steps/s with a frame of {TARGET_PIXELS} px"
            judged.append((f"{text} ({worst.task} {worst.with_frame:.0f})", worst.with_frame >= least))
    for row in rows:
        if row.task == "car_racing":
            over = row.with_frame / row.stock
            text = f"Car Racing at {row.pixels} px at least {LEAST_OVER_STOCK}x stock ({over:.1f}x)"
            judged.append((text, over >= LEAST_OVER_STOCK))
    gains = [row.two / row.one for row in rows]
    gain = float(np.exp(np.mean(np.log(gains))))  # of all: a single one drifts by a tenth and more
    text = f"two processes at least {LEAST_OF_TWO}x one (mean {gain:.2f}x, {min(gains):.2f}x to {max(gains):.2f}x)"
    return [*judged, (text, gain >= LEAST_OF_TWO)]


def main() -> int:
    """Print a line a world, and the targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help="of `vmail tasks` [all]")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement [5]")
    parser.add_argument("--pixels", type=int, default=TARGET_PIXELS, help=f"side of the frame [{TARGET_PIXELS}]")
    parser.add_argument("--plain", action="store_true", help="stock pictures without shadows and reflections")
    arguments = parser.parse_args()
    print(f"{machine()}; MUJOCO_GL={os.environ['MUJOCO_GL']}\n")
    print(COLUMNS.format(plain=", which are plain here" if arguments.plain else ""))
    head = ("task", "px", "with frame", "without", "ratio", "stock", "ratio", "1 proc.", "2 proc.", "ratio")
    print("{:<18}{:>4}{:>12}{:>9}{:>7}{:>8}{:>8}{:>9}{:>9}{:>7}".format(*head))
    rows = []
    for task in arguments.tasks or vmail_sim.task_names():
        sizes = (arguments.pixels, STOCK_CAR_PIXELS) if task == "car_racing" else (arguments.pixels,)
        for pixels in dict.fromkeys(sizes):
            rows.append(row := measure(task, pixels, arguments.seconds, arguments.plain))
            print(
                f"{task:<18}{pixels:>4}{row.with_frame:>12.0f}{row.without:>9.0f}{row.with_frame / row.without:>7.2f}"
                f"{row.stock:>8.1f}{row.with_frame / row.stock:>7.1f}x{row.one:>9.0f}{row.two:>9.0f}"
                f"{row.two / row.one:>6.2f}x",
                flush=True,
            )
    judged = judge(rows)
    for text, met in judged:
        print(f"target: {text}: {'met' if met else 'MISSED'}")
    return 0 if all(met for _, met in judged) else 1


if __name__ == "__main__":
    sys.exit(main())
