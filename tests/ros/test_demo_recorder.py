"""demo_recorder as a process, over DDS: a small rig publishes what camera, driver and teleop would."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from mcap.reader import make_reader
from ros_harness import START_TIMEOUT_S, NodeProcess, Ros, until
from rosbags.highlevel import AnyReader
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from vmail.takes import read_take
from vmail_core.episodes import load_episodes
from vmail_core.episodes.bag_import import BagError, import_bags
from vmail_core.episodes.bag_reading import KINESTHETIC
from vmail_core.episodes.bag_recover import recover_bag
from vmail_core.episodes.quality import Verdict
from vmail_core.robot import load_robot
from vmail_hardware.latency import Figure, Latencies, default_path
from vmail_nodes.messages import command_message, image_from_array, joint_state_message
from vmail_nodes.qos import COMMANDS, COMMANDS_SENT, DIAGNOSTICS, SENSOR_PUBLISHER

ROBOT = load_robot("dclaw")
REST = ROBOT.rest
MODULE = "vmail_nodes.demo_recorder"
NEXT_STEP = "Set up the scene, then `vmail call demo_recorder/start`"


class Rig:
    """Publishes joint states at 100 Hz and frames at 10 Hz, and a command on each frame."""

    def __init__(self, ros: Ros) -> None:
        """Begins once the recorder listens."""
        self.camera = True
        self.still = False  # whoever leads it lets it be
        self.led = False  # the hand is limp and somebody moves it: nothing is sent
        self.frames: list[int] = []
        self._ros, self._rng = ros, np.random.default_rng(0)
        self._images = ros.publisher(Image, "camera/image_raw", SENSOR_PUBLISHER)
        self._info = ros.publisher(CameraInfo, "camera/camera_info", SENSOR_PUBLISHER)
        self._states = ros.publisher(JointState, "joint_states", SENSOR_PUBLISHER)
        self._requests = ros.publisher(JointTrajectory, "joint_commands", COMMANDS)
        self._sent = ros.publisher(JointTrajectory, "joint_commands_sent", COMMANDS_SENT)
        self._twin = ros.publisher(JointState, "twin/state", SENSOR_PUBLISHER)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        # Stamps follow a schedule, and a machine that is busy catches up: the take is the same however late it runs.
        begin, step, pending = time.time_ns(), 0, None
        while not self._stop.wait(max(0.0, (begin + step * 10_000_000 - time.time_ns()) / 1e9)):
            now = begin + step * 10_000_000
            if not self.still:
                self._present = REST + (0.2 * np.sin(0.05 * step) ** 2 if self.led else 0.0)
            self._states.publish(joint_state_message(ROBOT.joint_names, self._present, 0 * REST, 0 * REST, now))
            if pending:
                self._command(pending)
                pending = None
            if step % 10 == 0 and self.camera:
                self._frame(now)
                pending = now
            step += 1

    def _frame(self, now: int) -> None:
        pixels = np.full((64, 64, 3), (len(self.frames) + 100 * self.led) % 256, np.uint8)
        self._images.publish(image_from_array(pixels, now))
        info = CameraInfo(height=64, width=64)
        info.k[0] = 80.0
        self._info.publish(info)
        self._twin.publish(joint_state_message(("valve",), np.array([0.1 * len(self.frames)]), np.zeros(1), None, now))
        self.frames.append(now)

    def _command(self, stamp_ns: int) -> None:
        if self.led:
            self._requests.publish(command_message(ROBOT.joint_names, self._present, stamp_ns, KINESTHETIC))
            return
        request = ROBOT.desired_positions(self._rng.uniform(-1, 1, 9))
        self._requests.publish(command_message(ROBOT.joint_names, request, stamp_ns))
        sent = ROBOT.limit_step(request, REST)
        self._sent.publish(command_message(ROBOT.joint_names, sent, stamp_ns, "expert", 3_000_000))

    def wait_frames(self, count: int) -> None:
        """Wait for that many more frames, and until the recorder has dealt with them."""
        goal = len(self.frames) + count
        until(lambda: len(self.frames) >= goal, f"{count} frames are published")
        self._ros.meet("demo_recorder")  # what was published before a question is dealt with before its answer

    def stop(self) -> None:
        """Publish no more."""
        self._stop.set()
        self._thread.join()


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "demos"


@pytest.fixture
def recorder(start_node, output: Path) -> NodeProcess:
    return start_node(MODULE, {"output": str(output), "task": "turn", "operator": "Ada", "max_steps": 0})


@pytest.fixture
def rig(ros: Ros, recorder: NodeProcess):
    rig = Rig(ros)
    yield rig
    rig.stop()


def call(ros: Ros, name: str) -> tuple[bool, str]:
    response = ros.call(Trigger, f"/demo_recorder/{name}")
    return response.success, response.message


def start(ros: Ros) -> Path:
    """Begin a take as soon as camera and joints have been heard."""
    answers: list[tuple[bool, str]] = []

    def begun() -> bool:
        answers.append(call(ros, "start"))
        return answers[-1][0]

    until(begun, "a take begins")
    return Path(answers[-1][1])


def bag_topics(bag: Path) -> dict[str, int]:
    with AnyReader([bag]) as reader:
        return {connection.topic: connection.msgcount for connection in reader.connections}


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


def on_a_terminal(output: Path) -> tuple[subprocess.Popen, int]:
    """A recorder that reads keys, and the other end of its terminal."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", MODULE, "--ros-args", "-p", f"output:={output}"]
    process = subprocess.Popen(
        command, stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=lambda: own(terminal)
    )
    os.close(terminal)
    return process, controller


def test_a_terminal_that_goes_away_leaves_a_take_whole(ros, output, ros_domain, tmp_path):
    process, controller = on_a_terminal(output)
    rig = Rig(ros)
    try:
        rig.wait_frames(1)
        bag = start(ros)
        rig.wait_frames(8)
        os.close(controller)  # the kernel sends SIGHUP
        assert process.wait(START_TIMEOUT_S) == 0
        assert "Traceback" not in process.stdout.read().decode()
    finally:
        rig.stop()
        process.kill()
    assert import_bags([bag], tmp_path / "episodes", ROBOT).sources[0].rows >= 8


def test_a_take_that_cannot_be_made_is_told_also_after_a_key(ros, rig, recorder, output):
    output.rename(output.with_name("elsewhere"))
    output.write_text("")
    answer = ros.call(Trigger, "demo_recorder/next")
    output.unlink()
    assert not answer.success and f"cannot create {output / 'take_0001'}" in answer.message
    output.with_name("elsewhere").rename(output)
    start(ros)


def test_keys_on_a_terminal_run_the_takes(ros, output, ros_domain):
    process, controller = on_a_terminal(output)
    rig = Rig(ros)
    try:
        first, second = output / "take_0001", output / "take_0002"
        rig.wait_frames(1)  # a press before the recorder has heard the camera is refused, as `~/start` is
        os.write(controller, b"n")
        until((first / "take_0001.mcap").exists, "n begins a take")
        rig.wait_frames(3)
        os.write(controller, b"\x1b[C")
        until((first / "metadata.yaml").exists, "the right arrow keeps it")
        os.write(controller, b"n")
        until((second / "take_0002.mcap").exists, "n begins the next")
        (second / "marker").touch()
        os.write(controller, b"\x1b[D")
        until(
            lambda: not (second / "marker").exists() and (second / "take_0002.mcap").exists(),
            "the left arrow discards it and begins it again",
        )
        rig.wait_frames(2)
        os.write(controller, b"\x1b")
        assert process.wait(START_TIMEOUT_S) == 0
        assert "keys: " in process.stdout.read().decode()
    finally:
        rig.stop()
        process.kill()
        process.wait()
        os.close(controller)
    assert bag_topics(output / "take_0002")["/camera/image_raw"] >= 2
    assert sorted(path.name for path in output.iterdir()) == ["take_0001", "take_0002"]


def test_keys_that_are_pressed_elsewhere_do_and_tell_the_same(ros, rig, recorder, output):
    answers = []

    def begun() -> bool:
        answers.append(call(ros, "next"))
        return answers[-1][0]

    until(begun, "a take begins")  # until camera and joints were heard, a refusal says what is missing
    assert answers[-1] == (True, "take 1: recording")
    assert all("nothing" in said for _, said in answers[:-1])
    assert (output / "take_0001" / "take_0001.mcap").exists()
    rig.wait_frames(3)
    kept, said = call(ros, "next")
    assert kept and re.fullmatch(r"take 1 kept, .*\. Set up the scene, then press →", said)
    done, said = call(ros, "again")
    aside = output / ".discarded" / "take_0001"
    assert done and f"take 1 discarded after it was kept; to get it back, `mv {aside} {output}/`" in said
    assert said.endswith("take 2: recording") and (aside / "metadata.yaml").is_file()
    done, said = call(ros, "again")  # one in progress is deleted
    assert (done, said) == (True, "take 2 discarded; take 2: recording")
    rig.wait_frames(3)
    ended, said = call(ros, "end")
    assert ended and re.fullmatch(r"take 2 kept, .*; the recorder ends", said) and "press" not in said
    assert recorder.wait() == 0
    assert bag_topics(output / "take_0002")["/camera/image_raw"] >= 3
    assert sorted(path.name for path in output.iterdir()) == [".discarded", "take_0002"]
    assert not re.findall(r"\]: take [12]", recorder.output), "it is printed where the keys are, and nowhere twice"


def own(terminal: int) -> None:
    """Make the terminal the child's own, as a shell does for a job in the foreground."""
    os.setsid()
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def test_a_take_that_is_no_good_is_put_aside_with_the_reason(ros: Ros, start_node, output: Path) -> None:
    start_node(MODULE, {"output": str(output), "quality": "reject"})
    rig = Rig(ros)  # whose joints never move
    try:
        for place in ("take_0001", "take_0001_2"):
            assert start(ros).name == "take_0001"
            rig.wait_frames(4)
            kept, said = call(ros, "stop")
            assert not kept and "no joint moved" in said and str(output / ".rejected" / place) in said
            assert (output / ".rejected" / place / "metadata.yaml").is_file() and not (output / "take_0001").exists()
        assert not call(ros, "discard")[0], "there is nothing left to discard"
    finally:
        rig.stop()


def test_a_take_that_is_no_good_is_kept_with_a_word_where_that_is_asked_for(ros: Ros, rig: Rig) -> None:
    take = start(ros)
    rig.wait_frames(4)
    kept, said = call(ros, "stop")
    assert kept and take.is_dir() and "no joint moved" in said
    read = "; ".join(remark.text for remark in read_take(take, ROBOT).remarks)
    assert said.endswith(f"; but {read}"), "whoever reads the take judges the same messages"


def test_idling_is_told_with_the_command_that_mends_it(ros: Ros, rig: Rig) -> None:
    rig.led = True
    rig.wait_frames(1)
    take = start(ros)
    rig.wait_frames(5)
    rig.still = True
    rig.wait_frames(30)
    kept, said = call(ros, "stop")
    assert kept and re.search(r"nothing moves in the last .*: trim it", said)
    assert f"(`vmail takes {take} --trim START END`, in s)" in said
