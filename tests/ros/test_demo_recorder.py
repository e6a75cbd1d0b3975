"""demo_recorder as a process, over DDS: a small rig publishes what camera, driver and teleop would."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mcap.reader import make_reader
from recorder_rig import MODULE, ROBOT, Rig, bag_topics, call, start
from ros_harness import Ros, until
from rosbags.highlevel import AnyReader

from vmail.takes import read_take
from vmail_core.episodes import load_episodes
from vmail_core.episodes.bag_import import BagError, import_bags
from vmail_core.episodes.bag_reading import KINESTHETIC
from vmail_core.episodes.bag_recover import recover_bag
from vmail_core.episodes.quality import Verdict
from vmail_hardware.latency import Figure, Latencies, default_path
from vmail_nodes.qos import DIAGNOSTICS

NEXT_STEP = "Set up the scene, then `vmail call demo_recorder/start`"


def test_a_hand_that_is_led_gives_takes_too(ros, start_node, output, tmp_path):
    start_node(MODULE, {"output": str(output), "quality": "reject", "max_steps": 15})
    rig = Rig(ros)
    rig.led = True
    rig.wait_frames(1)
    take = start(ros)
    ros.wait_reason("demo_recorder", "idle")
    rig.stop()
    import_bags([take], tmp_path / "episodes", ROBOT)
    (episode,) = load_episodes(tmp_path / "episodes")
    assert episode.provenance["commanders"] == [{"name": KINESTHETIC, "from_row": 1}]
    assert len(episode) == 16  # as many actions as a take of sent commands has
    listed = read_take(take, ROBOT)
    assert listed.commands == len(episode) - 1 and not [r for r in listed.remarks if r.verdict == Verdict.REJECT]
    led_to = ROBOT.desired_positions(episode.action[1:])
    np.testing.assert_allclose(led_to, episode.joint_positions[1:], atol=0.02)


def test_takes_are_recorded_kept_discarded_and_imported(ros, rig, recorder, output, tmp_path):
    rig.wait_frames(1)  # the recorder has heard the twin, too
    first = start(ros)
    assert first == output / "take_0001"
    assert call(ros, "start") == (False, "take_0001 is being recorded already; stop or discard it first")
    rig.wait_frames(15)
    success, message = call(ros, "stop")
    assert success
    assert message.startswith(f"kept {first}: ")
    assert call(ros, "stop") == (False, "no take is being recorded")

    start(ros)
    rig.wait_frames(2)
    assert call(ros, "discard") == (True, f"discarded {output / 'take_0002'}")
    assert sorted(path.name for path in output.iterdir()) == ["take_0001"]
    assert call(ros, "discard") == (False, "there is no take to discard")

    assert start(ros).name == "take_0002"
    rig.wait_frames(2)
    call(ros, "stop")
    aside = output / ".discarded" / "take_0002"
    back = f"discarded {output / 'take_0002'} after it was kept; to get it back, `mv {aside} {output}/`"
    assert call(ros, "discard") == (True, back), "right after it was kept it is only put aside"
    assert (aside / "metadata.yaml").is_file() and not (output / "take_0002").exists()
    assert call(ros, "discard") == (False, "there is no take to discard")
    recorder.signal(signal.SIGINT)
    assert recorder.wait() == 0

    counts = bag_topics(first)
    assert counts.keys() >= {
        "/camera/image_raw",
        "/camera/camera_info",
        "/joint_states",
        "/joint_commands",
        "/joint_commands_sent",
        "/twin/state",
        "/diagnostics",
        "/demo_recorder/take",
    }
    assert counts["/joint_states"] > 100
    with (first / "take_0001.mcap").open("rb") as file:
        assert make_reader(file).get_summary().statistics.message_count == sum(counts.values())

    report = import_bags([first], tmp_path / "episodes", ROBOT)
    (episode,) = load_episodes(tmp_path / "episodes")
    assert report.ok, report
    # Every frame of the rig from the start on, none lost and none twice.
    shades = episode.image[:, 0, 0, 0].astype(int)
    np.testing.assert_array_equal(np.diff(shades), 1)
    assert len(episode) >= 15
    np.testing.assert_allclose(
        episode.time + 1e-9 * episode.provenance["start_ns"], 1e-9 * np.array(rig.frames)[shades]
    )
    assert {"task": "turn", "operator": "Ada", "robot": "dclaw"}.items() <= episode.provenance.items()
    assert episode.provenance["simulator_version"].startswith("mujoco ")
    assert episode.provenance["radians_turned"] == pytest.approx(0.1 * episode.steps)


def test_takes_note_the_latencies_of_their_robot(ros, start_node, output, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    made = "2026-11-26T10:00:00+00:00"
    figures = {"camera_motion": Figure(62.5, 71.25, 10, "usb-Maker_Cam", made, size="640x480")}
    Latencies(ROBOT.name, made, figures).save(default_path(ROBOT))
    start_node(MODULE, {"output": str(output), "quality": "off"})
    rig = Rig(ros)
    take = start(ros)
    rig.wait_frames(5)
    assert call(ros, "stop")[0]
    rig.stop()
    with AnyReader([take]) as reader:
        own = [connection for connection in reader.connections if connection.topic.endswith("/take")]
        (first,) = [json.loads(reader.deserialize(raw, c.msgtype).data) for c, _, raw in reader.messages(own)]
    custom = yaml.safe_load((take / "metadata.yaml").read_text())["rosbag2_bagfile_information"]["custom_data"]
    import_bags([take], tmp_path / "episodes", ROBOT)
    (episode,) = load_episodes(tmp_path / "episodes")
    for notes in (first, custom, episode.provenance):
        assert {key: value for key, value in notes.items() if key.startswith("latency_")} == {
            "latency_made": made,
            "latency_camera_motion_p50_ms": "62.5",
            "latency_camera_motion_max_ms": "71.25",
            "latency_camera_motion_made": made,
            "latency_camera_motion_of": "usb-Maker_Cam 640x480",
        }


def test_a_take_ends_by_itself_after_its_steps(ros, start_node, output, tmp_path):
    start_node(MODULE, {"output": str(output), "max_steps": 12})
    rig = Rig(ros)
    try:
        bag = start(ros)
        until((bag / "metadata.yaml").exists, "the take is finished")
    finally:
        rig.stop()
    import_bags([bag], tmp_path / "episodes", ROBOT)
    assert [episode.steps for episode in load_episodes(tmp_path / "episodes")] == [12]


def test_no_take_starts_while_a_sensor_is_silent(ros, start_node, output):
    start_node(MODULE, {"output": str(output), "max_age": 1.0})
    success, message = call(ros, "start")
    assert not success
    assert "nothing yet on /camera/image_raw, nothing yet on /joint_states" in message
    rig = Rig(ros)
    start(ros)
    assert call(ros, "discard")[0]
    rig.camera = False
    answers: list[str] = []

    def refused() -> bool:
        success, message = call(ros, "start")
        answers.append(message)
        assert not success or call(ros, "discard")[0]  # the last frame was not yet too old
        return not success

    until(refused, "no take starts")
    rig.stop()
    (age,) = re.fullmatch(r".*: nothing on /camera/image_raw for ([0-9.]+) s\. Is.*", answers[-1]).groups()
    assert float(age) >= 1.0
    assert list(output.iterdir()) == []


def test_a_take_ends_whole_and_is_kept_when_the_disk_gets_full(ros: Ros, rig: Rig, recorder, tmp_path: Path) -> None:
    take = start(ros)
    rig.wait_frames(8)
    ros.set_parameter("demo_recorder", "min_free_mb", 10_000_000)  # instead of ten terabytes of other files
    status = ros.wait_reason("demo_recorder", "disk_low")
    assert "a take needs 10000000" in status.message
    assert import_bags([take], tmp_path / "episodes", ROBOT).sources[0].rows >= 8
    refused, why = call(ros, "start")
    assert not refused and "MB are free" in why
    assert "take 1 kept, " in recorder.output and "take 1 ended by itself: only " in recorder.output
    ros.set_parameter("demo_recorder", "min_free_mb", 1)
    assert start(ros).name == "take_0002"


def test_what_happens_is_told_and_who_commanded_is_noted(
    ros: Ros, start_node, output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tmp_path / "said"
    (tmp_path / "espeak").write_text(f'#!/bin/sh\necho "$1" >> {said}\n')
    (tmp_path / "espeak").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    recorder = start_node(MODULE, {"output": str(output), "operator": "Ada"})
    rig = Rig(ros)
    news = ros.publisher(DiagnosticArray, "/diagnostics", DIAGNOSTICS)
    try:
        start(ros)
        assert call(ros, "discard")[0]
        take = start(ros)
        for name, bundle in (("policy_runner", "aaaabbbbcccc"), ("right/policy_runner", "ddddeeeeffff")):
            pairs = [KeyValue(key="reason", value="running"), KeyValue(key="bundle", value=bundle)]
            news.publish(DiagnosticArray(status=[DiagnosticStatus(name=name, values=pairs)]))
        rig.wait_frames(6)
        assert call(ros, "stop")[0]
    finally:
        rig.stop()
    told = re.findall(r"\]: (take 1.*)", recorder.output)
    assert told[:3] == ["take 1: recording", f"take 1 discarded. {NEXT_STEP}", told[0]]
    assert re.fullmatch(rf"take 1 kept, \d\.\d s; but .*no joint moved.*\. {NEXT_STEP}", told[3])
    until(lambda: said.read_text().count("\n") == 4, "all is spoken")
    assert said.read_text().splitlines()[:3] == ["recording take 1", "take 1 discarded", "recording take 1"]
    import_bags([take], tmp_path / "episodes", ROBOT)
    (episode,) = load_episodes(tmp_path / "episodes")
    wanted = {"operator": "Ada", "commander": "policy", "bundle": "aaaabbbbcccc"}
    assert wanted.items() <= episode.provenance.items() and len(episode.provenance["camera_info_digest"]) == 64
    assert read_take(take, ROBOT).commander == "expert", "the commands themselves name another than was noted"


def test_a_sensor_that_goes_silent_in_a_take_is_named(ros, rig, recorder):
    start(ros)
    rig.camera = False
    status = ros.wait_reason("demo_recorder", "silent_topic")
    assert "nothing on /camera/image_raw" in status.message
    rig.camera = True
    ros.wait_reason("demo_recorder", "recording")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_the_take_whole(ros, rig, recorder, output, tmp_path, number):
    bag = start(ros)
    rig.wait_frames(8)
    recorder.signal(number)
    recorder.signal(number)  # an impatient second one changes nothing
    assert recorder.wait() == 0
    assert import_bags([bag], tmp_path / "episodes", ROBOT).sources[0].rows >= 8


def test_after_a_kill_all_but_the_last_second_is_recovered(ros, rig, recorder, tmp_path):
    bag = start(ros)
    rig.wait_frames(35)
    recorder.signal(signal.SIGKILL)
    killed_ns = time.time_ns()
    recorder.wait()
    with pytest.raises(BagError, match="vmail recover"):
        import_bags([bag], tmp_path / "episodes", ROBOT)
    recover_bag(bag, tmp_path / "saved")
    with AnyReader([tmp_path / "saved"]) as reader:
        assert killed_ns - reader.end_time < 1e9
    report = import_bags([tmp_path / "saved"], tmp_path / "episodes", ROBOT)
    (episode,) = load_episodes(tmp_path / "episodes")
    assert report.sources[0].rows == len(episode)
    assert killed_ns - episode.provenance["start_ns"] - 1e9 * episode.duration < 1.2e9  # a frame each 0.1 s
    assert episode.provenance["operator"] == "Ada"


def test_an_output_that_cannot_be_made_is_one_clear_error(start_node, tmp_path):
    (tmp_path / "file").write_text("")
    recorder = start_node(MODULE, {"output": str(tmp_path / "file" / "demos")})
    assert recorder.wait() == 1
    assert "cannot make the output folder" in recorder.output
    assert "Traceback" not in recorder.output


def test_no_take_starts_on_a_disk_that_is_nearly_full(ros, start_node, output):
    start_node(MODULE, {"output": str(output), "min_free_mb": 10_000_000})
    rig = Rig(ros)
    rig.wait_frames(1)
    success, message = call(ros, "start")
    rig.stop()
    assert not success
    assert "a take needs 10000000" in message
