"""Updates a second of the learner, beside a straightforward eager implementation and the floor of its arithmetic.

    python benchmarks/learner.py [--preset fast/dclaw_cpu] [--threads 1] [--device cpu] [--precision float32]
                                 [--compile] [--growth]

All are timed in turns, so that the ratios hold while the machine's speed drifts. The floor is the time
that the update's own convolutions and matrix products take alone, with as many of torch's threads (--threads) as the
learner's have. Where policy and D learn beside the model (train.overlap), a turn is as many updates as a run makes
between two waits for both, and the learner is timed with one after the other, too. It is judged by what else takes two
cores then: the floor with every other operation in a second thread, and the eager one with one or two of torch's
threads (two in a process of its own), whichever is faster. The eager one decodes every picture of a batch; where the
preset decodes fewer, the learner is timed with all of them, too: that much of the ratio is code. With --compile there
is one more, the learner with an encoder and a decoder that torch.compile made. Below that: where the time goes with one
after the other, peak memory, and with --growth how both grow with batch, length, picture and model size (each in its
own process).
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as `vmail` does, before torch is there

import numpy as np
import torch
from eager_learner import EagerVMAIL
from floor import (
    PEAKS,
    Operation,
    bytes_moved,
    floating_point_operations,
    heavy_operations,
    launched_as_one,
    repeat,
    seconds,
)

from vmail_core.episodes.replay import Chunks, Replay
from vmail_core.learners.config import Config, load_config
from vmail_core.learners.device import arrays_on, choose_device
from vmail_core.learners.memory import keep_freed_memory
from vmail_core.learners.vmail import VMAIL

ACTION_SIZE = JOINTS = 9
EPISODES = 4  # of noise in replay
MOST_IN_A_TURN = 10  # updates
EAGER = "eager"
TARGET_SPEEDUP, TARGET_OVER_FLOOR = 2.0, 1.5
GROWTH: dict[str, tuple[Any, ...]] = {
    "train.batch": (8, 16, 32, 64),
    "train.length": (10, 20, 50),
    "model.image_size": (32, 64, 128),
    "model.deter": (200, 400, 800),
}


class Noise:
    """Replay of random episodes, which lives where the trainer's does: on a GPU in its memory."""

    def __init__(self, config: Config, device: torch.device) -> None:
        """A few short episodes: noise is as good anywhere."""
        self._train, self._rng = config.train, np.random.default_rng(0)
        self._replay = Replay(self._train.length, arrays=arrays_on(device))
        self.demo_count = max(1, round(self._train.batch * (self._train.demo_fraction or 0.5)))
        size, rows = config.model.image_size, 2 * self._train.length
        for _ in range(EPISODES):
            image = self._rng.integers(0, 256, (rows, size, size, 3), np.uint8)
            action, joints = (self._rng.uniform(-1, 1, (rows, n)).astype(np.float32) for n in (ACTION_SIZE, JOINTS))
            self._replay.add(Chunks(image, action, joints if config.model.joint_scale else None))

    def draw(self) -> dict[str, Any]:
        """Arguments of `update`, as the trainer draws them."""
        sample, count = self._replay.sample, self._train.expert_batch
        expert = {"expert": sample(count, self._rng)} if count else {}
        return sample(self._train.batch, self._rng)._asdict() | expert | {"demo_count": self.demo_count}


class Learning:
    """Updates in the trainer's way: a GPU learns while the next batch is drawn.

    Attributes:
        draw: gives the next batch.
        updates: that a call makes, until it waits for all of them.
    """

    def __init__(self, learner: VMAIL, draw: Callable[[], dict[str, Any]]) -> None:
        """`learner` learns from what `draw` gives, arguments of its `update`."""
        train = learner.config.train
        self._learner, self.draw, self._batch = learner, draw, draw()
        self.updates = min(MOST_IN_A_TURN, train.updates_per_episode) if train.overlap else 1

    def __call__(self) -> None:
        for _ in range(self.updates):
            report = self._learner.begin_update(**self._batch)
            self._batch = self.draw()
            self._learner.check_gradients(report)
        self._learner.check_gradients(self._learner.finish_update())


def median_ms(times: list[float]) -> float:
    """Median in ms."""
    return 1e3 * float(np.median(times))


def in_turns(calls: dict[str, Callable[[], object]], rounds: int, device: torch.device) -> dict[str, float]:
    """Median ms of an update of each call, taken in turns."""
    for call in calls.values():
        seconds(call, 2, device)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            updates = call.updates if isinstance(call, Learning) else 1
            times[name] += [took / updates for took in seconds(call, 1, device)]
    return {name: median_ms(found) for name, found in times.items()}


@contextmanager
def parts_timed(learner: VMAIL, learning: Learning, device: torch.device) -> Iterator[dict[str, float]]:
    """Seconds in each part of the updates made inside; what lies in a part that is listed too is not counted twice."""
    spent: dict[str, float] = collections.defaultdict(float)
    stack: list[float] = []

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            stack.append(0.0)
            result: list[Any] = []
            (took,) = seconds(lambda: result.append(call(*args, **kwargs)), 1, device)
            spent[name] += took - stack.pop()
            if stack:
                stack[-1] += took
            return result[0]

        return wrapped

    wrapped = {
        "learn_model": "model (Eq. 7)",
        "imagine": "imagination",
        "_learn_discriminator": "discriminator (Eq. 6)",
        "_learn_policy": "policy and critic (Eq. 8)",
        "infer": "beliefs of more demonstrations",
        "begin_update": "the rest",
    }
    for name, label in wrapped.items():
        setattr(learner, name, timed(label, getattr(learner, name)))
    draw, learning.draw = learning.draw, timed("data", learning.draw)
    steps = {optimiser: optimiser.step for optimiser in learner.optimisers.values()}
    for optimiser, step in steps.items():
        optimiser.step = timed("optimisers", step)  # type: ignore[method-assign]
    try:
        yield spent
    finally:
        for name in wrapped:
            delattr(learner, name)
        learning.draw = draw
        for optimiser, step in steps.items():
            optimiser.step = step  # type: ignore[method-assign]


def print_peak(name: str, flops: float, moved: int, took_ms: float) -> None:
    """What share of the GPU's peak the learner reaches, and the time that arithmetic and memory take at the least."""
    known = next((peaks for key, peaks in PEAKS.items() if key in name), None)
    if known is None:
        print(f"{name}: its peak is not in benchmarks/floor.py")
        return
    bfloat16, tf32, bandwidth = known
    reached = 1e3 * flops / took_ms
    print(f"{name}: {reached / bfloat16:.1%} of its peak in bfloat16, {reached / tf32:.1%} of that in TF32")
    least = 1e3 * max(flops / bfloat16, moved / bandwidth)
    print(
        f"floor by data sheet: {1e3 * flops / bfloat16:.2f} ms of arithmetic, {1e3 * moved / bandwidth:.2f} ms of "
        f"memory ({moved / 2**30:.2f} GiB); the learner takes {took_ms / least:.1f}x the greater"
    )


def peak_mib(device: torch.device) -> float:
    """Peak memory of this process so far, on the device that learns."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    # Not getrusage: what that says of a process that was just started includes the one that started it.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**10


def measure(config: Config, device: torch.device, rounds: int) -> dict[str, float]:
    """Median ms of the learner's update and peak memory, for --growth."""
    learner = VMAIL(config, ACTION_SIZE, JOINTS, str(device))
    times = in_turns({"update": Learning(learner, Noise(config, device).draw)}, rounds, device)
    return {"ms": times["update"], "mib": peak_mib(device)}


def print_growth(arguments: argparse.Namespace) -> None:
    """A line a value; everything else as in the preset."""
    print(f"\n{'setting':<18} {'value':>6} {'ms/update':>10} {'peak MiB':>9}")
    for name, values in GROWTH.items():
        for value in values:
            command = [sys.executable, __file__, "--preset", arguments.preset, "--threads", str(arguments.threads)]
            command += ["--device", arguments.device, "--updates", "5", "--one", f"{name}={value}"]
            found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"{name:<18} {value:>6} {found['ms']:>10.1f} {found['mib']:>9.0f}", flush=True)


def in_two_threads(operations: list[Operation]) -> Callable[[], object]:
    """A call that repeats half of them in another thread."""
    other = ThreadPoolExecutor(1)

    def call() -> None:
        half = other.submit(repeat, operations[1::2])
        repeat(operations[::2])
        half.result()

    return call


class EagerInTwoThreads:
    """A call that updates the eager one in a process of its own, where torch's threads wait as they like best: awake.

    It is stopped between the calls, for its threads would keep a core busy with waiting.
    """

    def __init__(self, preset: str, precision: str) -> None:
        """Start it, and wait until it is there."""
        command = [sys.executable, __file__, "--preset", preset, "--precision", precision, "--threads", "2"]
        command += ["--one", EAGER]
        waiting = {**os.environ, "OMP_WAIT_POLICY": "ACTIVE"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=waiting)
        self._wait()

    def __call__(self) -> None:
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self._wait()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the eager implementation in a process of its own has ended; see above")
        self._process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def update_when_asked(config: Config, device: torch.device) -> None:
    """What that process does: an update for each line that it reads."""
    eager, noise = EagerVMAIL(config, ACTION_SIZE, str(device)), Noise(config, device)
    print("ready", flush=True)
    for _ in sys.stdin:
        eager.update(**noise.draw())
        print("done", flush=True)


def compiled_learner(config: Config, device: torch.device) -> VMAIL:
    """The learner with the parts compiled that are free of loops and of second derivatives, and large."""
    learner = VMAIL(config, ACTION_SIZE, JOINTS, str(device))
    for part in (learner.model.encoder, learner.model.decoder):
        part.compile(dynamic=False)
    return learner


def compare(arguments: argparse.Namespace, config: Config, device: torch.device) -> int:
    """Print the comparison; 1 when a target is missed."""
    in_order = dataclasses.replace(config, train=dataclasses.replace(config.train, overlap=False))
    learner = VMAIL(in_order, ACTION_SIZE, JOINTS, str(device))
    eager = EagerVMAIL(config, ACTION_SIZE, str(device))
    noise = Noise(config, device)
    update = Learning(learner, noise.draw)
    operations, eager_of_two = heavy_operations(update), None
    calls: dict[str, Callable[[], object]] = {
        "learner": update,
        "eager": lambda: eager.update(**noise.draw()),
        "floor": launched_as_one(lambda: repeat(operations), device),
    }
    if config.train.overlap and device.type == "cpu":
        calls |= {"in order": update, "learner": Learning(VMAIL(config, ACTION_SIZE, JOINTS, str(device)), noise.draw)}
        calls["floor of two"] = in_two_threads(operations)
        calls["eager of two"] = eager_of_two = EagerInTwoThreads(arguments.preset, arguments.precision)
    if config.model.decode_fraction < 1.0:
        every = dataclasses.replace(config, model=dataclasses.replace(config.model, decode_fraction=1.0))
        calls["decoding"] = Learning(VMAIL(every, ACTION_SIZE, JOINTS, str(device)), noise.draw)
    if arguments.compile:
        calls["compiled"] = Learning(compiled_learner(config, device), noise.draw)
    try:
        times = in_turns(calls, arguments.updates, device)
    finally:
        if eager_of_two is not None:
            eager_of_two.close()
    graphs, learner._graphs = learner._graphs, None  # a captured update has no parts to time
    with parts_timed(learner, update, device) as spent:
        for _ in range(arguments.updates):
            update()
    learner._graphs = graphs
    total, flops = sum(spent.values()), floating_point_operations(operations)
    precision = f"{config.train.precision}{' (TF32)' * (device.type == 'cuda' and config.train.precision == 'float32')}"
    print(f"{arguments.preset}, {device}, {precision}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':<44} {'ms/update':>10} {'updates/s':>10} {'ratio':>7}")
    for name, label in (
        ("learner", "learner"),
        ("in order", "learner, one part after the other"),
        ("eager", "straightforward eager implementation"),
        ("eager of two", "the same, in two of torch's threads"),
        ("decoding", "learner that decodes every picture, too"),
        ("compiled", "learner with compiled encoder and decoder"),
        ("floor", "convolutions and matrix products alone"),
        ("floor of two", "the same, every other one in a second thread"),
    ):
        if name not in times:
            continue
        print(f"{label:<44} {times[name]:>10.1f} {1e3 / times[name]:>10.2f} {times[name] / times['learner']:>7.2f}")
    print(f"arithmetic: {flops / 1e9:.2f} GFLOP an update, {flops / times['learner'] / 1e6:.1f} GFLOP/s")
    if device.type == "cuda":
        print_peak(torch.cuda.get_device_name(device), flops, bytes_moved(operations), times["learner"])
    if graphs is not None:
        print("parts, launched one by one:")
    for label, value in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"  {label:<30} {value / total:>5.0%} {1e3 * value / arguments.updates:>8.1f} ms")
    print(f"peak memory with all of these: {peak_mib(device):.0f} MiB")
    other, floor = min(times["eager"], times.get("eager of two", np.inf)), times.get("floor of two", times["floor"])
    speedup, over = other / times["learner"], times["learner"] / floor
    if "decoding" in times:
        print(f"with every picture decoded on both sides: {other / times['decoding']:.2f}x the eager one")
    met = speedup >= TARGET_SPEEDUP and over <= TARGET_OVER_FLOOR
    wanted = f"{TARGET_SPEEDUP}x the eager one ({speedup:.2f}x), at most {TARGET_OVER_FLOOR}x the floor ({over:.2f}x)"
    print(f"target: {wanted}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


def main() -> int:
    """Compare, or measure one setting for the growth table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="fast/dclaw_cpu")
    parser.add_argument("--threads", type=int, help="of torch [the preset's train.threads, or 2]")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="float32", help="train.precision: float32 (TF32 on a GPU) or bfloat16")
    parser.add_argument("--updates", type=int, default=20, help="rounds of each measurement [20]")
    parser.add_argument("--compile", action="store_true", help="also the learner with compiled pictures")
    parser.add_argument("--growth", action="store_true", help="also how time and memory grow")
    parser.add_argument("--one", metavar="NAME=VALUE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    keep_freed_memory()  # as `vmail train` does
    arguments.threads = arguments.threads or load_config(arguments.preset).train.threads or 2
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    if arguments.one == EAGER:
        update_when_asked(load_config(arguments.preset, {"train.precision": arguments.precision}), device)
        return 0
    if arguments.one:
        name, _, value = arguments.one.partition("=")
        print(json.dumps(measure(load_config(arguments.preset, {name: int(value)}), device, arguments.updates)))
        return 0
    code = compare(arguments, load_config(arguments.preset, {"train.precision": arguments.precision}), device)
    if arguments.growth:
        print_growth(arguments)
    return code


if __name__ == "__main__":
    sys.exit(main())
