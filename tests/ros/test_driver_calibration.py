"""dynamixel_driver on a hand that was calibrated: it reads that hand's zeros, and refuses another hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from driver_process import MODULE, start_driver
from ros_harness import NodeProcess, Ros, until
from sensor_msgs.msg import JointState

from vmail_core.robot import load_robot
from vmail_hardware.calibration import Calibration, default_path
from vmail_hardware.emulator import EmulatedBus
from vmail_nodes.qos import SENSOR_SUBSCRIBER

SPEC = load_robot("dclaw")
PATIENCE = {"reply_timeout_ms": 60.0}


def calibration(shift: float, path: Path) -> str:
    """A file that says that every joint's zero lies `shift` rad from where the robot's file has it."""
    servos = dict.fromkeys(SPEC.servo_ids, SPEC.servo_models[0])
    travel = (SPEC.lower - 0.2, SPEC.upper + 0.2)
    return str(
        Calibration(
            SPEC.name, "2026-11-26T10:00:00+00:00", servos, SPEC.direction, SPEC.zero_rad + shift, *travel
        ).save(path)
    )


@pytest.mark.parametrize("by_user", [False, True])
def test_a_calibrated_hand_reads_its_own_zeros(
    ros: Ros, start_node: Callable[..., NodeProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_user: bool
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    file = calibration(0.1, default_path(SPEC) if by_user else tmp_path / "hand.yaml")
    with EmulatedBus(tmp_path / "servos", SPEC) as servos:
        given = {} if by_user else {"calibration": file}
        driver = start_driver(start_node, {"port": str(servos.path), **PATIENCE, **given})
        assert "calibrated on 2026-11-26" in driver.output
        state = ros.collect(JointState, "joint_states", SENSOR_SUBSCRIBER).wait_for(1)[0]
        np.testing.assert_allclose(state.position, SPEC.rest - 0.1, atol=0.01)


def test_a_hand_that_is_not_the_calibrated_one_is_refused(
    start_node: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    with EmulatedBus(tmp_path / "servos", SPEC) as servos:
        file = calibration(1.0, tmp_path / "hand.yaml")
        driver = start_node(MODULE, {"port": str(servos.path), **PATIENCE, "calibration": file})
        assert driver.wait() == 1
        assert "outside of the travel" in driver.output and "run `vmail calibrate`" in driver.output
        missing = start_node(MODULE, {"port": str(servos.path), "calibration": str(tmp_path / "none.yaml")})
        assert missing.wait() == 1
        assert "no calibration at" in missing.output


def test_what_a_killed_driver_held_comes_down_slowly_where_the_next_one_is_refused(
    start_node: Callable[..., NodeProcess], tmp_path: Path
) -> None:
    with EmulatedBus(tmp_path / "servos", SPEC) as servos:
        killed = start_driver(start_node, {"port": str(servos.path), **PATIENCE})
        killed.process.kill()
        killed.process.wait()
        file = calibration(1.0, tmp_path / "hand.yaml")
        driver = start_node(MODULE, {"port": str(servos.path), **PATIENCE, "calibration": file, "release_s": 2.0})
        servo, shares = servos.servo(10), set()

        def ended() -> bool:
            shares.add(servo.get("goal_pwm") / servo.get("pwm_limit") if servo.get("torque_enable") else 0.0)
            return driver.process.poll() is not None

        until(ended, "the driver is refused")
        assert driver.wait() == 1 and "outside of the travel" in driver.output
        assert servo.get("torque_enable") == 0
        assert any(0.2 < share < 0.8 for share in shares), shares
