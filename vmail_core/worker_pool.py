"""Processes that answer questions. One that dies is replaced, and its question is asked again.

Large arrays in an answer, such as an episode's pictures, come through shared memory.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from vmail_core import shared_memory

ATTEMPTS = 3

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class WorkerPoolError(RuntimeError):
    """A question that failed in every worker that was asked; its text is the last one's trouble."""


class WorkerPool(Generic[Question, Answer]):
    """A fixed number of processes. They start when they are needed and end with the pool or with this process."""

    def __init__(self, make: Callable[[], Callable[[Question], Answer]], count: int) -> None:
        """Start nothing yet.

        Args:
            make: is pickled; called in each process once, it makes what answers there.
            count: how many processes at most.
        """
        self._make = make
        # A thread minds each worker. It does nothing but wait, so it takes no time from its process.
        self._threads = ThreadPoolExecutor(count, "worker")
        self._minded = threading.local()
        self._running: set[_Worker] = set()
        self._lock = threading.Lock()  # over `_running` and `_closed`
        self._closed = False

    def submit(self, question: Question, name: str) -> Future[Answer]:
        """Ask the next worker that is free; `name` is what warnings call the question.

        The future's WorkerPoolError says what went wrong the last time, when it has failed `ATTEMPTS` times.
        """
        return self._threads.submit(self._see_through, question, name)

    def close(self) -> None:
        """End all workers at once, whatever they do. May be called twice."""
        with self._lock:
            self._closed = True
            for worker in self._running:
                worker.end()
        self._threads.shutdown(cancel_futures=True)

    def __enter__(self) -> WorkerPool[Question, Answer]:
        """Itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Close."""
        self.close()

    def _see_through(self, question: Question, name: str) -> Answer:
        """In a thread: until there is an answer."""
        trouble = ""
        for _ in range(ATTEMPTS):
            worker = self._my_worker()
            try:
                return worker.ask(question)
            except WorkerPoolError as error:
                trouble = str(error)
            with self._lock:
                worker.end()
                self._running.discard(worker)
                if not self._closed:
                    warnings.warn(f"{name} failed in a worker, with {trouble}", stacklevel=1)
            del self._minded.worker
        raise WorkerPoolError(trouble)

    def _my_worker(self) -> _Worker:
        """The worker that this thread minds, a new one if it has none."""
        if not hasattr(self._minded, "worker"):
            with self._lock:
                if self._closed:
                    raise WorkerPoolError("the pool closed")
                self._minded.worker = _Worker(self._make)
                self._running.add(self._minded.worker)
        return self._minded.worker


class _Worker:
    """A process as its parent sees it."""

    _book = threading.Lock()  # multiprocessing keeps a list of its processes, which is not made for threads

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would share torch's and GL's locks in unknown states
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_work, args=(far_end, make), daemon=True)
        with self._book, interrupts_blocked():
            self._process.start()
        far_end.close()  # the worker has it now, so the pipe ends with the worker

    def ask(self, question: Any) -> Any:
        """The answer. After a WorkerPoolError, which tells what went wrong, the worker is of no more use."""
        try:
            self._pipe.send(question)
            answer, trouble = shared_memory.receive(self._pipe)
        except (EOFError, OSError):
            answer, trouble = None, self.end()
        if trouble is not None:
            raise WorkerPoolError(trouble)
        return answer

    def end(self) -> str:
        """End the process, which has nothing to save, unless it has ended; returns how it ended."""
        with self._book:
            self._process.kill()
            self._process.join()
            code = self._process.exitcode
        if code == -signal.SIGKILL:
            return "its process killed (SIGKILL), as the system does when memory runs out: `dmesg` tells"
        return f"its process ended with exit code {code}"


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Processes that this thread starts inside never see Ctrl-C.

    It goes to all of a terminal's processes, but what it means is their parent's to decide. They inherit the mask, so
    it holds from their first instruction on.
    """
    resource_tracker.ensure_running()  # multiprocessing would start it inside, and that lifts the mask
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _work(pipe: Connection, make: Callable[[], Callable[[Any], Any]]) -> None:
    """A worker's life: takes questions and sends (answer, None), or (None, what went wrong), after which it ends."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        # First of all take what the parent sends: it would not hear of trouble while it is still sending.
        question = pipe.recv()
        answer = make()
        while True:
            shared_memory.send(pipe, (answer(question), None))
            question = pipe.recv()
    except (EOFError, ConnectionError):
        return  # the parent is gone
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        last_line = traceback.format_exception_only(error)[-1].strip()
        where = f"{Path(place.filename).name}, line {place.lineno}, in {place.name}"
        shared_memory.send(pipe, (None, f"{last_line} ({where})"))


def _end_with_parent() -> None:
    """However the parent ends, be it by SIGKILL in the middle of an answer."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
