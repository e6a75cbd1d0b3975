import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from takes import ROBOT, START_NS, Msg, feed, from_bag, live, make_take, stamps, ticking, without

from vmail_core.episodes.alignment import LiveAlignment, Row, action_of_tick, segments
from vmail_core.episodes.bag_reading import IMAGE, JOINTS, REQUEST, SENT


def assert_same(one: list[list[Row]], other: list[list[Row]]) -> None:
    assert [len(run) for run in one] == [len(run) for run in other]
    for first, second in zip(sum(one, []), sum(other, []), strict=True):
        assert first.stamp_ns == second.stamp_ns
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.action, second.action)
        np.testing.assert_array_equal(first.joint_positions, second.joint_positions)


def test_rows_are_what_the_contract_says():
    messages = make_take(ticks=20, seed=3)
    (run,) = segments(from_bag(messages)[0])
    assert len(run) == 21  # twenty commands and the frame that the last one led to
    assert [row.stamp_ns for row in run] == stamps(messages, IMAGE)
    assert not run[0].action.any()
    requests = {m.stamp_ns: m.value for m in messages if m.topic == REQUEST}
    joints = [m for m in messages if m.topic == JOINTS]
    for before, row in zip(run, run[1:], strict=False):
        # action[t] led to frame t: it was computed from the frame before.
        np.testing.assert_array_equal(row.action, ROBOT.action_of(requests[before.stamp_ns]))
        last = [m.value for m in joints if m.stamp_ns <= row.stamp_ns][-1]
        np.testing.assert_array_equal(row.joint_positions, last.astype(np.float32))


@pytest.mark.parametrize("camera_hz", [10.0, 15.0, 25.0, 30.0, 60.0])
def test_bag_and_live_agree(camera_hz):
    messages = make_take(ticks=30, seed=1, camera_hz=camera_hz, commander=ticking())
    in_bag, at_once = segments(from_bag(messages)[0]), segments(live(messages)[0])
    assert [len(run) for run in in_bag] == [31]
    assert_same(in_bag, at_once)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([10.0, 25.0, 30.0]), st.floats(0, 8), st.floats(0, 0.15))
def test_bag_and_live_agree_whatever_is_lost(seed, camera_hz, jitter_ms, loss):
    rng = np.random.default_rng(seed)
    offer, lost_frames = ticking(), set()

    def commander(stamp_ns: int) -> bool:
        """As the runner: it never sees a frame that is lost."""
        if rng.random() < loss:
            lost_frames.add(stamp_ns)
            return False
        return offer(stamp_ns)

    messages = make_take(15, seed, camera_hz, jitter_ms, commander=commander)
    lost_sent = {stamp for stamp in stamps(messages, SENT) if rng.random() < loss}
    # The runner knows its own requests; a recorder may lose one, and then takes the tick from what was sent.
    lost_requests = {stamp for stamp in stamps(messages, SENT) if rng.random() < loss} - lost_sent
    lost = {IMAGE: lost_frames, SENT: lost_sent, REQUEST: lost_requests}
    # A runner without a joint state does not command; this commander would, so those before the first frame stay.
    first = stamps(messages, IMAGE)[0]
    lost[JOINTS] = {stamp for stamp in stamps(messages, JOINTS) if rng.random() < loss and stamp > first}
    kept = [message for message in messages if message.stamp_ns not in lost[message.topic]]
    assert_same(segments(from_bag(kept)[0]), segments(live(kept)[0]))


def test_a_hold_is_stored_as_what_was_sent():
    messages = make_take(ticks=10, seed=5)
    stamp = stamps(messages, SENT)[4]
    present = [m.value for m in messages if m.topic == JOINTS][40]
    held = [Msg(SENT, m.log_ns, stamp, present) if (m.topic, m.stamp_ns) == (SENT, stamp) else m for m in messages]
    (run,) = segments(from_bag(held)[0])
    np.testing.assert_array_equal(run[5].action, ROBOT.action_of(present))
    (untouched,) = segments(from_bag(messages)[0])
    assert np.abs(run[5].action - untouched[5].action).max() > 0.1
    np.testing.assert_array_equal(run[6].action, untouched[6].action)


def test_the_request_counts_where_only_the_speed_was_limited():
    present, request = ROBOT.rest, ROBOT.desired_positions(np.full(9, 0.9))
    sent = ROBOT.limit_step(request, present)
    assert np.abs(sent - request).max() > 0.5
    np.testing.assert_array_equal(action_of_tick(ROBOT, request, sent, [present]), ROBOT.action_of(request))
    # The guard read the joints 10 ms before or after the reading that was recorded.
    moved = [present - 0.02, present + 0.02]
    np.testing.assert_array_equal(action_of_tick(ROBOT, request, sent, moved), ROBOT.action_of(request))
    np.testing.assert_array_equal(action_of_tick(ROBOT, request, sent + 0.01, [present]), ROBOT.action_of(sent + 0.01))
    np.testing.assert_array_equal(action_of_tick(ROBOT, None, sent, [present]), ROBOT.action_of(sent))


def test_a_lost_frame_splits_the_take():
    messages = make_take(ticks=20)
    stamp = stamps(messages, IMAGE)[8]
    rows, alignment = from_bag(without(messages, IMAGE, stamp))
    assert [len(run) for run in segments(rows)] == [8, 12]
    assert [row.reason for row in rows if row.first] == ["start", "gap of 0.20 s between frames"]
    assert alignment.counts["command without its frame"] == 1


def test_a_lost_command_splits_the_take_and_its_frame_closes_the_first_part():
    messages = make_take(ticks=20)
    stamp = stamps(messages, SENT)[8]
    rows, _ = from_bag(without(messages, SENT, stamp))
    runs = segments(rows)
    assert [len(run) for run in runs] == [9, 12]
    assert runs[0][-1].stamp_ns == stamp
    assert runs[1][0].reason == "no command was sent for the frame before"
    assert not runs[1][0].action.any()


def test_a_command_that_was_sent_after_the_next_frame_does_not_count():
    messages = make_take(ticks=10)
    late = next(m for m in messages if m.topic == SENT and m.stamp_ns == stamps(messages, SENT)[4])
    moved = [m for m in messages if m is not late]
    moved.insert(moved.index(next(m for m in moved if m.topic == IMAGE and m.stamp_ns > late.stamp_ns)) + 1, late)
    rows, _ = from_bag(moved)
    assert "the command for the frame before was sent after this frame" in [row.reason for row in rows]
    assert_same(segments(rows), segments(live(moved)[0]))


def test_a_command_that_was_recorded_before_its_frame_finds_it():
    messages = make_take(ticks=10)
    swapped = list(messages)
    for stamp in (stamps(messages, SENT)[0], stamps(messages, SENT)[5]):
        frame = next(m for m in messages if (m.topic, m.stamp_ns) == (IMAGE, stamp))
        swapped.remove(frame)
        sent = next(m for m in swapped if (m.topic, m.stamp_ns) == (SENT, stamp))
        swapped.insert(swapped.index(sent) + 1, frame)
    rows, alignment = from_bag(swapped)
    assert not alignment.counts
    assert_same(segments(rows), segments(from_bag(messages)[0]))


def test_repeated_messages_change_nothing_and_are_counted():
    messages = make_take(ticks=10)
    doubled = [m for message in messages for m in (message, message)]
    rows, alignment = from_bag(doubled)
    assert_same(segments(rows), segments(from_bag(messages)[0]))
    assert alignment.counts["duplicate frame"] == 11
    assert alignment.counts["command sent twice"] == 10


def test_frames_without_joint_states_are_no_ticks():
    messages = make_take(ticks=10)
    first, fifth = stamps(messages, IMAGE)[0], stamps(messages, IMAGE)[5]
    no_start = [m for m in messages if m.topic != JOINTS or m.stamp_ns > first]
    rows, alignment = live(no_start)
    assert rows[0].stamp_ns > first
    assert alignment.counts["no joint state before the frame"] == 1
    silent = [m for m in messages if m.topic != JOINTS or m.stamp_ns < fifth - 250_000_000]
    rows, alignment = live(silent)
    assert rows[-1].stamp_ns < fifth
    assert alignment.counts["joint state older than a control period"] >= 5


def test_frames_without_joints_are_counted_from_the_first_of_them():
    frames = stamps(make_take(ticks=10), IMAGE)
    lost = (frames[3], frames[6] - 30_000_000)
    alignment, since = LiveAlignment(ROBOT, (16, 16)), {}
    for message in make_take(ticks=10):
        if message.topic != JOINTS or not lost[0] - 110_000_000 < message.stamp_ns < lost[1]:
            feed(alignment, [message])
        if message.topic == IMAGE:
            since[message.stamp_ns] = alignment.unpaired_since_ns
    assert [since[stamp] for stamp in frames[:7]] == [None, None, None, frames[3], frames[3], frames[3], None]


def test_only_commanded_frames_are_ticks_of_a_bag():
    # Ten seconds of camera before, and after, two seconds of commands.
    late = START_NS + 10_000_000_000
    messages = make_take(ticks=20, commander=lambda stamp: stamp > late)
    idle = [
        Msg(m.topic, m.log_ns + 60_000_000_000, m.stamp_ns + 60_000_000_000, m.value)
        for m in make_take(ticks=1, commander=lambda stamp: stamp > late)
        if m.topic in (IMAGE, JOINTS)
    ]
    rows, alignment = from_bag(messages + idle)
    (run,) = segments(rows)
    assert len(rows) == len(run) == 21
    assert run[0].stamp_ns > late
    assert len(alignment._pending) <= 25, "frames that can be no tick any more must not pile up"


def test_a_long_live_run_keeps_its_size():
    alignment = LiveAlignment(ROBOT, (16, 16))
    feed(alignment, make_take(ticks=300))
    assert len(alignment._joints) <= 202
    assert len(alignment._sent) <= 25
    assert len(alignment._requests) <= 25


def test_frames_are_resized_once_to_the_size_that_was_asked_for():
    rows, _ = from_bag(make_take(ticks=6, size=32), size=(16, 16))
    assert {row.image.shape for row in rows} == {(16, 16, 3)}
    default = LiveAlignment(ROBOT)
    assert default.image_size == (ROBOT.camera_height, ROBOT.camera_width)


@pytest.mark.parametrize("positions", [np.zeros(8), np.full(9, np.nan)])
def test_positions_that_do_not_fit_the_robot_are_refused(positions):
    alignment = LiveAlignment(ROBOT)
    for feed_one, topic in (
        (alignment.on_joint_states, "joint_states"),
        (alignment.on_request, "joint_commands"),
        (alignment.on_sent, "joint_commands_sent"),
    ):
        with pytest.raises(ValueError, match=f"{topic}: needs 9 finite positions for robot dclaw"):
            feed_one(1, positions)
