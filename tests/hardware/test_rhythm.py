"""Emulated servos measure shortly before a host that asks at a fixed rate, for that one question."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from vmail_core.robot import RobotSpec
from vmail_hardware.control_table import RAD_PER_TICK
from vmail_hardware.emulator.chain import FAST_SYNC_READ, SYNC_WRITE, ServoChain
from vmail_hardware.emulator.faults import Faults
from vmail_hardware.emulator.packets import BROADCAST_ID, Instruction
from vmail_hardware.emulator.plant import FirstOrderPlant, Measured
from vmail_hardware.emulator.rhythm import Rhythm
from vmail_hardware.emulator.wire_check import WireCheck

PRESENT = struct.Struct("<hii")
FIRST_POSITION_AT = 8 + 2 + 6  # in the answer to a fast read: behind its head, error, id, current and velocity


class MovingPlant:
    """Joints that stand where the clock is, in rad."""

    pushes = 0

    def __init__(self, joints: int) -> None:
        self.now, self.joints, self.asked = 0.0, joints, 0

    def __call__(self) -> float:
        return self.now

    def measured(self) -> Measured:
        self.asked += 1
        still = [0.0] * self.joints
        return [self.now] * self.joints, still, still

    def set_goals(self, goals: np.ndarray, strength: np.ndarray) -> None:
        pass


@pytest.fixture
def plant(spec: RobotSpec) -> MovingPlant:
    return MovingPlant(spec.action_size)


@pytest.fixture
def chain(spec: RobotSpec, plant: MovingPlant) -> ServoChain:
    return ServoChain(spec, plant, Faults(), clock=plant)


def question(spec: RobotSpec, address: int = 126, length: int = PRESENT.size) -> Instruction:
    return Instruction(BROADCAST_ID, FAST_SYNC_READ, struct.pack("<HH", address, length) + bytes(spec.servo_ids))


def shown(chain: ServoChain, spec: RobotSpec) -> float:
    """The first joint's angle, rad, as a fast read tells it."""
    (ticks,) = struct.unpack_from("<i", chain.handle(question(spec)), FIRST_POSITION_AT)
    return (ticks * RAD_PER_TICK - spec.zero_rad[0]) * spec.direction[0]


def test_a_host_that_asks_at_a_fixed_rate_is_foretold() -> None:
    rhythm = Rhythm()
    rhythm.hear(1.0)
    assert rhythm.measure_at == math.inf
    rhythm.hear(1.010)
    rhythm.hear(1.0105)  # a servo's health, in the same cycle
    assert rhythm.measure_at == pytest.approx(1.019)
    assert not rhythm.is_due(1.0189)
    assert rhythm.is_due(1.0191)
    assert not rhythm.is_due(1.0192)
    rhythm.hear(1.020)
    assert rhythm.measure_at == pytest.approx(1.029)


def test_a_host_without_a_rate_is_not() -> None:
    rhythm = Rhythm()
    for now in (0.0, 0.010, 1.0):
        rhythm.hear(now)
    assert rhythm.measure_at == math.inf
    for question in range(1, 100):  # one after the other
        rhythm.hear(1.0 + 0.0003 * question)
    assert rhythm.measure_at == math.inf


def test_what_was_measured_ahead_is_told_while_it_is_fresh(
    chain: ServoChain, plant: MovingPlant, spec: RobotSpec
) -> None:
    plant.now = 0.5
    chain.measure_ahead()
    asked = plant.asked
    plant.now = 0.5019
    assert shown(chain, spec) == pytest.approx(0.5, abs=0.0008)
    assert plant.asked == asked
    assert shown(chain, spec) == pytest.approx(0.5019, abs=0.0008)  # it was for one question
    chain.measure_ahead()
    plant.now = 0.6
    assert shown(chain, spec) == pytest.approx(0.6, abs=0.0008)


def test_answers_are_made_ahead_for_the_next_question_alone(
    chain: ServoChain, plant: MovingPlant, spec: RobotSpec
) -> None:
    """Registers are overwritten here once an answer is made ahead: it shows whether that or the registers are told."""

    def asked(servo_ids: tuple[int, ...] = spec.servo_ids, address: int = 126, length: int = PRESENT.size) -> bytes:
        parameters = struct.pack("<HH", address, length) + bytes(servo_ids)
        return chain.handle(Instruction(BROADCAST_ID, FAST_SYNC_READ, parameters))

    asked()
    chain.measure_ahead()
    for servo in chain.servos:
        servo.set_bytes(126, bytes((servo.servo_id,)))
    first = asked()
    assert first[10] == 0, "the answer was made before"
    plant.now = 0.0018  # rad, which is more than a tick, and s, in which it would still be fresh
    assert asked() != first, "a question later, joints are measured anew"
    size = PRESENT.size + 4
    chain.measure_ahead()
    backwards = asked(spec.servo_ids[::-2])
    assert backwards[9::size] == bytes(spec.servo_ids[::-2])
    asked()
    chain.measure_ahead()
    assert len(asked(address=128, length=4)) == 8 + 8 * len(spec.servo_ids), "of other registers"
    asked()
    chain.measure_ahead()
    chain.faults.hardware_errors = {spec.servo_ids[0]: 0x20}
    assert asked()[8] == 0x80, "an error shows at once"


def test_no_longer_after_a_push(spec: RobotSpec) -> None:
    plant = FirstOrderPlant(spec.rest, clock=lambda: 0.0)
    chain = ServoChain(spec, plant, Faults(), clock=lambda: 0.0)
    chain.measure_ahead()
    plant.push(spec.rest + 0.2)
    assert shown(chain, spec) == pytest.approx(spec.rest[0] + 0.2, abs=0.0008)


def test_no_longer_after_a_write(chain: ServoChain, plant: MovingPlant, spec: RobotSpec) -> None:
    plant.now = 0.5
    chain.measure_ahead()
    asked = plant.asked
    data = b"".join(struct.pack("<Bi", servo_id, 2048) for servo_id in spec.servo_ids)
    chain.handle(Instruction(BROADCAST_ID, SYNC_WRITE, struct.pack("<HH", 116, 4) + data))
    shown(chain, spec)
    assert plant.asked == asked + 1


def test_nor_of_other_registers(chain: ServoChain, plant: MovingPlant, spec: RobotSpec) -> None:
    chain.measure_ahead()
    asked = plant.asked
    chain.handle(question(spec, length=21))  # the supply, too
    chain.handle(question(spec, 120, 16))
    assert plant.asked == asked + 2


def test_where_writes_are_checked_every_question_is_measured(plant: MovingPlant, spec: RobotSpec) -> None:
    chain = ServoChain(spec, plant, Faults(), clock=plant, check=WireCheck(spec))
    shown(chain, spec)
    asked = plant.asked
    chain.measure_ahead()
    assert plant.asked == asked
    shown(chain, spec)
    assert plant.asked == asked + 1


def test_measuring_ahead_counts_no_lost_answer(chain: ServoChain, spec: RobotSpec) -> None:
    chain.handle(question(spec))
    chain.faults.lose_next = 1
    chain.measure_ahead()
    assert chain.faults.lose_next == 1
    assert chain.handle(question(spec)) == b""
    assert chain.faults.lose_next == 0
