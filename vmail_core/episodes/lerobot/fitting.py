"""Whether episodes make one LeRobot dataset: there, every frame holds the same, and frames come at one steady rate."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vmail_core.episodes.episode import Episode
from vmail_core.episodes.store import read_outline
from vmail_core.episodes.ticker import GAP_PERIODS
from vmail_core.robot import RobotSpec

RATE_TOLERANCE = 0.02
"""How far a measured rate may lie from the whole number that stands for it, as a share."""


class Layout(NamedTuple):
    """What a frame holds: pictures (height, width), so many actions and joint angles, and rewards; on which robot."""

    height: int
    width: int
    actions: int
    joints: int
    rewards: bool
    robot: str | None

    def __str__(self) -> str:
        rewards = "rewards" if self.rewards else "no rewards"
        numbers = f"{self.actions} actions, {self.joints or 'no'} joint angles, {rewards}"
        return f"{self.width}x{self.height} px, {numbers}, robot {self.robot}"


class Common(NamedTuple):
    """What the episodes have in common, the rate in whole frames a second, and each one's task."""

    layout: Layout
    fps: int
    tasks: tuple[str, ...]


def common_of(paths: Sequence[Path], task: str | None, robot: RobotSpec | None) -> Common:
    """What the episodes have in common, pictures unseen; `task` and `robot` take the place of what they say themselves.

    Raises:
        ValueError: an episode is damaged, does not fit the others or the robot, does not tell its task, or its frames
            do not come at a steady rate; the message names it, and what to do.
    """
    layouts, tasks, intervals = [], [], []
    for path in paths:
        episode = read_outline(path)
        layouts.append(_layout(episode, path, robot))
        tasks.append(_task(episode, path, task))
        intervals.append(np.diff(episode.time))
        if layouts[-1] != layouts[0]:
            raise ValueError(
                f"{path} has {layouts[-1]}, but {paths[0]} has {layouts[0]}: in one dataset all is alike, convert "
                "them apart"
            )
    return Common(layouts[0], _fps(intervals, paths), tuple(tasks))


def _layout(episode: Episode, path: Path, robot: RobotSpec | None) -> Layout:
    if episode.reward is not None and episode.reward[0] != 0:
        raise ValueError(
            f"{path} has a reward of {episode.reward[0]:.3g} with its first frame, which no action led to: LeRobot "
            "has no place for it; leave the episode out"
        )
    height, width = episode.image.shape[1:3]
    actions, name = episode.action.shape[1], episode.provenance.get("robot")
    if robot is not None and (name not in (None, robot.name) or actions != robot.action_size):
        raise ValueError(
            f"{path} is of robot {name} with {actions} actions, not of {robot.name} with {robot.action_size}: give "
            "--robot the spec that it was recorded with, or leave that out"
        )
    joints = 0 if episode.joint_positions is None else episode.joint_positions.shape[1]
    return Layout(height, width, actions, joints, episode.reward is not None, robot.name if robot else name)


def _task(episode: Episode, path: Path, task: str | None) -> str:
    found = episode.provenance.get("task") if task is None else task
    if not found:
        raise ValueError(f"{path} does not tell its task, which every frame of a LeRobot dataset names: give --task")
    return str(found)


def _fps(intervals: list[np.ndarray], paths: Sequence[Path]) -> int:
    """The rate as a whole number. Measured stamps waver about it; no frame may be missing, no episode faster or slower.

    Args:
        intervals: each episode's, from frame to frame, s.
        paths: the episodes, for the message.
    """
    steps = np.concatenate(intervals)
    rate = 1.0 / float(np.mean(steps[steps < GAP_PERIODS * np.median(steps)]))
    fps = max(round(rate), 1)
    if abs(rate - fps) > RATE_TOLERANCE * fps:
        rates = [1.0 / float(np.median(steps)) for steps in intervals]
        slow, fast = int(np.argmin(rates)), int(np.argmax(rates))
        raise ValueError(
            f"frames come at {rate:.4g} Hz, from {rates[slow]:.4g} in {paths[slow]} to {rates[fast]:.4g} in "
            f"{paths[fast]}, and LeRobot wants a whole number of them a second: convert episodes of other rates "
            "apart, or record at a whole rate"
        )
    for path, steps in zip(paths, intervals, strict=True):
        worst = int(np.argmax(np.abs(steps * fps - 1.0)))
        if abs(steps[worst] * fps - 1.0) >= GAP_PERIODS - 1.0:  # the import's measure of a gap
            raise ValueError(
                f"{path}: {steps[worst]:.4g} s from row {worst} to row {worst + 1}, where the others are "
                f"{1.0 / fps:.4g} s apart: leave the episode out, for LeRobot counts on a steady rate"
            )
        away = abs(steps.sum() * fps - len(steps))  # in periods; one wavering stamp decides in a short episode
        if away > max(RATE_TOLERANCE * len(steps), GAP_PERIODS - 1.0):
            raise ValueError(
                f"{path} has frames at {1.0 / steps.mean():.4g} Hz, not at {fps} as most: in one dataset all is alike, "
                "convert them apart"
            )
    return fps
