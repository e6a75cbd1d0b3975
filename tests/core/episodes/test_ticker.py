import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmail_core.episodes.ticker import Ticker


def ticks(stamps_ms, rate_hz: float = 10.0) -> tuple[list[float], Ticker]:
    ticker = Ticker(rate_hz)
    return [stamp for stamp in stamps_ms if ticker.offer(round(stamp * 1e6))], ticker


@pytest.mark.parametrize("camera_hz", [10, 20, 30, 60, 90, 120])
def test_a_camera_at_a_multiple_of_the_rate_ticks_evenly(camera_hz):
    taken, ticker = ticks(np.arange(0, 20_000, 1000 / camera_hz))
    np.testing.assert_allclose(np.diff(taken), 100, atol=1e-6)
    assert not ticker.counts


@pytest.mark.parametrize("camera_hz", [9.8, 10.2, 15, 24, 25, 29.97, 37, 59.94])
def test_any_other_rate_keeps_the_mean_and_misses_no_tick(camera_hz):
    taken, ticker = ticks(np.arange(0, 60_000, 1000 / camera_hz))
    camera_ms = 1000 / camera_hz
    expected_ms = camera_ms if abs(camera_ms - 100) < 3 else 100  # a camera near the rate: every frame
    assert np.diff(taken).mean() == pytest.approx(expected_ms, rel=0.02)
    assert np.abs(np.diff(taken) - expected_ms).max() <= camera_ms / 2 + 8
    assert not ticker.counts


@given(st.integers(0, 2**32), st.sampled_from([10.0, 30.0, 60.0]), st.floats(0, 0.2))
def test_jitter_of_a_fifth_of_a_frame_misses_no_tick(seed, camera_hz, share):
    camera_ms = 1000 / camera_hz
    jitter = np.random.default_rng(seed).uniform(-share, share, 600) * camera_ms
    jitter[:5] = 0.0  # the camera's rate is told by its first frames: early ones among them look like a faster one's
    taken, ticker = ticks(np.arange(600) * camera_ms + jitter)
    assert "missed tick" not in ticker.counts
    assert len(taken) == pytest.approx(600 * 10 / camera_hz, rel=0.02, abs=1)


def test_a_slow_camera_ticks_on_every_frame_and_its_gaps_are_counted():
    taken, ticker = ticks(np.arange(0, 2000, 200))
    assert len(taken) == 10
    assert ticker.counts == {"missed tick": 9}


def test_after_a_pause_the_ticks_go_on_evenly():
    stamps = [*np.arange(0, 1000, 1000 / 30), *np.arange(1600, 2600, 1000 / 30)]
    taken, ticker = ticks(stamps)
    after = [stamp for stamp in taken if stamp >= 1600]
    assert after[0] == 1600
    np.testing.assert_allclose(np.diff(after), 100, atol=1e-6)
    assert ticker.counts["missed tick"] == 6  # 1000 to 1500


def test_repeated_and_late_frames_are_dropped_and_counted():
    taken, ticker = ticks([0, 0, 100, 50, 100, 200])
    assert taken == [0, 100, 200]
    assert ticker.counts == {"duplicate frame": 2, "frame out of order": 1}


def test_same_stamps_give_same_ticks():
    stamps = np.cumsum(np.random.default_rng(1).uniform(5, 60, 500))
    assert ticks(stamps)[0] == ticks(stamps)[0]


def test_a_rate_must_be_positive():
    with pytest.raises(ValueError, match="control rate"):
        Ticker(0)
