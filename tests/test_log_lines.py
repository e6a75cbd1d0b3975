"""What `vmail up` prints of its nodes never keeps them waiting."""

from __future__ import annotations

import io
import os
import threading

from vmail.log_lines import MOST_LINES, LogLines


def test_lines_come_out_in_order() -> None:
    output = io.StringIO()
    log = LogLines(output)
    for number in range(100):
        log.put(f"{number}\n")
    log.close(5.0)
    assert output.getvalue() == "".join(f"{number}\n" for number in range(100))


def test_an_output_that_takes_nothing_keeps_nobody_waiting() -> None:
    with open("/dev/full", "w") as full:
        log = LogLines(full)
        for _ in range(3 * MOST_LINES):
            log.put("a line\n")
        log.close(5.0)
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())  # closing it would fail, too


def test_an_output_that_waits_for_ever_keeps_nobody_waiting_and_what_is_missing_is_told() -> None:
    class Stopped(io.StringIO):  # as a terminal after Ctrl-S
        def write(self, text: str) -> int:
            going.wait()
            return super().write(text)

    going, output = threading.Event(), Stopped()
    log = LogLines(output)
    for _ in range(MOST_LINES + 50):
        log.put("a line\n")
    log.close(0.1)
    going.set()
    log._thread.join(1.0)
    assert output.getvalue().count("a line") >= MOST_LINES
