"""One emulated servo: its registers, and the rules by which they are read and written."""

from __future__ import annotations

from vmail_hardware.control_table import (
    BAUD_RATES,
    POSITION_MODE,
    POSITION_MODES,
    RETURN_DELAY_UNIT_S,
    TICKS_PER_TURN,
    WATCHDOG_TRIPPED,
    WATCHDOG_UNIT_S,
    Register,
    ServoModel,
)

# Error numbers of a status packet; the alert bit is added to any of them while register 70 is not 0.
OK = 0x00
RESULT_FAIL = 0x01
INSTRUCTION_ERROR = 0x02
CRC_ERROR = 0x03
RANGE_ERROR = 0x04
LENGTH_ERROR = 0x05
LIMIT_ERROR = 0x06
ACCESS_ERROR = 0x07
ALERT = 0x80

_STRENGTH = ("torque_enable", "operating_mode", "goal_pwm", "pwm_limit")  # the registers that decide it
_GOALS = ("goal_pwm", "goal_current", "goal_velocity", "goal_position")


class EmulatedServo:
    """A servo's control table. It knows nothing of the bus or of what it moves; `ServoChain` does.

    Attributes:
        servo_id, baud: registers 7 and 8, the second in bit/s.
        return_delay_s: register 9, in seconds.
        strength: share of its force that it holds its goal position with, 0 where it holds none.
        origin: ticks that it shows beyond those of its encoder: the homing offset, less the turns that it forgot.
    """

    def __init__(self, model: ServoModel, settings: dict[str, int]) -> None:
        """Power on.

        Args:
            model: whose control table to use.
            settings: EEPROM registers by name that differ from the factory's ("id", "baud_rate", ...).
        """
        self.model = model
        self.registered: tuple[int, bytes] | None = None
        self._places = {  # of all that is read often: many times for each packet
            register.name: (slice(register.address, register.end), register.signed)
            for register in model.registers.values()
        }
        self._by_address = {register.address: register for register in model.registers.values()}
        self._memory = bytearray(max(register.end for register in model.registers.values()))
        self._shut_down = False
        self.servo_id, self.baud, self.return_delay_s = 0, BAUD_RATES[0], 0.0
        self.strength = 0.0
        self.origin = 0
        for register in model.registers.values():
            self.set(register.name, settings.get(register.name, register.initial))

    @property
    def alert(self) -> int:
        """The alert bit of a status packet: set while register 70 is not 0."""
        return ALERT if self._memory[70] else 0

    @property
    def holds_position(self) -> bool:
        """Whether it follows its goal position: with torque on, in a position mode."""
        return bool(self.get("torque_enable")) and self.get("operating_mode") in POSITION_MODES

    def get(self, name: str) -> int:
        """Value of a register."""
        place, signed = self._places[name]
        return int.from_bytes(self._memory[place], "little", signed=signed)

    def set(self, name: str, value: int) -> None:
        """Set a register from inside, past every rule."""
        register = self.model[name]
        self._memory[register.address : register.end] = register.encode(value)
        if name in _STRENGTH:
            limit = self.get("pwm_limit")
            share = self.get("goal_pwm") / limit if limit and self.holds_position else 0.0
            self.strength = min(1.0, max(0.0, share))
        elif name == "homing_offset":
            self.origin = value
        elif name == "id":
            self.servo_id = value
        elif name == "baud_rate":
            self.baud = BAUD_RATES[value]
        elif name == "return_delay_time":
            self.return_delay_s = value * RETURN_DELAY_UNIT_S

    def set_bytes(self, address: int, data: bytes) -> None:
        """Set consecutive measured registers from inside, past every rule."""
        self._memory[address : address + len(data)] = data

    def register_at(self, address: int) -> Register | None:
        """The register that begins at this address, if one does."""
        return self._by_address.get(address)

    def range_of(self, register: Register) -> tuple[int, int]:
        """Least and most that the register takes, as other registers are now."""
        if register.within is None:
            return register.minimum, register.maximum
        lower, upper = (self._bound(name) for name in register.within)
        return max(lower, register.minimum), min(upper, register.maximum)

    def read(self, address: int, length: int) -> tuple[int, bytes]:
        """Answer a read: (error number, data). Bytes that belong to no register read as 0, as on a real servo."""
        if length == 0 or address + length > len(self._memory):
            return ACCESS_ERROR, b""
        return OK, bytes(self._memory[address : address + length])

    def told(self, address: int, length: int) -> bytes:
        """What its part of the answer to a fast read tells: error number with the alert bit, id, data."""
        error, data = self.read(address, length)
        return bytes((error | self.alert, self.servo_id)) + data

    def write(self, address: int, data: bytes) -> int:
        """Write whole consecutive registers; return the error number. On any error nothing is written."""
        writes: list[tuple[Register, int]] = []
        offset = 0
        while offset < len(data):
            register = self._by_address.get(address + offset)
            if register is None or not register.writable:
                return ACCESS_ERROR
            chunk = data[offset : offset + register.size]
            if len(chunk) < register.size:
                return LENGTH_ERROR
            value = register.decode(chunk)
            error = self._refusal(register, value)
            if error != OK:
                return error
            writes.append((register, value))
            offset += register.size
        for register, value in writes:
            if register.name == "torque_enable" and value and not self.get("torque_enable"):
                self.forget_turns()
            self.set(register.name, value)
        return OK if writes else LENGTH_ERROR

    def forget_turns(self) -> None:
        """In position mode a servo counts turns only until its torque comes on: it then starts from within one.

        The homing offset is added after that, so that it may show a position outside of one turn (e-Manual, Present
        Position(132), Homing Offset(20)).
        """
        if self.get("operating_mode") == POSITION_MODE:
            offset, present = self.get("homing_offset"), self.get("present_position")
            turns = (present - offset) // TICKS_PER_TURN * TICKS_PER_TURN
            self.origin -= turns
            self.set("present_position", present - turns)

    def show_hardware_error(self, bits: int) -> None:
        """Set bits of register 70; those that the shutdown register names switch the torque off until reboot."""
        self._memory[70] |= bits
        if bits & self.get("shutdown"):
            self._shut_down = True
            self.set("torque_enable", 0)

    def reboot(self) -> None:
        """Restart: RAM as after power-on, EEPROM kept, errors gone."""
        self.registered = None
        self._shut_down = False
        self.forget_turns()
        for register in self.model.registers.values():
            if not register.in_eeprom:
                self.set(register.name, register.initial)

    def trip_watchdog_after(self, silence_s: float) -> bool:
        """Trip the bus watchdog if it is armed and the bus was silent for longer; return whether it tripped now."""
        limit = self.get("bus_watchdog") * WATCHDOG_UNIT_S
        if limit <= 0.0 or silence_s <= limit or not self.get("torque_enable"):
            return False
        self.set("bus_watchdog", WATCHDOG_TRIPPED)
        self.set("profile_acceleration", 0)
        self.set("profile_velocity", 0)
        return True

    def _refusal(self, register: Register, value: int) -> int:
        """Error number with which a write of `value` is refused, or OK."""
        if register.in_eeprom and self.get("torque_enable"):
            return ACCESS_ERROR
        if not register.minimum <= value <= register.maximum or (register.allowed and value not in register.allowed):
            return RANGE_ERROR
        stopped = register.name in _GOALS or (register.name == "bus_watchdog" and value != 0)
        if stopped and self.get("bus_watchdog") == WATCHDOG_TRIPPED:
            return RANGE_ERROR
        if register.name == "torque_enable" and value and self._shut_down:
            return ACCESS_ERROR
        if register.within is not None:
            lower, upper = register.within
            if not self._bound(lower) <= value <= self._bound(upper):
                return LIMIT_ERROR
        return OK

    def _bound(self, name: str) -> int:
        return -self.get(name[1:]) if name.startswith("-") else self.get(name)
