"""The command line: what it lists, what it imports, and how it reports trouble."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vmail import cli
from vmail_core.episodes import Episode, write_episode

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("vmail", "vmail_core", "sim", "hardware", "ros2_ws")


def commands() -> list[str]:
    (subparsers,) = [a for a in cli.make_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    return list(subparsers.choices)


def vmail(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "vmail.cli", *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", commands())
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert f"vmail {command}" in capsys.readouterr().out


def test_alone_it_lists_its_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    listed = re.findall(r"^    ([a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert listed == commands()


def test_help_imports_nothing_heavy() -> None:
    program = "import sys, vmail.cli; vmail.cli.make_parser().format_help(); print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    heavy = {"numpy", "torch", "rclpy", "mujoco", "cv2", "onnxruntime", "rosbags", "rich"}
    assert not heavy & set(output.split())


def test_trouble_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = vmail("import", str(tmp_path / "missing"), "--out", str(tmp_path / "out"))
    assert result.returncode == 2
    assert result.stderr.startswith("vmail: error: ") and str(tmp_path / "missing") in result.stderr
    assert result.stderr.count("\n") == 1


def test_debug_shows_where_it_came_from(tmp_path: Path) -> None:
    result = vmail("--debug", "import", str(tmp_path / "missing"), "--out", str(tmp_path / "out"))
    assert result.returncode == 1
    assert "Traceback" in result.stderr and "bag_import.py" in result.stderr


def test_unknown_task_names_the_known_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["expert", "juggling", "--out", str(tmp_path)]) == 2
    assert "dclaw_valve3_ccw" in capsys.readouterr().err


def test_training_on_an_unknown_task_names_the_known_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    frames, actions = np.zeros((60, 32, 32, 3), np.uint8), np.zeros((60, 2), np.float32)
    write_episode(tmp_path / "demos", Episode(frames, actions, np.arange(60.0)), "demo")
    command = ["train", "paper/baoding", "--demos", str(tmp_path / "demos"), "--out", str(tmp_path / "run")]
    assert cli.main([*command, "--set", "task=juggling"]) == 2
    assert "no task 'juggling'; known tasks: baoding, car_racing, cheetah_run" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_up_lists_graphs_with_their_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["up"]) == 0
    listed = capsys.readouterr().out
    assert "policy_runner" in listed and "dclaw_teleop_demo" in listed and "sim:=" in listed


def test_a_mistake_in_the_program_is_not_dressed_up_as_trouble() -> None:
    with pytest.raises(ValueError) as from_a_library:
        json.loads("{")
    assert cli.explain(from_a_library.value) is None
    assert cli.explain(KeyError("x")) is None


def test_a_missing_library_is_answered_with_how_to_install_it() -> None:
    assert "vmail[train]" in (cli.explain(ModuleNotFoundError("no torch", name="torch.nn")) or "")
    assert "vmail[train]" in (cli.explain(ModuleNotFoundError("no pyarrow", name="pyarrow.parquet")) or "")
    assert cli.explain(ModuleNotFoundError("no such", name="something_else")) is None


def test_the_readme_lists_every_command() -> None:
    readme = (ROOT / "README.md").read_text()
    assert not [command for command in commands() if f"`vmail {command}" not in readme]


def test_messages_and_readme_name_commands_that_exist() -> None:
    sources = [ROOT / "README.md", *(path for folder in SOURCES for path in (ROOT / folder).rglob("*.py"))]
    named = {
        (match[1], path.name) for path in sources for match in re.finditer(r"`vmail ([a-z][a-z-]+)", path.read_text())
    }
    assert named, "no file names a command any more: the pattern is wrong"
    assert not [name for name in named if name[0] not in commands()]
