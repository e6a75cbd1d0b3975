"""Questions are answered whatever becomes of the processes that are asked."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from vmail_core.worker_pool import ATTEMPTS, WorkerPool, WorkerPoolError


class Squares:
    """Answers with squares; a number's file says how many more times it ends the process, or raises."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, number: int) -> tuple[int, int]:
        troubles = self._folder / str(number)
        if troubles.exists() and (left := troubles.read_text().split()):
            troubles.write_text(" ".join(left[1:]))
            if left[0] == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            raise ValueError(f"{number} is odd")
        return number**2, os.getpid()


@pytest.fixture
def pool(tmp_path: Path) -> WorkerPool[int, tuple[int, int]]:
    with WorkerPool[int, tuple[int, int]](functools.partial(Squares, tmp_path), 1) as found:
        yield found
    assert not multiprocessing.active_children()


def test_a_process_answers_time_after_time_and_another_takes_its_place_when_it_dies(pool, tmp_path):
    (tmp_path / "3").write_text("dies")
    with pytest.warns(UserWarning, match=r"the square of 3 failed in a worker, with its process killed \(SIGKILL\)"):
        futures = [pool.submit(number, f"the square of {number}") for number in (1, 2, 3, 4)]
        found, processes = zip(*(future.result() for future in futures), strict=True)
    assert found == (1, 4, 9, 16)
    assert processes[0] == processes[1] != processes[2] == processes[3]


@pytest.mark.filterwarnings("ignore:the square of 5 failed")
def test_what_always_fails_says_how_it_failed_the_last_time(pool, tmp_path):
    (tmp_path / "5").write_text("dies " * (ATTEMPTS - 1) + "raises")
    with pytest.raises(WorkerPoolError, match=r"ValueError: 5 is odd \(test_worker_pool\.py, line \d+, in __call__\)"):
        pool.submit(5, "the square of 5").result()
    assert pool.submit(6, "the square of 6").result()[0] == 36


def test_a_pool_that_closes_ends_what_is_asked(tmp_path):
    pool = WorkerPool[int, None](functools.partial(_sleeper, tmp_path), 2)
    futures = [pool.submit(600, "a sleep") for _ in range(3)]
    while len(list(tmp_path.iterdir())) < 2:
        assert not any(future.done() for future in futures)
    pool.close()
    pool.close()
    assert all(future.cancelled() or isinstance(future.exception(), WorkerPoolError) for future in futures)
    assert not multiprocessing.active_children()


def _sleeper(folder: Path) -> Callable[[int], None]:
    import time

    (folder / str(os.getpid())).touch()
    return time.sleep
