from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vmail_core.robot import RobotSpec
from vmail_hardware.bus import DynamixelBus
from vmail_hardware.control_table import RAD_PER_TICK, RAD_S_PER_UNIT, hardware_error_names, servo_model, servo_models
from vmail_hardware.emulator import EmulatedBus, FirstOrderPlant


def test_models_have_the_numbers_that_their_ping_tells() -> None:
    names = {number: model.name for number, model in servo_models().items()}
    assert names == {
        1030: "XM430-W210",
        1020: "XM430-W350",
        1010: "XH430-W210",
        1000: "XH430-W350",
        1050: "XH430-V210",
        1040: "XH430-V350",
        1130: "XM540-W150",
        1200: "XL330-M288",
        1190: "XL330-M077",
        1060: "XL430-W250",
        1160: "2XC430-W250",
    }
    assert all(model["model_number"].initial == number for number, model in servo_models().items())


def test_addresses_are_those_of_the_manual() -> None:
    addresses = {
        "return_delay_time": 9,
        "operating_mode": 11,
        "shutdown": 63,
        "torque_enable": 64,
        "hardware_error_status": 70,
        "bus_watchdog": 98,
        "goal_velocity": 104,
        "profile_velocity": 112,
        "goal_position": 116,
        "present_current": 126,
        "present_velocity": 128,
        "present_position": 132,
        "present_input_voltage": 144,
        "present_temperature": 146,
    }
    for model in servo_models().values():
        assert {name: model[name].address for name in addresses} == addresses


def test_registers_do_not_overlap() -> None:
    for model in servo_models().values():
        registers = sorted(model.registers.values(), key=lambda register: register.address)
        assert all(first.end <= second.address for first, second in zip(registers, registers[1:], strict=False))


def test_a_family_tells_only_how_it_differs() -> None:
    small, loaded = servo_model(1200), servo_model(1060)
    assert (small["position_p_gain"].initial, small["max_voltage_limit"].maximum) == (400, 70)
    assert servo_model(1190)["velocity_limit"].initial == 1620
    assert "goal_current" not in loaded.registers and loaded["position_d_gain"].initial == 4000
    assert servo_model(1030)["goal_current"].address == 102


@pytest.mark.parametrize("number", servo_models())
def test_every_model_is_driven_on_the_bus(spec: RobotSpec, tmp_path: Path, number: int) -> None:
    hand = dataclasses.replace(spec, servo_models=(number,))
    plant = FirstOrderPlant(spec.rest, time_constant_s=1e6)  # it does not move on while a busy machine looks away
    with EmulatedBus(tmp_path / "bus", hand, plant) as emulated:
        bus = DynamixelBus(str(emulated.path), hand, reply_timeout_ms=200.0)
        bus.open()
        bus.set_torque(True)
        plant.push(spec.rest + 0.1)
        state = bus.read()
        np.testing.assert_allclose(state.position, spec.rest + 0.1, atol=0.01)
        np.testing.assert_allclose(state.current_ma, -30.0, atol=5.0)  # 300 mA a radian from the goal
        assert bus.read_health().voltage_v == servo_model(number).nominal_voltage_v
        assert bus.servos == dict.fromkeys(spec.servo_ids, number)
        bus.close()


def test_units() -> None:
    assert RAD_PER_TICK * 4096 == pytest.approx(6.283185307)
    assert RAD_S_PER_UNIT == pytest.approx(0.229 / 60 * 6.283185307)
    assert servo_model(1030).current_unit_ma == 2.69
    assert servo_model(1050).current_unit_ma == 1.34


def test_signed_registers_encode_both_ways() -> None:
    velocity = servo_model(1030)["present_velocity"]
    assert velocity.encode(-3) == b"\xfd\xff\xff\xff"
    assert velocity.decode(b"\xfd\xff\xff\xff") == -3
    assert servo_model(1030)["bus_watchdog"].decode(b"\xff") == -1


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"number 350;.*XM430-W210 \(1030\)"):
        servo_model(350)


def test_hardware_errors_have_names() -> None:
    assert hardware_error_names(0x24) == ("overheating", "overload")
    assert hardware_error_names(0) == ()
    assert hardware_error_names(0x81) == ("input voltage", "unknown bits 0x80")
