"""Dynamixel control tables as data: which register lies where, and what its units are worth."""

from __future__ import annotations

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import yaml

TICKS_PER_TURN = 4096
RAD_PER_TICK = 2.0 * math.pi / TICKS_PER_TURN
RAD_S_PER_UNIT = 0.229 * 2.0 * math.pi / 60.0  # one velocity unit is 0.229 rev/min
VOLT_PER_UNIT = 0.1
WATCHDOG_UNIT_S = 0.020
WATCHDOG_TRIPPED = -1
RETURN_DELAY_UNIT_S = 2e-6
FIRST_RAM_ADDRESS = 64  # everything below is EEPROM and locked while torque is on
BAUD_RATES = (9600, 57600, 115200, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 4_500_000)  # by value of register 8

POSITION_MODE = 3
POSITION_MODES = (3, 4, 5)  # position, extended position, current-based position

HARDWARE_ERRORS = {
    0x01: "input voltage",
    0x04: "overheating",
    0x08: "motor encoder",
    0x10: "electrical shock",
    0x20: "overload",
}


@dataclasses.dataclass(frozen=True)
class Register:
    """One register of a control table.

    Attributes:
        name: snake_case name after the e-Manual's.
        address: first byte.
        size: bytes, little-endian.
        signed: two's complement.
        writable: False for read-only ones.
        initial: value after power-on (RAM) or from the factory (EEPROM).
        minimum, maximum: what a write may ask for.
        allowed: the only values that a write may ask for, when they are not a range.
        within: (lower, upper) names of registers that bound it further; "-x" is minus register x.
    """

    name: str
    address: int
    size: int
    signed: bool
    writable: bool
    initial: int
    minimum: int
    maximum: int
    allowed: tuple[int, ...] = ()
    within: tuple[str, str] | None = None

    @property
    def end(self) -> int:
        """The address after the last byte."""
        return self.address + self.size

    @property
    def in_eeprom(self) -> bool:
        """Whether it survives power-off and is locked while torque is on."""
        return self.address < FIRST_RAM_ADDRESS

    @property
    def code(self) -> str:
        """The struct module's character for it."""
        code = {1: "b", 2: "h", 4: "i"}[self.size]
        return code if self.signed else code.upper()

    def encode(self, value: int) -> bytes:
        """The register's bytes for a value. Raises OverflowError if it does not fit."""
        return int(value).to_bytes(self.size, "little", signed=self.signed)

    def decode(self, data: bytes | bytearray) -> int:
        """The value of the register's bytes."""
        return int.from_bytes(data, "little", signed=self.signed)


@dataclasses.dataclass(frozen=True)
class ServoModel:
    """A servo model: its number, its registers by name, and the worth of a current unit in mA."""

    number: int
    name: str
    current_unit_ma: float
    nominal_voltage_v: float
    registers: dict[str, Register]

    def __getitem__(self, register_name: str) -> Register:
        """The register of that name. Raises KeyError."""
        return self.registers[register_name]


def servo_model(number: int) -> ServoModel:
    """The model with this number, as a servo's ping tells it.

    Raises:
        ValueError: unknown number; the message lists the known models.
    """
    models = servo_models()
    if number not in models:
        known = ", ".join(f"{model.name} ({model.number})" for model in models.values())
        raise ValueError(f"no control table for servo model number {number}; known models: {known}")
    return models[number]


@functools.cache
def servo_models() -> dict[int, ServoModel]:
    """Every known model by number."""
    folder = Path(__file__).parent / "control_tables"
    families = {path.stem: yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))}
    models: dict[int, ServoModel] = {}
    for raw in families.values():
        base = families[raw["base"]]["registers"] if "base" in raw else []
        registers = {register["name"]: register for register in [*base, *raw["registers"]]}
        for name in raw.get("without", ()):
            del registers[name]
        for entry in raw["models"]:
            models[entry["number"]] = _model(entry, list(registers.values()))
    return models


def hardware_error_names(bits: int) -> tuple[str, ...]:
    """Names of the bits set in register 70, e.g. 0x24 to ("overheating", "overload")."""
    known = tuple(name for bit, name in HARDWARE_ERRORS.items() if bits & bit)
    unknown = bits & ~sum(HARDWARE_ERRORS)
    return (*known, f"unknown bits {unknown:#04x}") if unknown else known


def _model(entry: dict[str, Any], registers: list[dict[str, Any]]) -> ServoModel:
    initial = {"model_number": entry["number"], **entry.get("initial", {})}
    table = {raw["name"]: _register(raw, initial.get(raw["name"])) for raw in registers}
    return ServoModel(entry["number"], entry["name"], entry["current_unit_ma"], entry["nominal_voltage_v"], table)


def _register(raw: dict[str, Any], initial: int | None) -> Register:
    signed = raw.get("signed", False)
    span = 1 << (8 * raw["size"])
    least, most = raw.get("range", (-span // 2, span // 2 - 1) if signed else (0, span - 1))
    return Register(
        name=raw["name"],
        address=raw["address"],
        size=raw["size"],
        signed=signed,
        writable=raw["access"] == "rw",
        initial=raw.get("initial", 0) if initial is None else initial,
        minimum=least,
        maximum=most,
        allowed=tuple(raw.get("allowed", ())),
        within=tuple(raw["within"]) if "within" in raw else None,
    )
