"""What `vmail train` shows: a live panel in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from vmail_core.learners.scores import in_words

if TYPE_CHECKING:
    from vmail_core.learners.train import Progress, Trainer

LINE_PERIOD_S = 30.0
# Metrics shown as they are, in this order, where the learner reports them.
LOSSES = ("pixel_loss", "kl", "d_expert", "d_agent", "cloning_loss", "actor_loss", "critic_loss")


class TrainingDisplay:
    """Watches a Trainer while `with` is open."""

    def __init__(self, trainer: Trainer, console: Console) -> None:
        """Prints to `console`; in a terminal, a panel that changes in place."""
        self._trainer, self._console = trainer, console
        self._metrics: dict[str, float] = {}
        self._begun = trainer.progress.seconds
        self._said = 0.0
        self._live = Live(get_renderable=self._render, console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> TrainingDisplay:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()
        self._console.print(self._line(), soft_wrap=True)

    def report(self, progress: Progress, metrics: dict[str, float]) -> None:
        """Take what the trainer reports; it calls this after every block of updates."""
        self._metrics |= metrics
        if not self._console.is_terminal and time.monotonic() - self._said > LINE_PERIOD_S:
            self._said = time.monotonic()
            self._console.print(self._line(), soft_wrap=True)

    def seconds_left(self) -> float | None:
        """Estimate of the learning time left; None until there is something to judge by."""
        done, seconds = self._trainer.elapsed, self._trainer.seconds
        if seconds - self._begun < 10.0 or done <= 0.0:
            train = self._trainer.config.train
            return 60.0 * train.minutes - seconds if train.minutes else None
        return seconds * (1.0 - done) / done

    def _render(self) -> Group:
        done, left = self._trainer.elapsed, self.seconds_left()
        bar = Table.grid(padding=(0, 2))
        clock = f"{_clock(self._trainer.seconds)} learned" + (
            f", about {_clock(left)} left" if left is not None else ""
        )
        bar.add_row(ProgressBar(100.0, 100.0 * done, width=40), f"{done:4.0%}", clock)
        return Group(bar, Text(self._score_line()), Text(self._count_line()), Text(self._loss_line(), style="dim"))

    def _line(self) -> str:
        left = self.seconds_left()
        rest = f", about {_clock(left)} left" if left is not None and not self._trainer.done else ""
        return f"{self._trainer.elapsed:4.0%}  {self._count_line()}  {self._score_line()}{rest}"

    def _score_line(self) -> str:
        name, expert = self._trainer.env.main_score, self._trainer.expert_score
        if f"eval_{name}" not in self._metrics:
            practised = self._metrics.get(f"practice_{name}")
            return "no evaluation yet" + (
                f"; last practice {in_words(name, practised)}" if practised is not None else ""
            )
        score = self._metrics[f"eval_{name}"]
        text = f"{in_words(name, score)} (mean of {self._trainer.config.train.eval_episodes} starts)"
        if expert:
            text += f", {score / expert:.0%} of the demonstrations' {expert:.1f}"
        return text

    def _count_line(self) -> str:
        progress = self._trainer.progress
        return f"update {progress.update}, practice {progress.env_steps} steps, {self._trainer.stage}"

    def _loss_line(self) -> str:
        known = [f"{name} {self._metrics[name]:.3g}" for name in LOSSES if name in self._metrics]
        return "  ".join(known) or "losses come with the first block of updates"


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"
