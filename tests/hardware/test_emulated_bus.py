"""The real dynamixel-sdk against the emulated bus, as any program would use it."""

from __future__ import annotations

import os
import termios
import time
from pathlib import Path

import numpy as np
import pytest
from dynamixel_sdk import (
    COMM_RX_CORRUPT,
    COMM_RX_TIMEOUT,
    COMM_SUCCESS,
    GroupBulkRead,
    GroupBulkWrite,
    GroupSyncRead,
    GroupSyncWrite,
)

from vmail_core.robot import RobotSpec
from vmail_hardware.control_table import RAD_PER_TICK, RAD_S_PER_UNIT
from vmail_hardware.emulator import EmulatedBus, Faults, FirstOrderPlant
from vmail_hardware.emulator.plant import Measured

from .conftest import Sdk

ACCESS, RANGE, LIMIT, INSTRUCTION, ALERT = 7, 4, 6, 2, 0x80


class StillPlant:
    """Joints that show what they are told to show."""

    pushes = 0

    def __init__(self, position: np.ndarray, velocity: np.ndarray, current_ma: np.ndarray) -> None:
        self.values = (position, velocity, current_ma)
        self.goals: np.ndarray | None = None

    def measured(self) -> Measured:
        position, velocity, current_ma = self.values
        return position.tolist(), velocity.tolist(), current_ma.tolist()

    def set_goals(self, goals: np.ndarray, torque_enabled: np.ndarray) -> None:
        self.goals = goals


def test_ping_and_broadcast_ping(sdk: Sdk, spec: RobotSpec) -> None:
    assert sdk.packets.ping(sdk.port, 31) == (1030, COMM_SUCCESS, 0)
    assert sdk.packets.ping(sdk.port, 77)[1] == COMM_RX_TIMEOUT
    found, result = sdk.packets.broadcastPing(sdk.port)
    assert result == COMM_SUCCESS
    assert sorted(found) == sorted(spec.servo_ids)


def test_writes_and_reads_of_one_servo(sdk: Sdk) -> None:
    assert sdk.packets.write4ByteTxRx(sdk.port, 20, 116, 1500) == (COMM_SUCCESS, 0)
    assert sdk.packets.read4ByteTxRx(sdk.port, 20, 116) == (1500, COMM_SUCCESS, 0)
    assert sdk.packets.read4ByteTxRx(sdk.port, 21, 116)[0] != 1500


@pytest.mark.parametrize("call", ["txRxPacket", "fastSyncRead"])
def test_sync_read_and_sync_write(sdk: Sdk, spec: RobotSpec, call: str) -> None:
    goals = dict(zip(spec.servo_ids, range(1000, 1900, 100), strict=True))
    writer = GroupSyncWrite(sdk.port, sdk.packets, 116, 4)
    reader = GroupSyncRead(sdk.port, sdk.packets, 116, 4)
    for servo_id, goal in goals.items():
        writer.addParam(servo_id, list(goal.to_bytes(4, "little")))
        reader.addParam(servo_id)
    assert writer.txPacket() == COMM_SUCCESS
    assert getattr(reader, call)() == COMM_SUCCESS
    assert {servo_id: reader.getData(servo_id, 116, 4) for servo_id in goals} == goals


def test_bulk_read_and_bulk_write(sdk: Sdk) -> None:
    writer = GroupBulkWrite(sdk.port, sdk.packets)
    writer.addParam(10, 116, 4, list((1111).to_bytes(4, "little")))
    writer.addParam(32, 65, 1, [1])
    assert writer.txPacket() == COMM_SUCCESS
    reader = GroupBulkRead(sdk.port, sdk.packets)
    reader.addParam(10, 116, 4)
    reader.addParam(32, 65, 1)
    assert reader.txRxPacket() == COMM_SUCCESS
    assert (reader.getData(10, 116, 4), reader.getData(32, 65, 1)) == (1111, 1)


def test_registered_write_waits_for_the_action(sdk: Sdk) -> None:
    sdk.packets.regWriteTxRx(sdk.port, 10, 116, 4, list((1234).to_bytes(4, "little")))
    assert sdk.packets.read1ByteTxRx(sdk.port, 10, 69)[0] == 1
    assert sdk.packets.read4ByteTxRx(sdk.port, 10, 116)[0] != 1234
    sdk.packets.action(sdk.port, 0xFE)
    assert sdk.packets.read4ByteTxRx(sdk.port, 10, 116)[0] == 1234
    assert sdk.packets.read1ByteTxRx(sdk.port, 10, 69)[0] == 0


def test_present_values_come_from_the_plant_in_the_servos_units(spec: RobotSpec, tmp_path: Path) -> None:
    # -1 unit of current and -3 of velocity put FF FF FD into the answer, which must be stuffed.
    n = spec.action_size
    plant = StillPlant(spec.rest, np.full(n, -3 * RAD_S_PER_UNIT), np.full(n, -2.69))
    with EmulatedBus(tmp_path / "bus", spec, plant) as emulated:
        sdk = Sdk(emulated.path)
        reader = GroupSyncRead(sdk.port, sdk.packets, 126, 10)
        for servo_id in spec.servo_ids:
            reader.addParam(servo_id)
        assert reader.txRxPacket() == COMM_SUCCESS
        for servo_id, rest, zero in zip(spec.servo_ids, spec.rest, spec.zero_rad, strict=True):
            assert reader.getData(servo_id, 126, 2) == 0xFFFF
            assert reader.getData(servo_id, 128, 4) == 0xFFFFFFFD
            assert reader.getData(servo_id, 132, 4) == round((rest + zero) / RAD_PER_TICK)
        sdk.port.closePort()


def test_goals_reach_the_plant_as_joint_angles(spec: RobotSpec, tmp_path: Path) -> None:
    plant = StillPlant(spec.rest, np.zeros(9), np.zeros(9))
    with EmulatedBus(tmp_path / "bus", spec, plant) as emulated:
        sdk = Sdk(emulated.path)
        sdk.packets.write4ByteTxRx(sdk.port, 11, 116, 2048 + 256)  # zero_rad of joint 11 is tick 2048
        assert plant.goals is not None
        assert plant.goals[1] == pytest.approx(np.pi / 8)
        sdk.port.closePort()


def test_a_homing_offset_and_turns_count_as_in_a_servo(sdk: Sdk, emulated: EmulatedBus, spec: RobotSpec) -> None:
    """A limp servo counts turns and forgets them with torque on; then it adds its homing offset."""
    plant, pose = emulated.plant, spec.rest.copy()
    assert isinstance(plant, FirstOrderPlant)
    sdk.packets.write4ByteTxRx(sdk.port, 11, 20, (-512) & 0xFFFFFFFF)
    pose[1] = (4096 + 116 - 2048) * RAD_PER_TICK  # past its zero by 116 ticks
    plant.push(pose)
    assert sdk.packets.read4ByteTxRx(sdk.port, 11, 132)[0] == 3700
    sdk.packets.write4ByteTxRx(sdk.port, 11, 116, 3700)
    sdk.packets.write2ByteTxRx(sdk.port, 11, 100, 0)
    sdk.packets.write1ByteTxRx(sdk.port, 11, 64, 1)
    assert sdk.packets.read4ByteTxRx(sdk.port, 11, 132)[0] == (-396) & 0xFFFFFFFF
    assert plant.positions()[1] == pose[1], "it has not moved"
    sdk.packets.write2ByteTxRx(sdk.port, 11, 100, 885)
    time.sleep(0.2)
    assert plant.positions()[1] > pose[1] + 0.5, "the same goal is a whole turn away now"


def test_refusals(sdk: Sdk) -> None:
    write1, write4 = sdk.packets.write1ByteTxRx, sdk.packets.write4ByteTxRx
    assert write4(sdk.port, 10, 132, 0)[1] == ACCESS  # present position is read-only
    assert write1(sdk.port, 10, 200, 0)[1] == ACCESS  # no such register
    assert write1(sdk.port, 10, 11, 2)[1] == RANGE  # no such operating mode
    assert write4(sdk.port, 10, 116, 5000)[1] == LIMIT  # beyond max position limit
    assert write4(sdk.port, 10, 104, 1000)[1] == LIMIT  # beyond velocity limit
    assert sdk.packets.write2ByteTxRx(sdk.port, 10, 116, 1000)[1] == 5  # half a register
    assert sdk.packets.readTxRx(sdk.port, 10, 60000, 4)[2] == ACCESS
    assert write1(sdk.port, 10, 64, 1)[1] == 0
    assert write1(sdk.port, 10, 9, 10)[1] == ACCESS  # EEPROM is locked while torque is on
    assert write1(sdk.port, 10, 64, 0)[1] == 0
    assert write1(sdk.port, 10, 9, 10)[1] == 0


def test_factory_reset_is_refused_and_changes_nothing(sdk: Sdk) -> None:
    assert sdk.packets.factoryReset(sdk.port, 10, 0xFF) == (COMM_SUCCESS, INSTRUCTION)
    assert sdk.packets.ping(sdk.port, 10)[1] == COMM_SUCCESS


def test_reboot_clears_ram_and_keeps_eeprom(sdk: Sdk) -> None:
    sdk.packets.write1ByteTxRx(sdk.port, 10, 9, 7)
    sdk.packets.write1ByteTxRx(sdk.port, 10, 64, 1)
    assert sdk.packets.reboot(sdk.port, 10) == (COMM_SUCCESS, 0)
    assert sdk.packets.read1ByteTxRx(sdk.port, 10, 64)[0] == 0
    assert sdk.packets.read1ByteTxRx(sdk.port, 10, 9)[0] == 7


def test_status_return_level_silences_writes(sdk: Sdk) -> None:
    sdk.packets.write1ByteTxOnly(sdk.port, 10, 68, 1)
    assert sdk.packets.write1ByteTxRx(sdk.port, 10, 65, 1)[0] == COMM_RX_TIMEOUT
    assert sdk.packets.read1ByteTxRx(sdk.port, 10, 65) == (1, COMM_SUCCESS, 0)


def test_another_baud_rate_hears_nothing(emulated: EmulatedBus) -> None:
    slow = Sdk(emulated.path, 57600)
    assert slow.packets.ping(slow.port, 10)[1] == COMM_RX_TIMEOUT
    slow.port.setBaudRate(1_000_000)
    assert slow.packets.ping(slow.port, 10)[1] == COMM_SUCCESS
    slow.port.closePort()


def test_answers_come_after_the_return_delay(sdk: Sdk, spec: RobotSpec) -> None:
    for servo_id in spec.servo_ids:
        sdk.packets.write1ByteTxRx(sdk.port, servo_id, 9, 250)  # 500 us, the factory's setting
    reader = GroupSyncRead(sdk.port, sdk.packets, 126, 10)
    for servo_id in spec.servo_ids:
        reader.addParam(servo_id)
    start = time.perf_counter()
    assert reader.txRxPacket() == COMM_SUCCESS
    assert time.perf_counter() - start >= 9 * 500e-6


def test_overload_switches_torque_off_until_reboot(sdk: Sdk, emulated: EmulatedBus) -> None:
    sdk.packets.write1ByteTxRx(sdk.port, 22, 64, 1)
    emulated.faults.hardware_errors[22] = 0x20
    assert sdk.packets.read1ByteTxRx(sdk.port, 22, 70) == (0x20, COMM_SUCCESS, ALERT)
    assert sdk.packets.read1ByteTxRx(sdk.port, 22, 64)[0] == 0
    assert sdk.packets.write1ByteTxRx(sdk.port, 22, 64, 1)[1] == ALERT | ACCESS
    emulated.faults.hardware_errors.clear()
    sdk.packets.reboot(sdk.port, 22)
    assert sdk.packets.write1ByteTxRx(sdk.port, 22, 64, 1) == (COMM_SUCCESS, 0)


def test_watchdog_trips_and_locks_goals_until_it_is_cleared(sdk: Sdk, emulated: EmulatedBus) -> None:
    sdk.packets.write1ByteTxRx(sdk.port, 10, 64, 1)
    sdk.packets.write4ByteTxRx(sdk.port, 10, 112, 50)
    sdk.packets.write1ByteTxRx(sdk.port, 10, 98, 5)  # 100 ms
    deadline = time.monotonic() + 5.0
    while emulated.servo(10).get("bus_watchdog") != -1 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert sdk.packets.read1ByteTxRx(sdk.port, 10, 98)[0] == 0xFF
    assert sdk.packets.read4ByteTxRx(sdk.port, 10, 112)[0] == 0
    assert sdk.packets.write4ByteTxRx(sdk.port, 10, 116, 1000)[1] == RANGE
    assert sdk.packets.write1ByteTxRx(sdk.port, 10, 98, 5)[1] == RANGE
    assert sdk.packets.write1ByteTxRx(sdk.port, 10, 98, 0)[1] == 0
    assert sdk.packets.write4ByteTxRx(sdk.port, 10, 116, 1000)[1] == 0


def test_watchdog_sleeps_while_torque_is_off(sdk: Sdk, emulated: EmulatedBus) -> None:
    sdk.packets.write1ByteTxRx(sdk.port, 10, 98, 1)
    time.sleep(0.1)
    assert emulated.servo(10).get("bus_watchdog") == 1


def test_faults_of_answers(sdk: Sdk, emulated: EmulatedBus) -> None:
    emulated.faults.silent_ids.add(10)
    assert sdk.packets.ping(sdk.port, 10)[1] == COMM_RX_TIMEOUT
    emulated.faults.silent_ids.clear()
    emulated.faults.corrupt_ids.add(10)
    assert sdk.packets.ping(sdk.port, 10)[1] == COMM_RX_CORRUPT
    emulated.faults.corrupt_ids.clear()
    emulated.faults.lose_next = 1
    assert sdk.packets.ping(sdk.port, 10)[1] == COMM_RX_TIMEOUT
    assert sdk.packets.ping(sdk.port, 10)[1] == COMM_SUCCESS
    emulated.faults.reply_delay_s = 1.0
    assert sdk.packets.ping(sdk.port, 10)[1] == COMM_RX_TIMEOUT


def test_damaged_instruction_is_not_obeyed(sdk: Sdk) -> None:
    before = sdk.packets.read4ByteTxRx(sdk.port, 10, 116)[0]
    sdk.port.writePort(bytes.fromhex("FFFFFD00 0A 0900 03 740000020000 FFFF"))
    time.sleep(0.05)
    assert sdk.packets.read4ByteTxRx(sdk.port, 10, 116) == (before, COMM_SUCCESS, 0)


def test_unplugging_hangs_up_and_servos_keep_their_state(sdk: Sdk, emulated: EmulatedBus) -> None:
    sdk.packets.write1ByteTxRx(sdk.port, 10, 64, 1)
    emulated.faults.unplugged = True
    with pytest.raises((OSError, termios.error)):
        for _ in range(100):
            sdk.packets.ping(sdk.port, 10)
            time.sleep(0.01)
    assert not emulated.path.exists()
    emulated.faults.unplugged = False
    deadline = time.monotonic() + 5.0
    while not emulated.path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    again = Sdk(emulated.path)
    assert again.packets.read1ByteTxRx(again.port, 10, 64) == (1, COMM_SUCCESS, 0)
    again.port.closePort()


def test_bus_path_is_free_again_after_stop_and_never_taken_from_a_file(spec: RobotSpec, tmp_path: Path) -> None:
    bus = EmulatedBus(tmp_path / "bus", spec)
    bus.start()
    bus.stop()
    bus.stop()
    assert not os.path.lexists(tmp_path / "bus")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="not a link"):
        EmulatedBus(tmp_path / "file", spec).start()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_dead_emulators_link_is_replaced(spec: RobotSpec, tmp_path: Path) -> None:
    (tmp_path / "bus").symlink_to("/dev/pts/99999")
    with EmulatedBus(tmp_path / "bus", spec) as emulated:
        sdk = Sdk(emulated.path)
        assert sdk.packets.ping(sdk.port, 10)[1] == COMM_SUCCESS
        sdk.port.closePort()


def test_hold_present_takes_the_pull_out_after_a_reset(spec: RobotSpec, tmp_path: Path) -> None:
    plant = FirstOrderPlant(spec.rest)
    with EmulatedBus(tmp_path / "bus", spec, plant) as emulated:
        sdk = Sdk(emulated.path)
        for servo_id in spec.servo_ids:
            sdk.packets.write1ByteTxRx(sdk.port, servo_id, 64, 1)
        moved = spec.rest + 0.2
        plant.push(moved)
        emulated.hold_present()
        time.sleep(0.1)
        np.testing.assert_allclose(plant.positions(), moved, atol=RAD_PER_TICK)
        sdk.port.closePort()


def test_other_models_answer_with_their_number(spec: RobotSpec, tmp_path: Path) -> None:
    with EmulatedBus(tmp_path / "bus", spec, faults=Faults(), model_number=1050) as emulated:
        sdk = Sdk(emulated.path)
        assert sdk.packets.ping(sdk.port, 10)[0] == 1050
        assert sdk.packets.read2ByteTxRx(sdk.port, 10, 144)[0] == 240
        sdk.port.closePort()


def test_an_unplugged_bus_keeps_its_path_and_a_stopped_one_does_not(spec: RobotSpec, tmp_path: Path) -> None:
    with EmulatedBus(tmp_path / "bus", spec) as emulated:
        emulated.faults.unplugged = True
        time.sleep(0.1)
        assert not emulated.path.exists()
        with pytest.raises(FileExistsError, match="served by another emulated bus"):
            EmulatedBus(tmp_path / "bus", spec).start()
    with EmulatedBus(tmp_path / "bus", spec) as again:
        assert again.path.exists()
    (tmp_path / "taken").touch()
    with pytest.raises(FileExistsError, match="is not a link"):
        EmulatedBus(tmp_path / "taken", spec).start()
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
