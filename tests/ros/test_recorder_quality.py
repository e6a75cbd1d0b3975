"""demo_recorder on takes that are no good: put aside, or kept with a word."""

from __future__ import annotations

import re
from pathlib import Path

from recorder_rig import MODULE, ROBOT, Rig, call, start
from ros_harness import Ros

from vmail.takes import read_take


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
