"""All servos of a robot on one link: registers by name, and the checks and set-up before use."""

from __future__ import annotations

import dataclasses
import itertools
import struct
from collections.abc import Callable, Iterable

import numpy as np

from vmail_core.robot import RobotSpec
from vmail_hardware import bus_checks
from vmail_hardware.bus_checks import ServoSettings
from vmail_hardware.bus_errors import BusOpenError, BusReadError, BusWriteError
from vmail_hardware.control_table import RAD_PER_TICK, TICKS_PER_TURN, ServoModel, servo_model
from vmail_hardware.framing import ALERT_BIT
from vmail_hardware.sdk_link import SdkLink
from vmail_hardware.sdk_port import sync_order

_ATTEMPTS = 4


class ServoGroup:
    """N servos in the spec's order. Before `check` has seen them, the spec's first model is assumed.

    Attributes:
        link: the port.
        model: whose control table holds; the models of one family differ in units and factory values only.
        current_unit_ma: (N,) mA per unit of current.
        goal_range: N lowest and N highest goals in ticks that the servos accept.
        pwm_limit: (N,) what Goal PWM is at full force.
        numbers: servo id to model number, once `check` has asked.
    """

    def __init__(self, spec: RobotSpec, link: SdkLink) -> None:
        """Describe the group; nothing is sent."""
        self.link = link
        self.model: ServoModel = servo_model(spec.servo_models[0])
        self.current_unit_ma = np.full(spec.action_size, self.model.current_unit_ma)
        self.goal_range = ([0] * spec.action_size, [TICKS_PER_TURN - 1] * spec.action_size)
        self.pwm_limit = np.full(spec.action_size, self.model["pwm_limit"].initial)
        self.numbers: dict[int, int] = {}
        self._layouts: dict[str, struct.Struct] = {}
        self._spec = spec
        self._ids = spec.servo_ids

    def read(self, register: str, length: int, after_fast: bool = False) -> list[bytes]:
        """Of every servo, in the spec's order: error byte, id, `length` bytes from that register on.

        After a fast read that failed, answers are waited for less long.

        Raises:
            BusReadError: some servos gave no intact answer.
        """
        answers = self.link.sync_read(self._ids, self.model[register].address, length, after_fast)
        missing = [i for i in self._ids if i not in answers or answers[i][0] & ~ALERT_BIT]
        if missing:
            raise self.silent(missing)
        return [bytes((answers[i][0], i)) + answers[i][1] for i in self._ids]

    def read_fast(self, register: str, length: int, meanwhile: Callable[[], None] | None = None) -> list[bytes]:
        """The same from one answer of all servos; nothing where it did not come whole, or they know no such read.

        `meanwhile` is called while it is on its way.
        """
        answers = self.link.fast_sync_read(self._ids, self.model[register].address, length, meanwhile)
        return [] if any([answer[0] & ~ALERT_BIT for answer in answers]) else answers

    def values(self, register: str) -> dict[int, int]:
        """The register's value of those servos that answer, by id."""
        entry = self.model[register]
        answers = self.link.sync_read(self._ids, entry.address, entry.size)
        return {servo_id: entry.decode(data) for servo_id, (_, data) in answers.items()}

    def write(self, register: str, values: Iterable[int]) -> None:
        """Send N values in one packet. Nobody acknowledges."""
        self.link.sync_write(*self._order(register, values))

    def rehearse_write(self, register: str, values: Iterable[int]) -> None:
        """Do what `write` does, but for the sending."""
        sync_order(*self._order(register, values))

    def _order(self, register: str, values: Iterable[int]) -> tuple[int, int, bytes]:
        """Address and size of the register, and each servo's id with its value behind it."""
        entry = self.model[register]
        if register not in self._layouts:
            self._layouts[register] = struct.Struct("<" + f"B{entry.code}" * len(self._ids))
        data = self._layouts[register].pack(*itertools.chain(*zip(self._ids, values, strict=True)))
        return entry.address, entry.size, data

    def write_one(self, servo_id: int, register: str, value: int) -> None:
        """Write a value of one servo. Raises BusWriteError where it does not acknowledge, or refuses."""
        entry = self.model[register]
        self.link.write(servo_id, entry.address, entry.encode(value))

    def known(self, register: str) -> np.ndarray:
        """The register's value of every servo, (N,), asked for again if an answer got lost.

        Raises:
            BusReadError: some servos are silent.
        """
        missing = list(self._ids)
        for _ in range(_ATTEMPTS):
            values = self.values(register)
            missing = [servo_id for servo_id in self._ids if servo_id not in values]
            if not missing:
                return np.array([values[servo_id] for servo_id in self._ids])
        raise self.silent(missing)

    def require(self, register: str, *values: int) -> None:
        """Write one value for all servos or one for each, and make sure that they took it.

        Raises:
            BusWriteError: some did not.
        """
        refusing = self.confirm(register, *values)
        if refusing:
            raise BusWriteError(
                f"{self.link.port_name}: {register} of {self.names(refusing)} could not be set to {values}. If its LED "
                "blinks, a servo has shut down: free it, let it cool, then switch its power off and on. Otherwise "
                "check its cable",
                refusing,
            )

    def confirm(self, register: str, *values: int) -> list[int]:
        """Write and read back, with retries; the ids that did not take it."""
        wanted = values * len(self._ids) if len(values) == 1 else values
        refusing = list(self._ids)
        with self.link.unhurried():
            for _ in range(_ATTEMPTS):
                self.write(register, wanted)
                found = self.values(register)
                refusing = [i for i, value in zip(self._ids, wanted, strict=True) if found.get(i) != value]
                if not refusing:
                    break
        return refusing

    def angles(self, ticks: np.ndarray) -> np.ndarray:
        """Joint angles (N,) rad of servo positions (N,)."""
        return (ticks * RAD_PER_TICK - self._spec.zero_rad) * self._spec.direction

    @property
    def ids(self) -> tuple[int, ...]:
        """All of them, in the spec's order."""
        return self._ids

    def names(self, servo_ids: Iterable[int]) -> str:
        """Ids and joints for messages, like: servo 20 (MFJ20), servo 21 (MFJ21)."""
        return bus_checks.name_servos(self._spec, servo_ids)

    def silent(self, servo_ids: list[int]) -> BusReadError:
        """The error for servos that did not answer."""
        hint = "check the servos' power supply" if len(servo_ids) == len(self._ids) else "check their cables and power"
        return BusReadError(f"{self.link.port_name}: no answer from {self.names(servo_ids)}; {hint}", servo_ids)

    def check(self, configure: bool, again: bool = False) -> None:
        """Check that every servo is there, of a listed model, and set up as needed.

        Args:
            configure: first write the settings that are wrong, torque off.
            again: they were there before. Those that have shut down with a hardware error pass, and the first that is
                not there ends the check: each is waited for for a while.

        Raises:
            BusOpenError: what is wrong, with the next step.
        """
        port = self.link.port_name
        found: dict[int, int] = {}
        for servo_id in self._ids:
            number = self._ping(servo_id)
            if number is not None:
                found[servo_id] = number
            elif again:
                raise BusOpenError(str(self.silent([servo_id])))
        bus_checks.check_models(port, self._spec, found)
        try:
            models = [servo_model(found[servo_id]) for servo_id in self._ids]
        except ValueError as error:
            raise BusOpenError(f"{port}: {error}") from error
        self.numbers = {servo_id: found[servo_id] for servo_id in self._ids}
        self.model = models[0]
        self.current_unit_ma = np.array([model.current_unit_ma for model in models])
        settings = self._settings()
        if configure:
            self._configure(settings)
            bus_checks.check_zeros_stayed(port, self._spec, settings)
            settings = self._settings()
        if again:
            settings = [dataclasses.replace(servo, hardware_error_status=0) for servo in settings]
        bus_checks.check_settings(port, self._spec, self.model, settings)
        lowest = [servo.min_position_limit for servo in settings]
        self.goal_range = (lowest, [servo.max_position_limit for servo in settings])
        self.pwm_limit = np.array([servo.pwm_limit for servo in settings])

    def _ping(self, servo_id: int) -> int | None:
        """Model number, asked for a second time if the first answer got lost."""
        model = self.link.ping(servo_id)
        return self.link.ping(servo_id) if model is None else model

    def _settings(self) -> list[ServoSettings]:
        joints = zip(self._ids, self._spec.joint_names, strict=True)
        return [self._settings_of(servo_id, joint_name) for servo_id, joint_name in joints]

    def _settings_of(self, servo_id: int, joint_name: str) -> ServoSettings:
        length = self.model["hardware_error_status"].end
        data = self.link.read(servo_id, 0, length) or self.link.read(servo_id, 0, length)
        if data is None:
            raise BusOpenError(str(self.silent([servo_id])))
        values = {}
        for name in bus_checks.SETTINGS:
            register = self.model[name]
            values[name] = register.decode(data[register.address : register.end])
        return ServoSettings(servo_id=servo_id, joint_name=joint_name, **values)

    def _configure(self, settings: list[ServoSettings]) -> None:
        try:
            for servo in settings:
                if servo.wrong:  # EEPROM is locked while torque is on
                    self.write_one(servo.servo_id, "torque_enable", 0)
                for name, value in servo.wrong.items():
                    self.write_one(servo.servo_id, name, value)
        except BusWriteError as error:
            raise BusOpenError(f"{error}; the servo could not be set up. Check its power and cable") from error
