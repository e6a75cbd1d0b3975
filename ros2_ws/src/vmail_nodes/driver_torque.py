"""What the driver knows of its servos' torque, and what it says of itself on /diagnostics."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from vmail_hardware.guard_types import Decision, Reason
from vmail_nodes import diagnostics

LEVELS = {Reason.NO_COMMAND_YET: diagnostics.OK, Reason.COMMAND_TOO_OLD: diagnostics.WARN}


@dataclasses.dataclass
class Torque:
    """Of all servos.

    Attributes:
        may_be_on: until every servo has confirmed that it is off.
        wanted: what was asked for last, whether it could be done or not.
        refusal: why the servos refused torque when it was asked for last, a sentence with a space behind it; or empty.
    """

    may_be_on: bool = False
    wanted: bool = False
    refusal: str = ""

    @property
    def powered(self) -> bool:
        """Whether the servos have torque, as is wanted: else they get no goals, and commands are ignored."""
        return self.may_be_on and self.wanted and not self.refusal


def state_of(
    torque: Torque, decision: Decision, latched: Reason | None, silence: str, how_to_call: Callable[[str], str]
) -> tuple[bytes, str, str]:
    """Level, named reason and sentence of an active driver whose port is open.

    Args:
        torque: of the servos.
        decision: the guard's newest.
        latched: what waits for a reset of the guard, if anything.
        silence: what the last failed read said.
        how_to_call: what to type to call a service of the driver.
    """
    reset = how_to_call("~/reset_guard")
    if torque.may_be_on and not torque.powered:
        again = f"{how_to_call('~/torque false')}, or cut the servos' power"
        detail = f"to let go: {torque.refusal}It could not be switched off everywhere; {again}"
        return diagnostics.ERROR, "torque_may_be_on", detail
    if latched is not None and not torque.may_be_on:  # goes first: whoever commands by itself ends with it
        restart = f". {torque.refusal}{reset} restarts servos that have shut down"
        then = restart if torque.wanted else f"{diagnostics.GO_ON}{reset}"
        return diagnostics.ERROR, str(latched), f"without torque: {decision.detail}{then}"
    if not torque.may_be_on:
        switch = f"{how_to_call('~/torque true')} switches it on"
        return diagnostics.WARN, "torque_off", f"without torque: {torque.refusal}Commands are ignored; {switch}"
    if latched is not None:
        return diagnostics.ERROR, str(latched), f"holding: {decision.detail}{diagnostics.GO_ON}{reset}"
    if not decision.holding:
        # Limits act on most steps of a policy: counted in the values, not worth a change of state.
        return diagnostics.OK, "ok", ""
    detail = silence if decision.reason is Reason.BUS_SILENT else decision.detail
    return LEVELS.get(decision.reason, diagnostics.ERROR), str(decision.reason), f"holding: {detail}"
