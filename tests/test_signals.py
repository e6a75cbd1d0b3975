"""Signals that are ignored, and those that are put off."""

from __future__ import annotations

import signal
import threading

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
