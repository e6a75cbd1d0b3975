"""Demonstrations as a run takes them: their names in its notes, whether they fit, and which takes are none of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from vmail_core.episodes.episode import Episode
from vmail_core.learners.config import Config

# Options of simulated tasks that change pictures, and what they are unless a training says otherwise.
LOOKS = {"look": "plain", "indicators": True}


def demo_name(demo: Episode) -> str:
    """What a run's notes call a demonstration: its bag, or the seed of its start."""
    notes = demo.provenance
    if "bag" in notes:
        return str(notes["bag"])
    if "file" in notes:
        return "/".join(str(notes[key]) for key in ("file", "demonstration") if key in notes)
    return f"{notes.get('source', 'episode')}, seed {notes.get('seed', 'unknown')}"


def actions_digest(demo: Episode) -> str:
    """Tells one demonstration from another, whatever it is called and at whatever size its pictures are kept."""
    return hashlib.sha256(demo.action.tobytes()).hexdigest()


def interfaces_of(demos: Sequence[Episode]) -> list[str]:
    """Digests of the robots that demonstrations were imported for, each once; those of others' files note none."""
    noted = (demo.provenance.get("interface_digest") for demo in demos)
    return sorted({digest for digest in noted if digest})


def usable(
    demos: Sequence[Episode], config: Config, action_size: int, joint_count: int
) -> tuple[list[Episode], list[str]]:
    """The demonstrations that chunks can be cut from, and what is to be said of them and of those that are too short.

    Args:
        demos: what was given.
        config: the run's choices.
        action_size: A of the task.
        joint_count: J of the task, 0 where it has no joints to read.

    Raises:
        ValueError: one has other actions or belongs to another task, its pictures are too small, it lacks joint angles
            that the config wants or has others, or all are too short; the message names it.
    """
    for demo in demos:
        name, task = demo_name(demo), demo.provenance.get("task")
        _check_sizes(demo, config, action_size)
        if task and task != config.task:
            raise ValueError(f"demonstration {name} shows {task}, not {config.task}: set task={task}, or leave it out")
        if config.model.joint_scale:
            _check_joints(demo, config, joint_count)
    needed = config.train.length
    short = [f"{demo_name(demo)} has {len(demo)} rows" for demo in demos if len(demo) < needed]
    kept = [demo for demo in demos if len(demo) >= needed]
    if not kept:
        raise ValueError(
            f"chunks need {needed} rows, but {'; '.join(short)}: lower train.length, or record longer takes"
        )
    return kept, [f"left out: {what}, chunks need {needed}" for what in short] + _other_looks(kept, config)


def _other_looks(demos: Sequence[Episode], config: Config) -> list[str]:
    """What is to be said of demonstrations whose pictures were drawn otherwise than those of practice will be."""
    found = []
    for option, usual in LOOKS.items():
        practised = config.task_options.get(option, usual)
        known = [demo.provenance["task_options"] for demo in demos if "task_options" in demo.provenance]
        shown = [options.get(option, usual) for options in known]
        others = [value for value in shown if value != practised]
        if others:
            found.append(
                f"{len(others)} of {len(demos)} demonstrations were made with {option}={others[0]}, practice has "
                f"{option}={practised}: the discriminator can tell them apart by that alone. Make them anew, "
                f"vmail expert {config.task} --set {option}={practised}, or set task_options.{option}={others[0]}"
            )
    return found


def held_out(
    takes: Sequence[Episode], facts: dict[str, Any], config: Config, action_size: int, joint_count: int
) -> tuple[list[Episode], list[str]]:
    """The takes that a run did not learn from, and what is to be said of those that it did.

    Args:
        takes: to judge the run on.
        facts: of the run (`RunFolder.facts`): names of its demonstrations, and what they did. Runs of 0.1 noted names
            alone, which then have to do.
        config, action_size, joint_count: of the run.

    Raises:
        ValueError: a take has other actions, smaller pictures or another task than the run, lacks joint angles that the
            policy observes, or the run learned from all of them; the message names it.
    """
    for take in takes:
        name, task = demo_name(take), take.provenance.get("task")
        _check_sizes(take, config, action_size)
        if task and task != config.task:
            raise ValueError(f"{name} shows {task}, the run learned {config.task}: leave it out")
        found = 0 if take.joint_positions is None else take.joint_positions.shape[1]
        if config.model.proprioception and not found:
            raise ValueError(f"{name} has no joint angles, the run's policy observes {joint_count}: leave it out")
        if config.model.joint_scale and found not in (0, joint_count):
            raise ValueError(f"{name} has {found} joint angles, the run learned of {joint_count}: leave it out")
    digests = facts.get("demo_actions")
    learned = [
        demo_name(take) in facts["demos"] if digests is None else actions_digest(take) in digests for take in takes
    ]
    seen = [demo_name(take) for take, known in zip(takes, learned, strict=True) if known]
    if len(seen) == len(takes):
        raise ValueError(
            f"the run learned from every take that was given ({', '.join(seen)}): give takes that it has not seen"
        )
    kept = [take for take, known in zip(takes, learned, strict=True) if not known]
    return kept, [f"left out: {name}, the run learned from it" for name in seen]


def _check_sizes(episode: Episode, config: Config, action_size: int) -> None:
    """Raises ValueError: the episode has other actions than the task, or pictures smaller than the model's."""
    name, size, side = demo_name(episode), config.model.image_size, min(episode.image.shape[1:3])
    if episode.action.shape[1] != action_size:
        raise ValueError(f"{name} has {episode.action.shape[1]} actions, {config.task} has {action_size}")
    if side < size:
        raise ValueError(
            f"{name} has pictures of {side} px, model.image_size={size} needs as many: choose a smaller size, or "
            "record with a larger camera"
        )


def _check_joints(demo: Episode, config: Config, joint_count: int) -> None:
    """Refuse a demonstration without the task's joint angles."""
    name, found = demo_name(demo), 0 if demo.joint_positions is None else demo.joint_positions.shape[1]
    if found and found == joint_count:
        return
    wanted = "model.proprioception" if config.model.proprioception else "model.joint_scale"
    without = "model.joint_scale=0" + (" and model.proprioception=false" if config.model.proprioception else "")
    has = f"has {found} joint angles, {config.task} has {joint_count}" if found else "has no joint angles"
    raise ValueError(f"demonstration {name} {has}; {wanted} wants them: learn without them, {without}")
