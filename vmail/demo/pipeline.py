"""The steps of `vmail demo`, in order."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from vmail.demo import settings as fixed
from vmail.demo.learning import clone_from_pixels, digest_episodes, digest_takes, export, import_takes, learn
from vmail.demo.recording import list_takes, record_takes
from vmail.demo.ros_trials import Series, expert_series, policy_series, run_series
from vmail.demo.settings import Settings
from vmail.demo.steps import Step, progress_bar
from vmail.demo.trial import Trial
from vmail_core.deploy.bundle import load_bundle
from vmail_core.robot import load_robot
from vmail_sim.dclaw.valve import parse_task

EPISODE_S = 9.5  # 80 steps at 10 Hz, and what lies between two episodes


class Pipeline:
    """Builds the steps for the chosen settings."""

    def __init__(self, settings: Settings, console: Console) -> None:
        self._settings, self._console = settings, console
        self._robot = load_robot(fixed.ROBOT)
        self._direction = parse_task(fixed.TASK)[1]

    def steps(self) -> list[Step]:
        """All steps, up to the one after which to stop."""
        learning = [] if self._settings.pretrained else [*self._recording(), *self._learning()]
        steps = [*learning, *self._deployment()]
        names = [step.name for step in steps]
        until = self._settings.until or names[-1]
        if until not in names:
            raise ValueError(f"--until {until}: there is no such step; the steps are {', '.join(names)}")
        return steps[: names.index(until) + 1]

    def _recording(self) -> list[Step]:
        if not self._settings.record:
            return []
        minutes = fixed.TAKES * (EPISODE_S + 1.0) / 60.0
        inputs = {"task": fixed.TASK, "count": fixed.TAKES, "steps": fixed.STEPS, "robot": self._robot.digest()}
        title = "record: the expert turns the valve through ROS, one bag a take"
        takes = self._settings.takes
        return [Step("record", title, f"about {minutes:.0f} min", lambda: inputs, [takes], self._record)]

    def _learning(self) -> list[Step]:
        s = self._settings
        return [
            Step(
                "import",
                "import: recorded bags become episodes",
                "seconds",
                lambda: {"takes": digest_takes(self._takes())},
                [s.episodes_dir],
                lambda: import_takes(self._takes(), s.episodes_dir, self._robot, self._console),
            ),
            Step(
                "learn",
                "learn: V-MAIL watches the demonstrations and practises in simulation",
                f"about {s.minutes + 1:.0f} min on two cores; Ctrl-C saves, the same command goes on",
                lambda: {"episodes": digest_episodes(s.episodes_dir), "preset": fixed.PRESET, **self._overrides()},
                [s.run_dir / "checkpoint"],
                lambda: learn(s.episodes_dir, s.run_dir, fixed.PRESET, self._overrides(), self._console),
            ),
            Step(
                "export",
                "export: networks become ONNX graphs, checked against the trained ones",
                "seconds",
                lambda: {"run": _text_digest(s.run_dir / "checkpoint" / "state.json")},
                [s.bundle_dir],
                lambda: export(s.run_dir, s.bundle_dir, s.episodes_dir, self._robot, self._console),
            ),
        ]

    def _deployment(self) -> list[Step]:
        s, minutes = self._settings, self._settings.episodes * EPISODE_S / 60.0
        long = f"{s.episodes} episode{'s' if s.episodes > 1 else ''} in real time, about {minutes:.1f} min"
        started = {"seeds": s.trial_seeds, "steps": fixed.STEPS}
        return [
            Step(
                "policy",
                "policy: the bundle drives the servos through ROS, camera pictures in, joint commands out",
                long,
                lambda: {**started, "bundle": self._digest},
                [s.policy_trials],
                lambda: self._try(self._policy(), s.policy_trials),
            ),
            Step(
                "expert",
                "expert: the same starts, the same nodes, commanded by who gave the demonstrations",
                long,
                lambda: {**started, "expert": fixed.TASK},
                [s.expert_trials],
                lambda: self._try(expert_series(fixed.TASK, s.trial_seeds, fixed.STEPS), s.expert_trials),
            ),
            Step(
                "controls",
                "controls: the same starts in the bare simulator, for the policy and what it must beat",
                "seconds" if s.pretrained else "about 2 min",
                lambda: {**started, "bundle": self._digest, "episodes": digest_episodes(s.episodes_dir)},
                [s.bare_scores],
                self._controls,
            ),
            Step(
                "page",
                "page: videos, plots and tables",
                "seconds",
                lambda: {"trials": [_text_digest(p) for p in (s.policy_trials, s.expert_trials, s.bare_scores)]},
                [s.page, s.figures],
                self._page,
            ),
        ]

    def _overrides(self) -> dict[str, Any]:
        return {"train.minutes": float(self._settings.minutes), "train.seed": self._settings.seed}

    def _takes(self) -> list[Path]:
        folder = self._settings.takes
        takes = list_takes(folder)
        if not takes:
            raise FileNotFoundError(f"no recorded takes in {folder}; record some with `vmail demo --record`")
        return takes[: fixed.TAKES]

    @functools.cached_property
    def _bundle(self) -> Any:
        return load_bundle(self._settings.bundle_dir)

    @property
    def _digest(self) -> str:
        return self._bundle.digest

    def _policy(self) -> Series:
        return policy_series(
            self._settings.bundle_dir, self._digest, fixed.TASK, self._settings.trial_seeds, fixed.STEPS
        )

    def _record(self) -> None:
        s = self._settings
        with progress_bar(self._console) as progress:
            bar = progress.add_task("    starting the nodes", total=fixed.TAKES)

            def report(take: Path | None, radians: float) -> None:
                progress.update(bar, description="    recording", advance=take is not None)
                if take is not None:
                    progress.console.print(f"    {take.name}: turned {self._direction * radians:.1f} rad")

            log = s.logs / "record.log"
            record_takes(s.takes, fixed.TASK, self._robot, fixed.TAKES, fixed.STEPS, fixed.TAKE_SEED, log, report)

    def _try(self, series: Series, out: Path) -> None:
        with progress_bar(self._console) as progress:
            bar = progress.add_task("    starting the nodes", total=len(series.seeds))

            def report(trial: Trial | None) -> None:
                progress.update(bar, description="    episodes", advance=trial is not None)
                if trial is not None:
                    progress.console.print(self._trial_line(trial), markup=False)

            run_series(series, self._robot, out, self._settings.logs / f"{out.stem}.log", report)

    def _trial_line(self, trial: Trial) -> str:
        number = trial.seed - self._settings.first_trial_seed + 1
        again = f" (repeated: {trial.repeated[-1]})" if trial.repeated else ""
        return f"    start {number:>2}: turned {trial.radians(self._direction):5.1f} rad{again}"

    def _controls(self) -> None:
        from vmail.demo.bare import BundlePolicy, blind_controls, score_policies
        from vmail_core.deploy.runtime import PolicyRuntime

        s, size = self._settings, self._bundle.sizes.image
        learned: list[Any] = [("policy", BundlePolicy(PolicyRuntime(self._bundle)), size)]
        notes: dict[str, Any] = {}
        if not s.pretrained:
            cloned, notes["pixel_cloning"] = clone_from_pixels(s.episodes_dir, s.seed, self._console)
            learned.append(("pixel cloning", cloned, cloned.config.image_size))
        blind = [(name, policy, size) for name, policy in blind_controls(self._robot, s.seed).items()]
        with progress_bar(self._console) as progress:
            bar = progress.add_task("    bare simulator", total=2 * len(learned) + len(blind))
            score = functools.partial(
                score_policies,
                fixed.TASK,
                first_seed=s.first_trial_seed,
                episodes=s.episodes,
                report=lambda name: progress.update(bar, advance=1),
            )
            result = {"plain": score([*learned, *blind]), "kicked": score(learned, kick="both"), **notes}
        s.bare_scores.write_text(json.dumps(result, indent=1) + "\n")

    def _page(self) -> None:
        from vmail.demo.figures import collect_figures
        from vmail.demo.page import write_page

        figures = collect_figures(self._settings, self._bundle, self._robot, self._direction)
        write_page(figures, self._settings.out)


def _text_digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
