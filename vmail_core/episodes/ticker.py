"""Which camera frames are ticks of the control loop: decided from the frames' stamps alone."""

from __future__ import annotations

import collections
import statistics

# A longer pause between ticks, in control periods, is a gap: a tick was missed there.
GAP_PERIODS = 1.5
# How far a tick that came early or late moves the next one. 0 would drop a frame each time that a 10.1 Hz camera has
# gained half a period on a 10 Hz loop; 1 would turn a 25 Hz camera into 8.3 or 12.5 Hz ticks.
_PHASE_GAIN = 0.2


class Ticker:
    """Picks frames at the control rate out of a camera of any rate.

    A frame is a tick when it lies closer to the time that is due than the next frame would. A camera slower than the
    loop makes every frame a tick. Same stamps, same ticks: no clock is read.

    Attributes:
        counts: reason to number of frames that were dropped, and ticks that were missed.
    """

    def __init__(self, rate_hz: float) -> None:
        """Tick `rate_hz` times a second."""
        if not rate_hz > 0:
            raise ValueError(f"control rate must be positive; got {rate_hz} Hz")
        self.period_ns = round(1e9 / rate_hz)
        self.counts: collections.Counter[str] = collections.Counter()
        self.last_tick_ns: int | None = None
        self._last_frame_ns: int | None = None
        self._due_ns = 0
        self._intervals: collections.deque[int] = collections.deque(maxlen=9)

    def offer(self, stamp_ns: int) -> bool:
        """Take the frame as a tick if it is one. Frames come in order of arrival; the live runner needs only this."""
        if not self.see(stamp_ns) or not self.is_due(stamp_ns):
            return False
        self.take(stamp_ns)
        return True

    def see(self, stamp_ns: int) -> bool:
        """Note a frame; False, and counted, when it repeats or precedes an earlier one."""
        if self._last_frame_ns is not None:
            if stamp_ns == self._last_frame_ns:
                self.counts["duplicate frame"] += 1
                return False
            if stamp_ns < self._last_frame_ns:
                self.counts["frame out of order"] += 1
                return False
            self._intervals.append(stamp_ns - self._last_frame_ns)
        self._last_frame_ns = stamp_ns
        return True

    def is_due(self, stamp_ns: int, tolerance_ns: int | None = None) -> bool:
        """Whether a frame with this stamp would be the next tick; `tolerance_ns` is that of its arrival, if past."""
        if self.last_tick_ns is None:
            return True
        tolerance_ns = self.tolerance_ns() if tolerance_ns is None else tolerance_ns
        return stamp_ns > self.last_tick_ns and stamp_ns >= self._due_ns - tolerance_ns

    def is_gap(self, stamp_ns: int) -> bool:
        """Whether at least one tick is missing between the last one and this stamp."""
        return self.last_tick_ns is not None and stamp_ns - self.last_tick_ns > GAP_PERIODS * self.period_ns

    def take(self, stamp_ns: int) -> None:
        """Make the frame a tick: the next one is due a period later."""
        if self.last_tick_ns is None or abs(stamp_ns - self._due_ns) > self.period_ns // 2:
            self._due_ns = stamp_ns
        if self.is_gap(stamp_ns):
            assert self.last_tick_ns is not None
            self.counts["missed tick"] += max(1, round((stamp_ns - self.last_tick_ns) / self.period_ns) - 1)
        self.last_tick_ns = stamp_ns
        self._due_ns += self.period_ns + round(_PHASE_GAIN * (stamp_ns - self._due_ns))

    def tolerance_ns(self) -> int:
        """How early a tick may come: half the camera's period, at most half of the control period."""
        camera_ns = statistics.median_low(self._intervals) if self._intervals else self.period_ns
        return min(camera_ns, self.period_ns) // 2
