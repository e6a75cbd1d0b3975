"""Signals that are ignored, those that are put off, and those that are noted."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from vmail import signals


def test_an_interrupt_comes_at_the_end_of_the_block_that_puts_it_off() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), signals.put_off():
        signal.raise_signal(signal.SIGINT)
        done.append("whole")
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_own_handler_runs_once_and_what_ends_a_process_is_left_to_do_so() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        with signals.put_off():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            assert not came
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == [signal.SIGINT]


def test_other_threads_put_nothing_off() -> None:
    ran = []

    def run() -> None:
        with signals.put_off():
            ran.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ran == [signal.default_int_handler]


def test_ignored_signals_do_nothing() -> None:
    with signals.ignored():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


NOTING = """
import random, signal
from vmail.signals import SignalNote
for number in range(1000):
    note = SignalNote()
    signal.signal(signal.SIGALRM, lambda *_: note.set())
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 4e-4))
    while not note.wait(1e-4):
        pass
"""


def test_a_signal_may_be_noted_while_its_note_is_waited_for() -> None:
    """With a `threading.Event` as the note, this hangs within the first few hundred signals."""
    subprocess.run([sys.executable, "-c", NOTING], check=True, timeout=100.0)


def test_a_note_is_waited_for_until_it_is_set_and_no_longer_than_asked() -> None:
    note = signals.SignalNote()
    began = time.monotonic()
    assert not note.wait(0.05) and not note.is_set()
    assert time.monotonic() - began >= 0.05
    threading.Timer(0.05, note.set).start()
    began = time.monotonic()
    assert note.wait(60.0) and note.is_set()
    assert time.monotonic() - began < 30.0
