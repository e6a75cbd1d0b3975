"""What newcomers give to `vmail` that cannot be: one clear line, an exit code, and nothing that is half done."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from vmail.cli import explain, main
from vmail.demo.settings import PRETRAINED, SHIPPED_TAKES
from vmail_core.episodes.bag_import import import_bags
from vmail_core.robot import load_robot

DCLAW = Path(__file__).resolve().parents[1] / "vmail_core" / "robot" / "dclaw.yaml"


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a take, an episode, a bundle, and of most other kinds of things one that is broken."""
    folder = tmp_path_factory.mktemp("things")
    shutil.copytree(SHIPPED_TAKES / "take_0001", folder / "takes" / "take_0001")
    import_bags([folder / "takes" / "take_0001"], folder / "episodes", load_robot("dclaw"), image_size=32)
    shutil.copytree(PRETRAINED, folder / "bundle")
    (folder / "empty").mkdir()
    (folder / "file").write_text("a line")
    (folder / "broken.yaml").write_text("a: [")
    (folder / "list.yaml").write_text("- 1")
    (folder / "nothing.yaml").write_text("")
    (folder / "broken_run").mkdir()
    (folder / "broken_run" / "run.json").write_text("{")
    (folder / "broken_run" / "config.yaml").write_text("a: [")
    (folder / "broken_episodes").mkdir()
    (folder / "broken_episodes" / "a.npz").write_text("no episode")
    return folder


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        # a file where a folder belongs, a folder that holds something else, and what is not there
        ("import takes/take_0001 --out file", "file is a file, and a folder is needed there"),
        ("import takes --out new", "takes is a folder of takes: give the takes in it, takes/*"),
        ("import empty --out new", "empty is not a rosbag2 folder"),
        ("import file --out new", "no bag at file; give a rosbag2 folder"),
        ("import missing.hdf5 --out new", "no file missing.hdf5; check the path"),
        ("import missing.npz --period 0.1 --out new", "no file missing.npz; check the path"),
        ("import episodes/take_0001-8aad6f4b.npz --period 0.1 --out new", "is an episode of vmail already"),
        ("convert episodes/take_0001-8aad6f4b.npz --out new", "is a file; give the folder that the episodes are in"),
        ("convert takes --out new", "takes holds takes, no episodes: `vmail import"),
        ("train --demos takes/take_0001 --out new", "holds takes, no episodes"),
        ("train --demos missing --out new", "no episode folder missing"),
        ("train --demos broken_episodes --out new", "a.npz is no whole vmail episode"),
        ("train --demos episodes --out file", "file is a file, and a folder is needed there"),
        ("takes file", "file is a file; give a folder of takes"),
        ("takes takes/take_0001 --film new.gif", "give a name that ends in .mp4"),
        ("takes takes/take_0001 --film file/new.mp4", "file is a file, and a folder is needed there"),
        ("replay missing sim:=true", "missing is not a take"),
        ("replay takes/take_0001 sim:=true teleop:=keyboard", "leave out teleop:= and take:="),
        ("recover missing --out new", "no .mcap file at missing"),
        ("eval missing", "no run at missing: it holds no config.yaml"),
        ("eval bundle", "no run at bundle: a bundle, made of a run"),
        ("eval broken_run", "broken_run/config.yaml is damaged (line 1: "),
        ("runs broken_run", "broken_run/config.yaml is damaged (line 1: "),
        ("runs missing", "no run in missing"),
        ("compare broken_run --out new.png", "broken_run/config.yaml is damaged"),
        ("trust broken_run --episodes episodes", "broken_run/config.yaml is damaged"),
        ("export broken_run --out new", "broken_run/config.yaml is damaged"),
        ("fake-bus --path file", "file exists and is not a link"),
        ("fake-bus --path /dev/ttyUSB97", "/dev/ttyUSB97 is a place of real devices"),
        # files that say nothing, or nonsense
        ("train broken.yaml --demos episodes --out new", "broken.yaml is not YAML: line 1: "),
        ("train list.yaml --demos episodes --out new", "list.yaml holds no settings"),
        ("train nothing.yaml --demos episodes --out new", "nothing.yaml holds no settings"),
        ("takes takes --robot broken.yaml", "broken.yaml is not YAML (line 1: "),
        ("takes takes --robot list.yaml", "list.yaml is no robot spec: it has no fields"),
        ("takes takes --robot file", "no robot 'file'; known robots: dclaw"),
        ("takes takes --robot /", "no robot '/'; known robots: dclaw"),
        # numbers that are none, or beyond all bounds
        ("train debug --demos episodes --out new --minutes nan", "train.minutes cannot be nan"),
        ("train debug --demos episodes --out new --set model.learning_rate=.nan", "learning_rate cannot be nan"),
        ("expert dclaw_valve3_ccw --out new --image-size 0", "--image-size 0 is not between 8 and 4096"),
        ("expert dclaw_valve3_ccw --out new --seed -1", "--seed -1 is not between 0 and"),
        ("eval missing --seed -1", "--seed -1 is not between 0 and"),
        ("demo --episodes 0", "--episodes 0: choose 1 to 100"),
        ("fake-bus --path new --fault silent=99", "no servo 99; there are 10, 11"),
        ("latency --port new --seconds nan", "--seconds nan: give 1 to 600"),
    ],
)
def test_one_line_says_what_is_wrong(
    things: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, reason: str
) -> None:
    monkeypatch.chdir(things)
    before = sorted(path for path in things.rglob("*"))
    assert main(command.split()) == 2
    said = capsys.readouterr().err
    assert said.startswith("vmail: error: ") and reason in said and said.count("\n") == 1
    assert sorted(path for path in things.rglob("*")) == before, "nothing is left behind"


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("max_joint_speed", float("nan"), "max_joint_speed must be finite numbers"),
        ("max_joint_speed", "fast", "could not convert string to float: 'fast'"),
        ("max_current_ma", float("inf"), "max_current_ma must be finite numbers"),
        ("control_rate_hz", 0, "control_rate_hz must be above 0"),
        ("joints", 3, "is no robot spec"),
        ("camera", {"width": 64}, "lacks field 'height'"),
    ],
)
def test_a_robot_file_with_a_wrong_value_is_refused(tmp_path: Path, field: str, value: object, reason: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(DCLAW.read_text()) | {field: value}))
    with pytest.raises(ValueError, match=f"{file}.*{reason}.*compare it with dclaw.yaml"):
        load_robot(file)


def test_a_joint_limit_that_is_no_number_is_refused(tmp_path: Path) -> None:
    plain = yaml.safe_load(DCLAW.read_text())
    plain["joints"][0]["lower"] = float("nan")
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(ValueError, match="lower must be finite numbers"):
        load_robot(tmp_path / "mine.yaml")


def test_a_note_that_is_no_json_is_told_by_its_file(tmp_path: Path) -> None:
    run_folder = pytest.importorskip("vmail_core.learners.run_folder")
    (tmp_path / "run.json").write_text(json.dumps([1]))
    with pytest.raises(ValueError, match="run.json is damaged"):
        run_folder.RunFolder(tmp_path).facts()


def test_what_the_system_says_of_files_is_put_in_words(tmp_path: Path) -> None:
    place = str(tmp_path)
    assert explain(FileNotFoundError(2, "No such file or directory", "a")) == "there is no a; check the path"
    assert explain(FileExistsError(17, "File exists", place)) == f"{place} exists already; choose another place"
    assert (
        explain(FileExistsError(17, "File exists", "a"))
        == "a is a file, and a folder is needed there; choose another place"
    )
    assert explain(PermissionError(13, "Permission denied", "a")) == "a: permission denied; choose another place"
    assert explain(IsADirectoryError(21, "Is a directory", "a")) == "a is a folder, and a file is needed"
    assert explain(FileNotFoundError("no take in x")) == "no take in x"


def test_a_reader_that_has_enough_is_no_error() -> None:
    command = f"{sys.executable} -m vmail.cli up | head -1; echo ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert found.stdout.splitlines()[0].startswith("usage: vmail up") and not found.stderr
