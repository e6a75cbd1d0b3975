"""Faults that an emulated bus can have. They may be changed while it runs."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class Faults:
    """What is broken now. Assign to a field at any time; the emulator looks at it with every packet.

    Attributes:
        silent_ids: servos that hear and obey, but never answer.
        corrupt_ids: servos whose answers arrive with a flipped bit.
        stuck_ids: servos whose joint does not move, however they push.
        sleeping_watchdog_ids: servos whose bus watchdog never trips.
        lose_next: so many coming status packets (of any servo) are swallowed; counts down to 0.
        lose_share: share of all status packets that is swallowed, drawn at random.
        hardware_errors: servo id to the bits of register 70 that it shows (0x20 overload, 0x04 overheating, ...).
            Bits that the servo's shutdown register names switch its torque off until it is rebooted.
        temperatures_c: servo id to the temperature that it shows; the others show room temperature.
        voltages_v: servo id to the input voltage that it shows; the others show the model's nominal one.
        reply_delay_s: every answer comes so much later.
        reply_spikes_s: one answer in fifty comes so much later, drawn at random.
        unplugged: the port is gone (hang-up for whoever has it open, no device file) until set to False again.
    """

    silent_ids: set[int] = dataclasses.field(default_factory=set)
    corrupt_ids: set[int] = dataclasses.field(default_factory=set)
    stuck_ids: set[int] = dataclasses.field(default_factory=set)
    sleeping_watchdog_ids: set[int] = dataclasses.field(default_factory=set)
    lose_next: int = 0
    lose_share: float = 0.0
    hardware_errors: dict[int, int] = dataclasses.field(default_factory=dict)
    temperatures_c: dict[int, float] = dataclasses.field(default_factory=dict)
    voltages_v: dict[int, float] = dataclasses.field(default_factory=dict)
    reply_delay_s: float = 0.0
    reply_spikes_s: float = 0.0
    unplugged: bool = False

    @property
    def loses_answers(self) -> bool:
        """Whether any answer may not come."""
        return bool(self.silent_ids) or self.lose_share > 0.0 or self.lose_next > 0
