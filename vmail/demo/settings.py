"""What a demo is made of: choices, starts, and where everything lies."""

from __future__ import annotations

import dataclasses
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TASK = "dclaw_valve3_ccw"
ROBOT = "dclaw"
PRESET = "fast/dclaw_cpu"
STEPS = 80
TAKES = 10
# Starts of takes, of practice (1 000 000 and up), of evaluations while learning (100 000 and up) and of the demo's
# trials never coincide.
TAKE_SEED = 0
TRIAL_SEED = 300_000
SHIPPED_TAKES = ROOT / "demos" / TASK
PRETRAINED = Path(__file__).with_name("pretrained") / TASK
STUDY = ROOT / "results" / "claw_study.json"


@dataclasses.dataclass(frozen=True)
class Settings:
    """Choices of `vmail demo`.

    Attributes:
        out: folder of everything that the demo writes.
        pretrained: run the bundle that ships, instead of learning one.
        record: record new takes into `takes`, instead of using those that are there.
        takes: folder of the recorded takes.
        minutes: time limit of learning.
        episodes: starts that policy and expert are tried on.
        seed: of the learner, and of the starts.
        until: name of the step after which to stop; empty for all.
    """

    out: Path
    pretrained: bool = False
    record: bool = False
    takes: Path = SHIPPED_TAKES
    minutes: float = 12.0
    episodes: int = 10
    seed: int = 0
    until: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be done."""
        if not 1 <= self.episodes <= 100:
            raise ValueError(f"--episodes {self.episodes}: choose 1 to 100")
        if not self.minutes > 0.0:
            raise ValueError(f"--minutes {self.minutes}: it takes more than that to learn")
        if not 0 <= self.seed < 1000:
            raise ValueError(f"--seed {self.seed}: choose 0 to 999")

    @property
    def first_trial_seed(self) -> int:
        """Seed of the first start; the next is one higher."""
        return TRIAL_SEED + 100 * self.seed

    @property
    def trial_seeds(self) -> list[int]:
        """Seeds of all starts."""
        return [self.first_trial_seed + index for index in range(self.episodes)]

    @property
    def episodes_dir(self) -> Path:
        """The imported demonstrations."""
        return self.out / "episodes"

    @property
    def run_dir(self) -> Path:
        """The training run."""
        return self.out / "run"

    @property
    def bundle_dir(self) -> Path:
        """The bundle that is deployed."""
        return PRETRAINED if self.pretrained else self.out / "bundle"

    @property
    def policy_trials(self) -> Path:
        """The policy's episodes through ROS."""
        return self.out / "trials" / "policy.json"

    @property
    def expert_trials(self) -> Path:
        """The expert's episodes through ROS."""
        return self.out / "trials" / "expert.json"

    @property
    def bare_scores(self) -> Path:
        """Scores in the bare simulator."""
        return self.out / "bare.json"

    @property
    def logs(self) -> Path:
        """What the nodes print."""
        return self.out / "logs"

    @property
    def figures(self) -> Path:
        """All figures as data."""
        return self.out / "demo.json"

    @property
    def page(self) -> Path:
        """All figures as a page."""
        return self.out / "index.html"
