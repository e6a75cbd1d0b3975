"""Wrong arguments of a graph are refused with one line before any node starts, by `vmail up` and launch files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from vmail import preflight
from vmail.cli import main
from vmail.demo.settings import PRETRAINED, SHIPPED_TAKES
from vmail.graph import GraphError, graph_arguments, parse_assignments
from vmail.preflight import checked_graph
from vmail.up import Graph
from vmail_core.robot import load_robot
from vmail_hardware.cameras import FrameServer
from vmail_hardware.emulator import EmulatedBus
from vmail_nodes.teleop_modes import MODES

DCLAW = Path(__file__).resolve().parents[2] / "vmail_core" / "robot" / "dclaw.yaml"


def checked(graph: str, *words: str, terminal: bool = True) -> list[str]:
    return [node.name for node in checked_graph(graph, parse_assignments(words), Path("/run/x"), terminal)]


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Arguments of a hand and a camera that are there."""
    with EmulatedBus(tmp_path / "bus", load_robot("dclaw")) as bus, FrameServer(tmp_path / "frames") as frames:
        yield f"port:={bus.path}", f"camera:=twin://{frames.path}"


def robot_file(path: Path, **changed: object) -> str:
    path.write_text(yaml.safe_dump(yaml.safe_load(DCLAW.read_text()) | changed))
    return str(path)


def test_what_is_right_passes(hand: tuple[str, str], tmp_path: Path) -> None:
    assert "twin" in checked("dclaw_teleop_demo", "sim:=true", "faults:=silent=32@10+2 camera=black@20", "seed:=3")
    assert "policy_runner" in checked("policy_runner", "sim:=true", f"bundle:={PRETRAINED}", f"record:={tmp_path}/a/b")
    assert "teleop" in checked("dclaw_teleop_demo", *hand)
    assert checked("dclaw_teleop_demo", *hand, "teleop:=replay", f"take:={SHIPPED_TAKES / 'take_0001'}")
    leader = robot_file(tmp_path / "leader.yaml", name="leader")
    with EmulatedBus(tmp_path / "leader", load_robot(leader)) as bus:
        assert checked("dclaw_teleop_demo", *hand, "teleop:=leader", f"leader:={leader}", f"leader_port:={bus.path}")
    assert checked("dclaw_teleop_demo", *hand, "teleop:=expert"), "of a twin that was started by itself"
    assert not (tmp_path / "a").exists(), "a look changes nothing"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("sim:=true teleop:=keybord", "teleop:=keybord is none of expert, keyboard, gamepad"),
        ("sim:=true robot:=dclow", "robot:=dclow: no robot 'dclow'; known robots: dclaw"),
        ("sim:=true task:=dclaw_valve5", "task:=dclaw_valve5: .* is no valve task of the D'Claw"),
        ("port:=/dev/null camera:=README.md calibration:=none.yaml", "camera:=README.md"),
        ("sim:=true calibration:=~/none.yaml", "calibration:=~/none.yaml: no calibration at /.*none.yaml; `vmail cal"),
        ("sim:=true calibration:=README.md", "calibration:=README.md: README.md is damaged"),
        ("sim:=true faults:=silence=3", "faults:=silence=3: no fault 'silence=3'; write NAME=VALUE@AFTER"),
        ("sim:=true faults:=silent=99", "faults:=silent=99: .*no servo 99; there are 10, 11"),
        ("sim:=true faults:=clock=nan", "finite number"),
        ("sim:=true camera:=webcam", "camera:=webcam: no camera 'webcam'; give twin://.*a device"),
        ("sim:=true camera:=README.md", "camera:=README.md: README.md holds no video"),
        ("sim:=true record:=README.md/takes", "record:=README.md/takes: .*README.md is a file; give a folder"),
        ("sim:=true max_steps:=-1", "max_steps:=-1 is not between 0 and"),
        ("sim:=true seed:=-1", "seed:=-1 is not between 0 and"),
        ("sim:=true namespace:=left-hand", "namespace:=left-hand: give letters"),
        ("sim:=true teleop:=leader", "teleop:=leader: parameter leader is empty"),
        ("sim:=true teleop:=leader leader:=dclaw leader_port:=/dev/ttyUSB1", "leader and hand are both robot dclaw"),
        ("sim:=true teleop:=replay", "teleop:=replay: no take to replay"),
        ("sim:=true teleop:=replay take:=nothing", "teleop:=replay: no bag at nothing"),
        ("sim:=true take:=takes/take_0001", "take:= means nothing without teleop:=replay"),
        ("sim:=true sim:=false", "sim:= is given twice"),
        ("port:=/dev/ttyUSB97 camera:=README.md", "camera:=README.md"),
        ("port:=/dev/null camera:=/dev/null", "camera:=/dev/null: /dev/null is no camera"),
        ("port:=/dev/null camera:=97", "camera:=97: no camera /dev/video97"),
        ("port:=/dev/null camera:=twin:///nothing", "no twin camera at /nothing"),
        ("port:=/dev/null camera:=0 faults:=silent=32", "faults:= means nothing without sim:=true"),
    ],
)
def test_what_is_wrong_is_one_line_and_starts_nothing(
    words: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(DCLAW.parents[2])
    monkeypatch.setattr(Graph, "start", lambda self: pytest.fail("a node was started"))
    with pytest.raises(GraphError, match=message):
        checked("dclaw_teleop_demo", *words.split())
    assert main(["up", "dclaw_teleop_demo", *words.split()]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("vmail: error: ") and said.err.count("\n") == 1 and not said.out


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (shutil.rmtree, "no such bundle folder"),
        (lambda bundle: (bundle / "manifest.json").unlink(), "manifest.json: missing from the bundle"),
        (lambda bundle: (bundle / "policy.onnx").write_bytes(b""), "policy.onnx: altered or cut short"),
        (
            lambda bundle: ((bundle / "manifest.json").unlink(), (bundle / "run.json").write_text("{}")),
            "a training run, not a bundle; `vmail export ",
        ),
    ],
)
def test_a_bundle_that_cannot_run_is_refused(break_it, message: str, tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(PRETRAINED, bundle)
    break_it(bundle)
    with pytest.raises(GraphError, match=f"bundle:={bundle}: .*{message}"):
        checked("policy_runner", "sim:=true", f"bundle:={bundle}")


def test_a_bundle_of_another_robot_is_refused(tmp_path: Path) -> None:
    mine = robot_file(tmp_path / "mine.yaml", name="mine", max_joint_speed=1.0)
    with pytest.raises(
        GraphError, match="made for robot 'dclaw', which differs from this robot 'mine' in max_joint_spe"
    ):
        checked("policy_runner", "sim:=true", f"robot:={mine}", f"bundle:={PRETRAINED}")


def test_devices_of_a_hand_are_looked_at(hand: tuple[str, str], tmp_path: Path) -> None:
    port, camera = hand
    with pytest.raises(GraphError, match="port:=/dev/ttyUSB97: no device /dev/ttyUSB97"):
        checked("dclaw_teleop_demo", "port:=/dev/ttyUSB97", camera)
    with pytest.raises(GraphError, match=f"port:={tmp_path}: {tmp_path} is not a serial device"):
        checked("dclaw_teleop_demo", f"port:={tmp_path}", camera)
    leader, own = robot_file(tmp_path / "leader.yaml", name="leader"), port.removeprefix("port:=")
    with pytest.raises(GraphError, match="is the hand's own port"):
        checked("dclaw_teleop_demo", *hand, "teleop:=leader", f"leader:={leader}", f"leader_port:={own}")
    with pytest.raises(GraphError, match="leader_port:=/dev/ttyUSB97: no device"):
        checked("dclaw_teleop_demo", *hand, "teleop:=leader", f"leader:={leader}", "leader_port:=/dev/ttyUSB97")


def test_an_expert_needs_a_twin_and_keys_a_terminal(hand: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="no terminal here"):
        checked("dclaw_teleop_demo", *hand, terminal=False)
    film = tmp_path / "film.mp4"
    cv2 = pytest.importorskip("cv2")
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter_fourcc(*"mp4v"), 20.0, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    with pytest.raises(GraphError, match="teleop:=expert sees the twin's state"):
        checked("dclaw_teleop_demo", hand[0], f"camera:={film}", "teleop:=expert")


def test_a_folder_that_may_not_be_written_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a test may run as root, whom everything is allowed
    with pytest.raises(GraphError, match=f"record:={tmp_path}/takes: {tmp_path} may not be written to"):
        checked("dclaw_teleop_demo", "sim:=true", f"record:={tmp_path}/takes")


def test_a_robot_that_the_twin_is_not_is_refused(tmp_path: Path) -> None:
    plain = yaml.safe_load(DCLAW.read_text())
    plain.pop("fingers", None)
    few = tmp_path / "few.yaml"
    few.write_text(yaml.safe_dump(plain | {"name": "few", "joints": plain["joints"][:3]}))
    with pytest.raises(GraphError, match="robot few has 3 joints, the simulated D'Claw has 9"):
        checked("dclaw_teleop_demo", "sim:=true", f"robot:={few}")


def test_what_a_graph_needs_and_is_not_installed_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else True)
    assert main(["up", "policy_runner", "sim:=true", f"bundle:={PRETRAINED}"]) == 2
    assert "onnxruntime is not installed: pip install" in capsys.readouterr().err


def test_the_choices_are_those_of_the_node() -> None:
    (teleop,) = [argument for argument in graph_arguments("policy_runner") if argument.name == "teleop"]
    assert teleop.choices == (*MODES, "none")
