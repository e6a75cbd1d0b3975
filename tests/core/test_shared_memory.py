"""Answers with large arrays between processes."""

from __future__ import annotations

import multiprocessing
import os
import threading

import numpy as np
import pytest

from vmail_core import shared_memory
from vmail_core.shared_memory import LARGE
from vmail_core.worker_pool import WorkerPool

ROWS = 40


def frames(seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, list[float]]]:
    """Pictures, a few numbers and notes, as an episode has them."""
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (ROWS, 64, 64, 3), np.uint8), random.normal(size=5), {"score": [1.5, float(seed)]}


class Studio:
    """What answers in a worker."""

    def __call__(self, seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, list[float]]]:
        return frames(seed)


def test_arrays_of_workers_arrive_as_they_were_and_may_be_kept_and_written() -> None:
    with WorkerPool[int, tuple[np.ndarray, ...]](Studio, 2) as pool:
        answers = [pool.submit(seed, f"seed {seed}") for seed in range(6)]
        for seed, answer in enumerate(answers):
            for found, made in zip(answer.result()[:2], frames(seed)[:2], strict=True):
                assert found.dtype == made.dtype and np.array_equal(found, made)
            assert answer.result()[2] == frames(seed)[2]
    pictures = answers[3].result()[0]
    pictures[0] = 7
    assert (pictures[0] == 7).all() and np.array_equal(pictures[1:], frames(3)[0][1:])


@pytest.mark.parametrize("count", [0, 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 5])
def test_arrays_of_every_size_arrive(count: int) -> None:
    near, far = multiprocessing.Pipe()
    descriptors = len(os.listdir("/proc/self/fd"))
    sent = [np.arange(count, dtype=np.uint8), np.asfortranarray(np.ones((3, count + 1))), "and words"]
    sending = threading.Thread(target=shared_memory.send, args=(far, sent))
    sending.start()
    received = shared_memory.receive(near)
    sending.join()
    assert all(np.array_equal(a, b) for a, b in zip(received[:2], sent[:2], strict=True)) and received[2] == sent[2]
    assert len(os.listdir("/proc/self/fd")) == descriptors, "descriptors are closed"


def test_a_sender_that_is_gone_is_an_end_of_file() -> None:
    near, far = multiprocessing.Pipe()
    far.send((b"", [5]))  # and dies before it sends the memory itself
    far.close()
    with pytest.raises((EOFError, OSError)):
        shared_memory.receive(near)
