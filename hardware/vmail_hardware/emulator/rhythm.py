"""When a host that asks at a fixed rate will ask next."""

from __future__ import annotations

import math

_AHEAD_S = 0.001  # what is measured so long before a question is fresh enough for it
_PAUSE_S = 0.002  # a question after less silence than that belongs to the same cycle
_LONGEST_PERIOD_S = 0.050  # of hosts whose questions are foretold


class Rhythm:
    """Foretells the next question, so that emulated servos measure shortly before it.

    A real servo has measured what it is asked for; emulated ones would let the host wait for that, a tenth of a
    millisecond and more. The time between the last two cycles is taken for the next one's, too: where that is wrong,
    what was measured is of no use, and no harm. Times are monotonic seconds.

    Attributes:
        measure_at: when to measure; infinite where no question is foretold.
    """

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self.measure_at = math.inf
        self._began = self._last = -math.inf

    def hear(self, now: float) -> None:
        """The host asked for something: after a pause, a new cycle has begun."""
        paused, self._last = now - self._last > _PAUSE_S, now
        if not paused:
            return
        period, self._began = now - self._began, now
        self.measure_at = now + period - _AHEAD_S if period < _LONGEST_PERIOD_S else math.inf

    def is_due(self, now: float) -> bool:
        """Whether it is time to measure; True once a cycle."""
        due = now >= self.measure_at
        if due:
            self.measure_at = math.inf
        return due
