"""demo_recorder by keys: on its own terminal, and from where the keyboard teleoperates."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

from recorder_rig import MODULE, ROBOT, Rig, bag_topics, call, start
from ros_harness import START_TIMEOUT_S, until
from std_srvs.srv import Trigger

from vmail_core.episodes.bag_import import import_bags


def own(terminal: int) -> None:
    """Make the terminal the child's own, as a shell does for a job in the foreground."""
    os.setsid()
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


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
