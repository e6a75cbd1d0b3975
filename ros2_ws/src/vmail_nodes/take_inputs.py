"""What arrives at the recorder between takes: which topics are silent, and the moment just before a take."""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable

from vmail_core.episodes.quality import LEAD_S


class Inputs:
    """Arrival times of topics, and the last 0.3 s of the sensors among them.

    A take begins with those 0.3 s, so that its first command finds the frame that it was computed from, and that
    frame its joint state.
    """

    def __init__(self, sensors: Iterable[str]) -> None:
        """Keep messages of `sensors`; of other topics only the arrival."""
        self._sensors = frozenset(sensors)
        self._arrived: dict[str, float] = {}
        self._recent: collections.deque[tuple[float, str, int, bytes]] = collections.deque()  # when, and what

    def note(self, topic: str, log_ns: int, data: bytes) -> None:
        """Note a message that arrived now."""
        now = self._arrived[topic] = time.monotonic()
        if topic in self._sensors:
            self._recent.append((now, topic, log_ns, data))
            while now - self._recent[0][0] > LEAD_S:  # by no clock that may be set back
                self._recent.popleft()

    def recent(self) -> list[tuple[str, int, bytes]]:
        """Topic, log time in ns and bytes of the sensors' last messages, in order of arrival."""
        return [(topic, log_ns, data) for _, topic, log_ns, data in self._recent]

    def seen(self, topic: str) -> bool:
        """Whether anything ever arrived."""
        return topic in self._arrived

    def silent(self, topics: Iterable[str], max_age_s: float) -> list[str]:
        """A phrase for each of the topics on which nothing arrived for `max_age_s`."""
        phrases = []
        for topic in topics:
            age = time.monotonic() - self._arrived.get(topic, float("-inf"))
            if age > max_age_s:
                phrases.append(f"nothing on {topic} for {age:.1f} s" if self.seen(topic) else f"nothing yet on {topic}")
        return phrases
