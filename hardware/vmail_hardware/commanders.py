"""Who commands: one at a time. Two programs that command the same hand would tear it to and fro between them."""

from __future__ import annotations


class Commanders:
    """Notices when commands of two commanders mix. Pure: it is told the time.

    A handover is one change: the one before falls silent. It is a dispute when somebody commands, somebody else does,
    and the first one goes on, all within `window_s`. From then on all are refused, until for `window_s` only one
    has commanded.
    """

    def __init__(self, window_s: float) -> None:
        """`window_s` is longer than a control period, so that two who command at each picture are noticed."""
        self._window = window_s
        self._last: dict[str, float] = {}
        self._disputed_until = float("-inf")

    def refusal(self, name: str, now: float) -> str:
        """Note a command of `name` at `now` (s); returns why it must not be obeyed, or nothing.

        Whoever does not say a name has the empty one. All of one name count as one: two keyboards are not told apart.
        """
        self._last = {who: when for who, when in self._last.items() if 0.0 <= now - when <= self._window}
        own = self._last.get(name)
        between = [who for who, when in self._last.items() if who != name and own is not None and when >= own]
        self._last[name] = now
        if between:
            self._disputed_until = now + self._window
        if now >= self._disputed_until:
            return ""
        others = ", ".join(sorted(who or "somebody without a name" for who in self._last))
        return f"more than one commands ({others}): stop all but one"

    def reset(self) -> None:
        """Forget everybody."""
        self._last.clear()
        self._disputed_until = float("-inf")
