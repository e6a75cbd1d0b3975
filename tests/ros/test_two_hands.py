"""Two hands beside each other, each a graph in a namespace of its own: both record, and neither hears the other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest
from ros_harness import START_TIMEOUT_S, Ros, until
from rosbags.highlevel import AnyReader
from std_srvs.srv import Trigger

from vmail.cli import main
from vmail_core.episodes import load_episodes

HANDS = ("left", "right")
STEPS = 12
# Where so many nodes leave at once, Fast DDS at times locks up a process for good, which then ends itself or is killed.
# That must never be one that has servos or a bag in its hands.
HOLD_NOTHING = {"camera", "ghost", "teleop"}


def call(hand: str, service: str) -> bool:
    """`vmail call`, as a person would; whether it was done. What it says is shown when the test fails."""
    command = [sys.executable, "-m", "vmail.cli", "call", f"{hand}/{service}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=START_TIMEOUT_S, env=os.environ)
    print(f"{hand}/{service}: {done.stdout}{done.stderr}")
    return done.returncode == 0


def contents(bag: Path) -> tuple[set[str], set[str]]:
    """Topics of a bag, and the names of the nodes whose diagnostics are in it."""
    with AnyReader([bag]) as reader:
        topics = {connection.topic for connection in reader.connections}
        news = [connection for connection in reader.connections if connection.msgtype.endswith("/DiagnosticArray")]
        messages = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages(connections=news)]
    return topics, {status.name for message in messages for status in message.status}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_graphs_run_and_record_at_once(ros: Ros, up, tmp_path: Path) -> None:
    graphs = {
        hand: up(
            "dclaw_teleop_demo",
            "sim:=true",
            f"namespace:={hand}",
            f"record:={tmp_path / hand}",
            f"operator:=Ada's {hand}",
            f"max_steps:={STEPS}",
            f"seed:={seed}",
        )
        for seed, hand in enumerate(HANDS)
    }
    for hand in HANDS:
        # Fourteen processes start at once here.
        ros.wait_reason(f"{hand}/dynamixel_driver", "no_command_yet", timeout=120.0, since_ns=0)
        for waiting in ("demo_recorder", "teleop"):
            ros.wait_reason(f"{hand}/{waiting}", "idle", timeout=120.0, since_ns=0)

    def begins(hand: str) -> bool:
        # A busy machine answers late, or lets a driver be silent for so long that its servos stop by themselves.
        return call(hand, "teleop/start") or (call(hand, "dynamixel_driver/reset_guard") and call(hand, "teleop/start"))

    def both_kept() -> bool:
        # Both at once, and once more if a busy machine was late and a take is put aside or not yet full.
        missing = [hand for hand in HANDS if not list((tmp_path / hand).glob("take_*/metadata.yaml"))]
        for hand in missing:
            ros.call(Trigger, f"/{hand}/demo_recorder/start")  # refused while one is being recorded
        for hand in missing:
            assert ros.call(Trigger, f"/{hand}/twin/reset").success
            until(partial(begins, hand), f"{hand} begins", timeout=120.0)
        for hand in missing:
            ros.wait_reason(f"{hand}/teleop", "idle")
        return not missing

    until(both_kept, "both hands have a take", timeout=200.0)
    for graph in graphs.values():
        graph.process.send_signal(signal.SIGINT)
    for hand, graph in graphs.items():
        code, output = graph.wait()
        assert graph.torque()[-1] == "torque_off", output
        killed = set(re.findall(r"(\w+) \((?:killed by SIGKILL|ROS did not let it go)", output))
        if killed and killed <= HOLD_NOTHING:
            warnings.warn(f"Fast DDS has locked up {hand}'s {', '.join(killed)} (eProsima/Fast-DDS 6502)", stacklevel=1)
        else:
            assert code == 0, output

    for hand in HANDS:
        take = min((tmp_path / hand).glob("take_*/metadata.yaml")).parent  # there are more where a machine was busy
        topics, nodes = contents(take)
        own = {f"/{hand}/{topic}" for topic in ("camera/image_raw", "joint_states", "joint_commands_sent")}
        assert own <= topics and {topic for topic in topics if not topic.startswith(f"/{hand}/")} <= {"/diagnostics"}
        assert nodes and all(name.startswith(f"{hand}/") for name in nodes), nodes
        assert main(["import", str(take), "--out", str(tmp_path / "episodes" / hand)]) == 0
        (episode, *_) = load_episodes(tmp_path / "episodes" / hand)
        assert episode.provenance["operator"] == f"Ada's {hand}" and episode.provenance["commander"] == "expert"
