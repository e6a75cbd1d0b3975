"""Spoken prompts, with programs on PATH that note what they are given instead of saying it."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import pytest
from ros_harness import Ros, until

from vmail_nodes.diagnostics import ERROR, WARN
from vmail_nodes.prompts import Prompts

MODULE = "vmail_nodes.demo_recorder"


class Log:
    """Takes a logger's lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __getattr__(self, severity: str):
        return lambda line: self.lines.append((severity, line))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def install(path: Path, name: str, then: str = "exit 0") -> Path:
    """A speech program; returns the file to which it adds a line for each call."""
    said = path.parent / f"{name}.said"
    (path / name).write_text(f'#!/bin/sh\necho "$#: $*" >> {shlex.quote(str(said))}\n{then}\n')
    (path / name).chmod(0o755)
    said.touch()
    return said


def heard(said: Path, *words: str) -> None:
    until(lambda: said.read_text().splitlines() == [f"1: {text}" for text in words], f"{words} are spoken", 20.0)


def test_the_line_is_printed_and_the_words_are_spoken_as_one_argument(path: Path) -> None:
    others = install(path, "espeak"), install(path, "espeak-ng")
    said, log = install(path, "spd-say"), Log()
    prompts = Prompts(log, "auto")
    prompts.tell("take 4: recording", "recording take 4")
    heard(said, "recording take 4")
    prompts.tell("take 4 rejected, 2.0 s, no joint moved: ...", "take 4 rejected: no joint moved", WARN)
    heard(said, "recording take 4", "take 4 rejected: no joint moved")
    prompts.tell("no", "no", ERROR)
    assert [severity for severity, _ in log.lines] == ["info", "warning", "error"]
    assert not any(other.read_text() for other in others)


def test_nobody_waits_for_a_program_that_speaks_long(path: Path) -> None:
    said = install(path, "espeak", then="exec /bin/sleep 60")
    prompts = Prompts(Log(), "auto")
    began = time.monotonic()
    prompts.tell("", "one")
    heard(said, "one")
    speaking = prompts._speaking
    prompts.tell("", "two")
    until(lambda: speaking.poll() is not None, "the first words are cut short", 20.0)
    heard(said, "one", "two")
    speaking = prompts._speaking
    prompts.close()
    until(lambda: speaking.poll() is not None, "silence at the end", 20.0)
    prompts.tell("", "three")
    assert time.monotonic() - began < 30.0
    heard(said, "one", "two")


def test_a_program_that_fails_is_named_once(path: Path) -> None:
    said, log = install(path, "espeak-ng", then="exit 3"), Log()
    prompts = Prompts(log, "auto")
    prompts.tell("a line", "one")

    def given_up() -> bool:
        prompts.poll()
        return len(log.lines) > 1

    until(given_up, "the failure is seen", 20.0)
    prompts.tell("another", "two")
    prompts.poll()
    heard(said, "one")
    ((_, first), (severity, failure), (_, second)) = log.lines
    assert (first, severity, second) == ("a line", "warning", "another")
    assert "espeak-ng" in failure and "exit code 3" in failure


def test_off_is_silent_and_says_nothing_of_it(path: Path) -> None:
    said, log = install(path, "espeak"), Log()
    Prompts(log, "off").tell("a line", "one")
    time.sleep(0.3)
    assert log.lines == [("info", "a line")] and not said.read_text()


def test_a_recorder_without_a_program_says_once_what_to_install(ros: Ros, path: Path, start_node) -> None:
    recorder = start_node(MODULE, {"output": str(path.parent / "demos")})
    ros.wait_reason("demo_recorder", "idle")
    assert recorder.output.count("install espeak-ng") == 1


def test_a_recorder_refuses_another_word(start_node, tmp_path: Path) -> None:
    recorder = start_node(MODULE, {"output": str(tmp_path / "demos"), "speech": "loud"})
    assert recorder.wait() == 1 and "give auto or off" in recorder.output
