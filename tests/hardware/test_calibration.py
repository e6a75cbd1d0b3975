"""Zeros and travel of a hand: wrap-around, forgotten joints, what is stored and what is refused later."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vmail_core.robot import load_robot
from vmail_hardware.calibration import (
    Calibration,
    CalibrationError,
    Sweep,
    calibrate,
    default_path,
    load_calibration,
)

SPEC = load_robot("dclaw")
MIRRORED = dataclasses.replace(SPEC, direction=np.where(np.arange(9) % 2, -1.0, 1.0))
SERVOS = dict.fromkeys(SPEC.servo_ids, 1030)
TURN = 2.0 * np.pi
SLACK = 0.15  # beyond the joints' limits, on either side


def swept(spec=SPEC, zero=SPEC.zero_rad, least=1.0, wrap=False, forget: int | None = None) -> Sweep:
    """A hand whose joints were moved from end to end; the servos' readings jump where they pass a turn."""
    sweep, lower, upper = Sweep(spec), spec.lower - SLACK, spec.upper + SLACK
    for share in np.concatenate([np.linspace(0.5, 0, 40), np.linspace(0, 1, 80), np.linspace(1, 0.5, 40)]):
        joints = lower + share * least * (upper - lower)
        if forget is not None:
            joints[forget] = 0.0
        servo = zero + spec.direction * joints
        sweep.add(np.mod(servo, TURN) if wrap else servo)
    return sweep


def reads(spec=SPEC, zero=SPEC.zero_rad, home=None, shake: float = 0.0) -> list[np.ndarray]:
    home = np.zeros(9) if home is None else home
    return [zero + spec.direction * home + shake * step for step in range(5)]


def made(spec=SPEC, zero=SPEC.zero_rad) -> Calibration:
    return calibrate(spec, swept(spec, zero), reads(spec, zero), np.zeros(9), SERVOS)


@pytest.mark.parametrize("spec", [SPEC, MIRRORED])
def test_zeros_and_travel_are_found(spec) -> None:
    zero = SPEC.zero_rad + np.linspace(-0.2, 0.2, 9)
    found = made(spec, zero)
    np.testing.assert_allclose(found.zero_rad, zero)
    np.testing.assert_allclose(found.lowest, spec.lower - SLACK, atol=1e-9)
    np.testing.assert_allclose(found.highest, spec.upper + SLACK, atol=1e-9)
    np.testing.assert_allclose(found.apply(spec).zero_rad, zero)


def test_a_home_pose_other_than_zero() -> None:
    found = calibrate(SPEC, swept(), reads(home=SPEC.rest), SPEC.rest, SERVOS)
    np.testing.assert_allclose(found.zero_rad, SPEC.zero_rad)


def test_readings_that_wrap_around_count_on_and_such_a_mounting_is_refused_with_what_to_do() -> None:
    zero = SPEC.zero_rad.copy()
    zero[4] = 0.3  # the travel of 1.2 rad to either side passes the servo's zero
    sweep = swept(zero=zero, wrap=True)
    np.testing.assert_allclose(sweep.travel, SPEC.upper - SPEC.lower + 2 * SLACK, atol=1e-9)
    with pytest.raises(
        CalibrationError, match=r"MFJ21 \(servo 21\) passes the servo's own zero.*turn its horn by about 163 "
    ):
        calibrate(SPEC, sweep, reads(zero=zero), np.zeros(9), SERVOS)


def test_a_servo_that_counts_turns_is_to_begin_anew() -> None:
    zero = SPEC.zero_rad.copy()
    zero[4] = -np.pi  # it was turned backwards, through its zero
    with pytest.raises(CalibrationError, match=r"MFJ21 \(servo 21\) was turned past .*switch the servos' power off"):
        calibrate(SPEC, swept(zero=zero), reads(zero=zero), np.zeros(9), SERVOS)


def test_limits_that_reach_past_a_servos_zero_are_refused() -> None:
    zero = SPEC.zero_rad.copy()
    zero[4] = 0.05 - SPEC.lower[4] + SLACK - 0.2
    found = dataclasses.replace(made(), zero_rad=zero)
    with pytest.raises(CalibrationError, match=r"limits of MFJ21 \(servo 21\) .* reach past the servo's own zero"):
        found.apply(dataclasses.replace(SPEC, lower=SPEC.lower - np.eye(9)[4] * 0.09))


def test_whole_turns_that_the_sweep_counted_do_not_matter() -> None:
    sweep = swept(zero=SPEC.zero_rad + TURN)
    found = calibrate(SPEC, sweep, reads(), np.zeros(9), SERVOS)
    np.testing.assert_allclose(found.lowest, SPEC.lower - SLACK, atol=1e-9)


def test_what_was_not_done_properly_is_named() -> None:
    with pytest.raises(CalibrationError, match="FFJ12 hardly moved"):
        calibrate(SPEC, swept(forget=2), reads(), np.zeros(9), SERVOS)
    with pytest.raises(CalibrationError, match="moved while the home pose was read"):
        calibrate(SPEC, swept(), reads(shake=0.02), np.zeros(9), SERVOS)


def test_a_calibration_is_read_as_it_was_written_and_the_one_before_is_kept(tmp_path: Path) -> None:
    first, second = made(), made(zero=SPEC.zero_rad + 0.1)
    path = tmp_path / "deep" / "dclaw.yaml"
    first.save(path)
    assert load_calibration(path).digest() == first.digest() != second.digest()
    second.save(path)
    np.testing.assert_allclose(load_calibration(path).zero_rad, second.zero_rad, atol=1e-6)
    (old,) = path.parent.glob("dclaw.until-*.yaml")
    assert load_calibration(old).digest() == first.digest()


def test_a_hand_that_has_changed_since_is_refused() -> None:
    found = made()
    found.check(SPEC, SERVOS, SPEC.rest)
    turned = SPEC.rest.copy()
    turned[7] = SPEC.upper[7] + 0.4
    with pytest.raises(CalibrationError, match=r"THJ31 \(servo 31\) stands at 1\.45 rad.*run `vmail calibrate`"):
        found.check(SPEC, SERVOS, turned)
    with pytest.raises(CalibrationError, match="servo 20 is of another model"):
        found.check(SPEC, SERVOS | {20: 1060}, SPEC.rest)
    with pytest.raises(CalibrationError, match=r"FFJ11 \(servo 11\) has another direction"):
        found.apply(MIRRORED)
    with pytest.raises(CalibrationError, match="is of robot dclaw"):
        found.apply(dataclasses.replace(SPEC, name="left"))
    with pytest.raises(CalibrationError, match=r"FFJ10 \(servo 10\) travels from -0\.63 to 0\.63 rad, but its limits"):
        found.apply(dataclasses.replace(SPEC, upper=SPEC.upper + np.r_[0.5, np.zeros(8)]))


@pytest.mark.parametrize("text", ["{", "robot: dclaw\n", "a: 1\n", "[]", ""])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "dclaw.yaml"
    path.write_text(text)
    with pytest.raises(CalibrationError, match=r"dclaw\.yaml is damaged"):
        load_calibration(path)


def test_no_file_says_how_to_make_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert default_path(SPEC) == tmp_path / "vmail" / "calibration" / "dclaw.yaml"
    with pytest.raises(FileNotFoundError, match="vmail calibrate"):
        load_calibration(default_path(SPEC))
