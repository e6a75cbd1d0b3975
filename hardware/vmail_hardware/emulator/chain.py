"""The emulated servos on one bus: hears instruction packets, answers status packets, moves the plant."""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Callable

from vmail_core.robot import RobotSpec
from vmail_hardware.control_table import BAUD_RATES, FIRST_RAM_ADDRESS, servo_model
from vmail_hardware.emulator import servo as rules
from vmail_hardware.emulator.faults import Faults
from vmail_hardware.emulator.packets import (
    BROADCAST_ID,
    STATUS_START,
    Instruction,
    fast_status_packet,
    status_packet,
)
from vmail_hardware.emulator.plant import Plant
from vmail_hardware.emulator.plant_link import PlantLink
from vmail_hardware.emulator.servo import EmulatedServo
from vmail_hardware.emulator.wire_check import WireCheck

PING, READ, WRITE, REG_WRITE, ACTION, REBOOT = 0x01, 0x02, 0x03, 0x04, 0x05, 0x08
TORQUE_ENABLE = 64
_SPIKE_SHARE = 0.02
SYNC_READ, SYNC_WRITE, FAST_SYNC_READ, BULK_READ, BULK_WRITE = 0x82, 0x83, 0x8A, 0x92, 0x93


class ServoChain:
    """N servos and the plant that they move. Safe to use from several threads."""

    def __init__(
        self,
        spec: RobotSpec,
        plant: Plant,
        faults: Faults,
        model_number: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        check: WireCheck | None = None,
    ) -> None:
        """Power on servos that are set up for the robot: its ids, its baud rate, no return delay.

        All that is written to them passes `check`, if there is one.

        Raises:
            ValueError: unknown model number, or a baud rate that the servos do not have.
        """
        if spec.servo_baud not in BAUD_RATES:
            raise ValueError(f"robot {spec.name}: servos have no {spec.servo_baud} baud; choose one of {BAUD_RATES}")
        model = servo_model(spec.servo_models[0] if model_number is None else model_number)
        settings = {"baud_rate": BAUD_RATES.index(spec.servo_baud), "return_delay_time": 0}
        self.servos = [EmulatedServo(model, {"id": servo_id, **settings}) for servo_id in spec.servo_ids]
        self.faults = faults
        self._link = PlantLink(spec, self.servos, plant, faults)
        self._random = random.Random(0)
        self._check = check
        self._clock = clock
        self._last_heard = clock()
        self._lock = threading.RLock()
        self._asked_fast: tuple[list[EmulatedServo], int, int] = [], 0, 0  # by the last fast read
        self._told_ahead: dict[int, bytes] = {}  # what servos tell of those registers, by id
        self._hearing: dict[int | None, dict[int, EmulatedServo]] = {}  # by rate, then by id; made when asked for
        self._handlers: dict[int, Callable[[Instruction, dict[int, EmulatedServo]], bytes]] = {
            PING: self._ping,
            READ: self._read,
            WRITE: self._write,
            REG_WRITE: self._reg_write,
            ACTION: self._action,
            REBOOT: self._reboot,
            SYNC_READ: self._sync_read,
            FAST_SYNC_READ: self._fast_sync_read,
            SYNC_WRITE: self._sync_write,
            BULK_READ: self._bulk_read,
            BULK_WRITE: self._bulk_write,
        }
        self.hold_present()

    def handle(self, instruction: Instruction, baud: int | None = None) -> bytes:
        """Obey one instruction and return the bytes of all answers.

        Args:
            instruction: what was heard.
            baud: rate at which it was sent; servos set to another rate hear nothing. None: all hear it.
        """
        with self._lock:
            self._show_faults()
            hearing = self._that_hear(baud)
            self._last_heard = self._clock()
            if not instruction.intact:
                return self._refuse(instruction, hearing, rules.CRC_ERROR)
            handler = self._handlers.get(instruction.code)
            if handler is None:  # a factory reset would change every id: refused like an unknown instruction
                return self._refuse(instruction, hearing, rules.INSTRUCTION_ERROR)
            answers = handler(instruction, hearing)
            self._link.forget_ahead()  # it was for one question: two in a row must not tell the same
            return answers

    def _that_hear(self, baud: int | None) -> dict[int, EmulatedServo]:
        if baud not in self._hearing:
            heard = [servo for servo in self.servos if baud is None or servo.baud == baud]
            self._hearing[baud] = {servo.servo_id: servo for servo in heard}
        return self._hearing[baud]

    def tick(self) -> None:
        """Let time pass: trips bus watchdogs. To be called every few milliseconds."""
        with self._lock:
            self._show_faults()
            if self._check is not None:
                self._refresh()
            silence = self.silent_seconds()
            working = [servo for servo in self.servos if servo.servo_id not in self.faults.sleeping_watchdog_ids]
            tripped = [servo for servo in working if servo.trip_watchdog_after(silence)]
            if tripped:
                self._link.stop_at_present(tripped)

    def measure_ahead(self) -> None:
        """Measure what a host is about to ask for, so that it need not wait for that.

        The last fast read is answered once more, for nobody: a processor that has just gone through it does it again in
        half the time. What each servo told there it tells the next question, too, if that is for the same registers and
        comes while the measurement is fresh. Where all that is written is checked, everything is measured at each
        question all the same.
        """
        with self._lock:
            if self._check is None:
                self._link.measure_ahead(self._clock())
            servos, address, length = self._asked_fast
            self._told_ahead = {servo.servo_id: servo.told(address, length) for servo in servos}
            if servos:
                self._fast_answer(servos, list(self._told_ahead.values()))

    def silent_seconds(self) -> float:
        """How long no instruction has come."""
        return self._clock() - self._last_heard

    def hold_present(self) -> None:
        """Set every goal position to where the joint is now, so that nothing pulls. For resets of the plant."""
        with self._lock:
            self._link.stop_at_present(self.servos)

    def answer_delay(self, answer: bytes) -> float:
        """Seconds by which servos delay these status packets: their return delays and the faults' delays."""
        delay = self.faults.reply_delay_s
        longest = max([servo.return_delay_s for servo in self.servos])
        if longest:
            delay += longest * answer.count(STATUS_START)
        if self.faults.reply_spikes_s and self._random.random() < _SPIKE_SHARE:
            delay += self.faults.reply_spikes_s
        return delay

    # Instructions ------------------------------------------------------------------------------------------

    def _ping(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        answers = []
        for servo in _addressed(instruction, hearing):
            data = servo.read(0, 2)[1] + servo.read(6, 1)[1]
            answers.append(self._status(servo, rules.OK, data))
        return b"".join(answers)

    def _read(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        if instruction.servo_id == BROADCAST_ID:
            return b""
        if len(instruction.parameters) != 4:
            return self._refuse(instruction, hearing, rules.LENGTH_ERROR)
        address, length = struct.unpack("<HH", instruction.parameters)
        self._refresh(address, length)
        return b"".join(self._answer_read(s, address, length) for s in _addressed(instruction, hearing))

    def _write(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        address, data = _address_and_data(instruction.parameters)
        writes = [(servo, address, data) for servo in _addressed(instruction, hearing)]
        return self._acknowledge(instruction, self._put(writes))

    def _reg_write(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        results = []
        for servo in _addressed(instruction, hearing):
            servo.registered = _address_and_data(instruction.parameters)
            servo.set("registered_instruction", 1)
            results.append((servo, rules.OK))
        return self._acknowledge(instruction, results)

    def _action(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        acting = _addressed(instruction, hearing)
        results = self._put([(servo, *servo.registered) for servo in acting if servo.registered])
        results += [(servo, rules.INSTRUCTION_ERROR) for servo in acting if not servo.registered]
        for servo in acting:
            servo.registered = None
            servo.set("registered_instruction", 0)
        return self._acknowledge(instruction, results)

    def _reboot(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        rebooted = _addressed(instruction, hearing)
        answers = self._acknowledge(instruction, [(servo, rules.OK) for servo in rebooted])
        for servo in rebooted:
            servo.reboot()
        self._link.stop_at_present(rebooted)
        return answers

    def _sync_read(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        servos, address, length = _asked_together(instruction, hearing)
        self._refresh(address, length)
        return b"".join(self._answer_read(servo, address, length) for servo in servos)

    def _fast_sync_read(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        before, self._asked_fast = self._asked_fast, _asked_together(instruction, hearing)
        servos, address, length = self._asked_fast
        fresh = self._refresh(address, length) and before[1:] == (address, length)
        # Looked for first: a host waits meanwhile.
        if not servos or (self.faults.loses_answers and any(self._stays_silent(servo) for servo in servos)):
            return b""  # the answers are one packet: without one part the host gets none
        ahead = self._told_ahead if fresh else {}
        told = [ahead.get(servo.servo_id) or servo.told(address, length) for servo in servos]
        return self._fast_answer(servos, told)

    def _fast_answer(self, servos: list[EmulatedServo], told: list[bytes]) -> bytes:
        """The packet with what all these servos tell."""
        packet, corrupt = fast_status_packet(told), False
        if self.faults.corrupt_ids:
            corrupt = not self.faults.corrupt_ids.isdisjoint(servo.servo_id for servo in servos)
        return packet[:-3] + bytes((packet[-3] ^ 0x10,)) + packet[-2:] if corrupt else packet

    def _sync_write(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        if len(instruction.parameters) < 4:
            return b""
        address, length = struct.unpack_from("<HH", instruction.parameters)
        parameters = instruction.parameters
        starts = range(4, len(parameters) - length, length + 1)
        told = [(hearing.get(parameters[start]), parameters[start + 1 : start + 1 + length]) for start in starts]
        self._put([(servo, address, data) for servo, data in told if servo is not None])
        return b""

    def _bulk_read(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        usable = len(instruction.parameters) // 5 * 5
        requests = struct.iter_unpack("<BHH", instruction.parameters[:usable])
        self._refresh()
        return b"".join(self._answer_read(hearing[i], *registers) for i, *registers in requests if i in hearing)

    def _bulk_write(self, instruction: Instruction, hearing: dict[int, EmulatedServo]) -> bytes:
        writes, start = [], 0
        while start + 5 <= len(instruction.parameters):
            servo_id, address, length = struct.unpack_from("<BHH", instruction.parameters, start)
            if servo_id in hearing:
                writes.append((hearing[servo_id], address, instruction.parameters[start + 5 : start + 5 + length]))
            start += 5 + length
        self._put(writes)
        return b""

    def _put(self, writes: list[tuple[EmulatedServo, int, bytes]]) -> list[tuple[EmulatedServo, int]]:
        """Let servos take over (address, data) each, and move; returns each one's error number."""
        if self._check is not None or any(address == TORQUE_ENABLE for _, address, _ in writes):
            self._refresh()  # what comes of it goes by where the joint is
        if self._check is not None:
            for servo, address, data in writes:
                self._check.written(servo, address, data)
        results = [(servo, servo.write(address, data)) for servo, address, data in writes]
        if any(address < FIRST_RAM_ADDRESS for _, address, _ in writes):
            self._hearing.clear()  # ids and rates may be others
        self._link.move()
        return results

    # Answers -----------------------------------------------------------------------------------------------

    def _answer_read(self, servo: EmulatedServo, address: int, length: int) -> bytes:
        if servo.get("status_return_level") == 0:
            return b""
        return self._status(servo, *servo.read(address, length))

    def _acknowledge(self, instruction: Instruction, results: list[tuple[EmulatedServo, int]]) -> bytes:
        """Answers to a write: none to a broadcast, none from servos that answer reads only."""
        if instruction.servo_id == BROADCAST_ID:
            return b""
        return b"".join(self._status(servo, error) for servo, error in results if servo.get("status_return_level") == 2)

    def _refuse(self, instruction: Instruction, hearing: dict[int, EmulatedServo], error: int) -> bytes:
        results = [(servo, error) for servo in _addressed(instruction, hearing)]
        return self._acknowledge(instruction, results)

    def _status(self, servo: EmulatedServo, error: int, data: bytes = b"") -> bytes:
        if self._stays_silent(servo):
            return b""
        answer = status_packet(servo.servo_id, error | servo.alert, data)
        if servo.servo_id in self.faults.corrupt_ids:
            answer = answer[:-3] + bytes((answer[-3] ^ 0x10,)) + answer[-2:]
        return answer

    def _stays_silent(self, servo: EmulatedServo) -> bool:
        """Whether its answer, which is due, is lost."""
        faults = self.faults
        if servo.servo_id in faults.silent_ids or (faults.lose_share and self._random.random() < faults.lose_share):
            return True
        if faults.lose_next <= 0:
            return False
        faults.lose_next -= 1
        return True

    def _refresh(self, address: int = 0, length: int = 0xFFFF) -> bool:
        """Measure what these registers show, by default all; True where what was measured ahead still holds."""
        now = self._clock()
        fresh = self._check is None and self._link.is_fresh(now, address, address + length)
        if not fresh:
            self._link.measure(int(now * 1000.0), address, address + length)
        if self._check is not None:
            self._check.saw(now, self.servos)
        return fresh

    def _show_faults(self) -> None:
        if self.faults.stuck_ids != self._link.stuck_ids:
            self._link.move()
        if not self.faults.hardware_errors:
            return
        for servo in self.servos:
            bits = self.faults.hardware_errors.get(servo.servo_id, 0)
            if bits & ~servo.get("hardware_error_status"):
                servo.show_hardware_error(bits)
                self._link.move()


def _addressed(instruction: Instruction, hearing: dict[int, EmulatedServo]) -> list[EmulatedServo]:
    if instruction.servo_id == BROADCAST_ID:
        return list(hearing.values())
    servo = hearing.get(instruction.servo_id)
    return [] if servo is None else [servo]


def _asked_together(
    instruction: Instruction, hearing: dict[int, EmulatedServo]
) -> tuple[list[EmulatedServo], int, int]:
    """Whom a sync read asks, in order, with the registers' address and length."""
    if len(instruction.parameters) < 4:
        return [], 0, 0
    address, length = struct.unpack_from("<HH", instruction.parameters)
    return [hearing[i] for i in instruction.parameters[4:] if i in hearing], address, length


def _address_and_data(parameters: bytes) -> tuple[int, bytes]:
    return int.from_bytes(parameters[:2], "little"), parameters[2:]
