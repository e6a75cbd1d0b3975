"""An emulated servo bus on a pseudo-terminal. The real SDK talks to it and cannot tell."""

from vmail_hardware.emulator.faults import Faults
from vmail_hardware.emulator.plant import FirstOrderPlant, Plant
from vmail_hardware.emulator.pty_bus import EmulatedBus
from vmail_hardware.emulator.run import run_fake_bus
from vmail_hardware.emulator.wire_check import WireCheck

__all__ = ["EmulatedBus", "Faults", "FirstOrderPlant", "Plant", "WireCheck", "run_fake_bus"]
