"""Steps: once each, anew when something they rest on changed, on from where they stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from vmail.cli import explain
from vmail.demo.steps import Step, StepBook, StepFailed, run_steps


class Kitchen:
    """Three steps that write a file each and count."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.done, self.salt = folder, [], 1
        self.trouble: Exception | None = None

    def steps(self) -> list[Step]:
        def cook(name: str) -> None:
            if name == "eat" and self.trouble:
                raise self.trouble
            self.done.append(name)
            (self.folder / name).write_text(name)

        return [
            Step(name, name, "seconds", lambda name=name: {"salt": self.salt if name == "cook" else 0},
                 [self.folder / name], lambda name=name: cook(name))
            for name in ("shop", "cook", "eat")
        ]  # fmt: skip

    def run(self) -> list[str]:
        self.done.clear()
        run_steps(self.steps(), StepBook(self.folder / "steps"), Console(quiet=True), explain)
        return list(self.done)


@pytest.fixture
def kitchen(tmp_path: Path) -> Kitchen:
    return Kitchen(tmp_path)


def test_every_step_is_done_once(kitchen: Kitchen) -> None:
    assert kitchen.run() == ["shop", "cook", "eat"]
    assert kitchen.run() == []
    assert set(StepBook(kitchen.folder / "steps").seconds()) == {"shop", "cook", "eat"}


def test_a_changed_input_does_a_step_and_what_follows_anew(kitchen: Kitchen) -> None:
    kitchen.run()
    kitchen.salt = 2
    assert kitchen.run() == ["cook", "eat"]


def test_a_missing_output_does_too(kitchen: Kitchen) -> None:
    kitchen.run()
    (kitchen.folder / "shop").unlink()
    assert kitchen.run() == ["shop", "cook", "eat"]


def test_goes_on_after_an_interruption(kitchen: Kitchen) -> None:
    kitchen.trouble = KeyboardInterrupt()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        kitchen.run()
    kitchen.trouble = None
    assert kitchen.run() == ["eat"]


def test_a_failure_names_the_step_and_the_next_action(kitchen: Kitchen) -> None:
    kitchen.trouble = FileNotFoundError("no fork; buy one")
    with pytest.raises(StepFailed, match=r"(?s)step eat: no fork; buy one.*same command goes on"):
        kitchen.run()


def test_a_mistake_in_the_program_stays_one(kitchen: Kitchen) -> None:
    kitchen.trouble = KeyError("x")
    with pytest.raises(KeyError) as caught:
        kitchen.run()
    assert "'eat'" in caught.value.__notes__[0]
