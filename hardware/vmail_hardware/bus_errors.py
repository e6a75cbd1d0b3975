"""What can go wrong on the bus. Every message names the device and the next step."""

from __future__ import annotations

from collections.abc import Sequence


class BusError(RuntimeError):
    """Any failure of the servo bus."""


class BusOpenError(BusError):
    """The bus cannot be used as it is: no port, no permission, a servo missing or set up wrongly."""


class BusLostError(BusError):
    """The port went away while it was in use (unplugged, or its power failed). `DynamixelBus.reopen` may help."""


class BusReadError(BusError):
    """Some servos did not answer a read. The other readings of that read are discarded.

    Attributes:
        silent_ids: ids that gave no whole, intact answer.
    """

    def __init__(self, message: str, silent_ids: Sequence[int]) -> None:
        super().__init__(message)
        self.silent_ids = tuple(silent_ids)


class BusWriteError(BusError):
    """A write was not sent, or the servos did not take it over.

    Attributes:
        servo_ids: ids concerned.
    """

    def __init__(self, message: str, servo_ids: Sequence[int]) -> None:
        super().__init__(message)
        self.servo_ids = tuple(servo_ids)
