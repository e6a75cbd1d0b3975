"""A take's quality: sound ones pass in silence, each trouble is named, and how bad it is."""

from __future__ import annotations

import numpy as np
import pytest

from vmail_core.episodes.quality import Quality, Verdict
from vmail_core.robot import load_robot

ROBOT = load_robot("dclaw")
SECONDS = 8.0
MIDDLE = (ROBOT.lower + ROBOT.upper) / 2.0


def take(
    rate: float = 10.0,
    gap: float = 0.0,
    grey: int = 120,
    frozen: float = 0.0,
    sensor: bool = True,
    commands: int = 80,
    held: float = 0.0,
    idle_start: float = 0.0,
    idle_end: float = 0.0,
    joints: bool = True,
    joints_gap: float = 0.0,
    offset: np.ndarray | float = 0.0,
    moves: float = 0.3,
) -> Quality:
    """Eight seconds, sound but for what is asked for; gaps and freezes begin at 4 s."""
    quality, rng = Quality(ROBOT, sensor), np.random.default_rng(0)
    still = rng.integers(0, 2 * grey + 1, 64 * 64 * 3).astype(np.uint8)
    for now in np.arange(0.0, SECONDS, 1.0 / rate):
        if not 4.0 <= now < 4.0 + gap:
            noise = np.zeros_like(still) if 4.0 <= now < 4.0 + frozen else rng.integers(0, 3, still.shape, np.uint8)
            quality.picture(round(now * 1e9), np.minimum(still.astype(int) + noise, 255).astype(np.uint8))
    for now in np.arange(0.0, SECONDS if joints else 0.0, 0.01):
        if not 4.0 <= now < 4.0 + joints_gap:
            swing = moves * np.sin(np.clip(now - idle_start, 0.0, SECONDS - idle_start - idle_end))
            quality.joints(round(now * 1e9), np.clip(MIDDLE + offset + swing, ROBOT.lower, ROBOT.upper))
    for count in range(commands):
        now = SECONDS * count / commands
        if not 4.0 <= now < 4.0 + held:
            quality.command(round(now * 1e9))
    return quality


def test_a_sound_take_is_accepted_without_a_word() -> None:
    assert take().remarks() == [] and take().verdict() is Verdict.ACCEPT


@pytest.mark.parametrize(
    ("trouble", "verdict", "word"),
    [
        ({"rate": 6.0}, Verdict.REJECT, "pictures come 6.0 times a second, the policy needs 10"),
        ({"gap": 0.35}, Verdict.WARN, "no picture for 0."),
        ({"gap": 1.0}, Verdict.REJECT, "no picture for 1."),
        ({"grey": 4}, Verdict.REJECT, "nothing can be seen in 100%"),
        ({"frozen": 1.5}, Verdict.REJECT, "the same picture for 1."),
        ({"commands": 0}, Verdict.REJECT, "nothing was commanded"),
        ({"held": 2.0}, Verdict.WARN, "no command was sent for 2.1 s, from 3.9 s on"),
        ({"idle_start": 3.0}, Verdict.WARN, "nothing moves in the first 3."),
        ({"idle_end": 3.0}, Verdict.WARN, "nothing moves in the last 3."),
        ({"moves": 0.0}, Verdict.REJECT, "no joint moved"),
        ({"joints": False}, Verdict.REJECT, "no joint states"),
        ({"joints_gap": 0.5}, Verdict.WARN, "no joint states for 0.5"),
        ({"offset": np.r_[1.0, np.zeros(8)]}, Verdict.WARN, "FFJ10 at the limit"),
    ],
)
def test_each_trouble_is_named_with_how_bad_it_is(trouble: dict, verdict: Verdict, word: str) -> None:
    quality = take(**trouble)
    (remark,) = quality.remarks()
    assert (remark.verdict, quality.verdict()) == (verdict, verdict) and remark.text.startswith(word)


def test_rendered_pictures_may_repeat_and_nothing_at_all_is_no_take() -> None:
    assert take(frozen=2.0, sensor=False).verdict() is Verdict.ACCEPT
    assert [remark.verdict for remark in Quality(ROBOT).remarks()] == [Verdict.REJECT] * 3


def test_the_worst_comes_first() -> None:
    remarks = take(idle_start=3.0, gap=1.0).remarks()
    assert [remark.verdict for remark in remarks] == [Verdict.REJECT, Verdict.WARN]


def test_a_hand_that_comes_to_rest_just_before_the_take_stands_idle_all_the_same() -> None:
    quality = take(joints=False)
    for step in range(800):
        resting, moving = 0.3 * max(0.0, 1.0 - step / 25), 0.2 * (step > 500)
        quality.joints(step * 10_000_000, MIDDLE + resting + moving)
    assert [remark.text for remark in quality.remarks()][0].startswith("nothing moves in the first 5.0 s")


def test_joints_that_hardly_stray_are_judged_too() -> None:
    quality = take(joints=False)
    for step, angle in enumerate([0.0] * 40 + [0.04, 0.02]):
        quality.joints(step * 10_000_000, MIDDLE + angle)
    assert quality.verdict() is Verdict.ACCEPT


def recorded(joints_ahead_s: float = 0.0, back_s: float = 0.0) -> Quality:
    """A take of four seconds, whose joint states are stamped earlier, or whose clock is set back in its middle."""
    quality, random = Quality(ROBOT), np.random.default_rng(0)
    for tick in range(400):
        now = 10.0 + 0.01 * tick - (back_s if tick >= 200 else 0.0)
        quality.joints(round(1e9 * (now - joints_ahead_s)), MIDDLE + 0.1 * np.sin(0.05 * tick))
        if tick % 10 == 5:
            quality.picture(round(1e9 * now), random.integers(50, 200, 3000, np.uint8).reshape(-1))
            quality.command(round(1e9 * now))
    return quality


def test_clocks_that_differ_are_told() -> None:
    assert not recorded().remarks() and not recorded(joints_ahead_s=0.02).remarks()
    (apart,) = recorded(joints_ahead_s=1.0).remarks()
    assert apart.verdict is Verdict.REJECT and "do their clocks differ" in apart.text
    (back, *_) = [remark for remark in recorded(back_s=2.5).remarks() if "set back by 2.5 s" in remark.text]
    assert back.verdict is Verdict.WARN
