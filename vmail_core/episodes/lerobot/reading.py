"""Episodes of a LeRobotDataset v3 to ours.

There, `action[t]` is taken at frame t: ours begin with a zero action, and the last one, which no frame follows, is
left out. The same goes for `next.reward`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from vmail_core.episodes.episode import VIA, Episode
from vmail_core.episodes.import_report import Note, Rejection
from vmail_core.episodes.lerobot.layout import (
    ACTION,
    NOTES,
    NOTES_FORMAT,
    REWARD,
    STATE,
    TIME,
    Dataset,
    fingerprint,
    numbers,
    open_dataset,
    read_json,
    read_table,
)
from vmail_core.episodes.lerobot.pictures import choose_camera, encoded_frames, stacked, video_frames
from vmail_core.episodes.lerobot.rows import EpisodeRows

NO_JOINTS = "none: "
LARGEST_ANGLE = 4 * math.pi
"""rad. A state beyond it is in degrees, in percent of a range, or no angle at all."""


def read_lerobot(
    folder: str | Path, camera: str | None = None, normalise: bool = False, task: str = "", size: int | None = None
) -> Iterator[Episode | Rejection | Note]:
    """Every episode of a dataset, in order; one that is no episode of ours as a rejection with the reason.

    A note comes first where the dataset has a state that is not taken as joint angles.

    Args:
        folder: the dataset, with meta/info.json in it.
        camera: which pictures; needed where there are several cameras.
        normalise: scale each action from the smallest and largest of the whole dataset to [-1, 1]. The provenance
            keeps both, also through `vmail convert` and another import, so that it can be undone.
        task: noted in the provenance; by default the episode's own.
        size: pictures that are larger are scaled to (size, size) as they are decoded.

    Raises:
        ValueError: there is no such dataset, it is damaged, of another version, without pictures, or its actions lie
            outside [-1, 1]; the message names the folder.
    """
    folder = Path(folder)
    try:
        plan = _plan(open_dataset(folder), camera, normalise, size)
    except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder} cannot be imported: {_reason(error)}") from error
    if STATE in plan.dataset.features and not plan.joints:
        yield Note(f"joint angles are left out: {plan.notes['joint_positions'].removeprefix(NO_JOINTS)}")
    with EpisodeRows(plan.columns) as rows:
        for row in plan.dataset.episodes:
            name = f"episode {row['episode_index']}"
            try:
                yield _episode(plan, row, rows, task)
            except (OSError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                yield Rejection(name, f"{folder}, {name}: {_reason(error)}")


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What is taken from every episode alike.

    Attributes:
        camera: the feature with the pictures.
        size: to scale them to; None as they are.
        low, high: (A,) actions that become -1 and 1.
        joints: how many joint positions the state is taken as; 0 where it is left out.
        notes: for the provenance of all episodes: camera, scale, and what became of the state.
        own: what vmail noted of each episode when it wrote the dataset; empty for one of others.
    """

    dataset: Dataset
    camera: str
    size: int | None
    low: np.ndarray
    high: np.ndarray
    joints: int
    notes: dict[str, Any]
    own: list[dict[str, Any]]

    @property
    def pictures_in_rows(self) -> bool:
        """Whether the rows hold the pictures, rather than videos."""
        return self.dataset.features[self.camera]["dtype"] == "image"

    @property
    def columns(self) -> list[str]:
        """Of the rows, those that are taken."""
        wanted = [REWARD, TIME] + [STATE] * bool(self.joints) + [self.camera] * self.pictures_in_rows
        return [ACTION, "timestamp", "frame_index", *(name for name in wanted if name in self.dataset.features)]


def _plan(dataset: Dataset, camera: str | None, normalise: bool, size: int | None) -> _Plan:
    chosen = choose_camera(dataset, camera)
    low, high = _range(dataset, ACTION)
    notes: dict[str, Any] = {"camera": chosen}
    if normalise:
        notes |= {"action_minimum": low.tolist(), "action_maximum": high.tolist()}
    else:
        farthest = float(np.max(np.abs([low, high])))
        if farthest > 1.0:
            raise ValueError(
                f"its actions reach {farthest:.3g}, and ours lie in [-1, 1]: scale each by its smallest and largest "
                "in this dataset with --normalise"
            )
        low, high = -np.ones_like(low), np.ones_like(high)
    joints, why = _joints(dataset)
    notes["joint_positions"] = why
    return _Plan(dataset, chosen, size, low, high, joints, notes, _own_notes(dataset))


def _range(dataset: Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest finite value of each number (D,) float64, over all rows."""
    width = dataset.width(name)
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    for file in sorted({dataset.data_file(row) for row in dataset.episodes}):
        values = _column(file, name, width)
        finite = np.isfinite(values)
        low = np.minimum(low, np.min(values, axis=0, initial=np.inf, where=finite))
        high = np.maximum(high, np.max(values, axis=0, initial=-np.inf, where=finite))
    if np.any(low > high):
        raise ValueError(f"its {name} has no values")
    return low, high


def _column(file: Path, name: str, width: int) -> np.ndarray:
    """A column of a data file (rows, width) float64."""
    table = read_table(file, [name])
    try:
        return numbers(table, name, width).astype(np.float64)
    except ValueError as error:
        raise ValueError(f"{file}: {error}; download the dataset again") from error


def _joints(dataset: Dataset) -> tuple[int, str]:
    """How many joint angles the state is taken as, and the provenance's word on it.

    Where vmail wrote the dataset, they are what it wrote, as many as there are. A state of others has no unit: one
    number an action, none of them too large for an angle, is taken as rad.
    """
    if STATE not in dataset.features:
        return 0, f"{NO_JOINTS}it has no {STATE}"
    shape, actions = dataset.features[STATE]["shape"], dataset.width(ACTION)
    if TIME in dataset.features:
        return dataset.width(STATE), f"{STATE}, in rad"
    if list(shape) != [actions]:
        return 0, f"{NO_JOINTS}{STATE} has shape {shape} for {actions} actions"
    farthest = float(np.max(np.abs(_range(dataset, STATE))))
    if farthest > LARGEST_ANGLE:
        return 0, f"{NO_JOINTS}{STATE} reaches {farthest:.3g}, which is no angle in rad"
    return actions, f"{STATE}, taken as rad"


def _own_notes(dataset: Dataset) -> list[dict[str, Any]]:
    path = dataset.folder / NOTES
    if not path.is_file():
        return []
    notes = read_json(path, "remove that file")
    if notes.get("format") != NOTES_FORMAT:
        raise ValueError(
            f"{path} has format {notes.get('format')!r}, this vmail reads {NOTES_FORMAT!r}: remove that file"
        )
    episodes = notes.get("episodes")
    if not isinstance(episodes, list) or not all(map(_is_note, episodes)):
        raise ValueError(f"{path} does not hold what vmail noted of each episode: remove that file")
    return episodes


def _is_note(found: Any) -> bool:
    if not isinstance(found, dict) or not isinstance(found.get("provenance"), dict):
        return False
    return "actions_sha256" in found and isinstance(found["provenance"].get(VIA, []), list)


def _episode(plan: _Plan, row: dict[str, Any], rows: EpisodeRows, task: str) -> Episode:
    table = _rows(plan, row, rows)
    actions, stamps = numbers(table, ACTION, len(plan.low)), numbers(table, "timestamp", 1)[:, 0].astype(np.float64)
    measured = TIME in table.column_names
    return Episode(
        image=stacked(_frames(plan, row, table, stamps), row["length"], plan.size),
        action=_moved_on(_scaled(actions, plan)),
        time=numbers(table, TIME, 1)[:, 0].astype(np.float64) if measured else stamps,
        joint_positions=numbers(table, STATE, plan.joints).astype(np.float32) if plan.joints else None,
        reward=_moved_on(numbers(table, REWARD, 1))[:, 0] if REWARD in table.column_names else None,
        provenance=_provenance(plan, row, actions, task),
    )


def _rows(plan: _Plan, row: dict[str, Any], rows: EpisodeRows) -> pa.Table:
    """The episode's rows, with what is taken of them."""
    file = plan.dataset.data_file(row)
    table = rows.of(file, row["episode_index"])
    order = numbers(table, "frame_index", 1)[:, 0]
    if not len(table) or not np.array_equal(order, np.arange(row["length"])):
        raise ValueError(f"{file} holds {len(table)} rows of it, not {row['length']} in their order")
    return table


def _frames(plan: _Plan, row: dict[str, Any], table: pa.Table, stamps: np.ndarray) -> Iterator[np.ndarray]:
    if plan.pictures_in_rows:
        return encoded_frames(table.column(plan.camera))
    start = row[f"videos/{plan.camera}/from_timestamp"]
    return video_frames(plan.dataset.video_file(row, plan.camera), start, stamps, 1.0 / plan.dataset.info["fps"])


def _scaled(action: np.ndarray, plan: _Plan) -> np.ndarray:
    """(T, A) to [-1, 1]; an action that never changes in the dataset is 0."""
    span = plan.high - plan.low
    middle = (plan.high + plan.low) / 2
    return np.where(span > 0, (action - middle) / np.where(span > 0, span / 2, 1.0), 0.0)


def _moved_on(values: np.ndarray) -> np.ndarray:
    """(T, D) of what followed each frame to (T, D) float32 of what led to it: the first zero, the last left out."""
    moved = np.zeros(values.shape, np.float32)
    moved[1:] = values[:-1]
    return moved


def _provenance(plan: _Plan, row: dict[str, Any], actions: np.ndarray, task: str) -> dict[str, Any]:
    """What vmail noted when it wrote the episode, if it did and the actions (T, A) are still the same.

    The dataset fills in what those notes leave open. Where they say where the episode first came from, this import
    is noted beside that, not in its place.
    """
    number = row["episode_index"]
    told: dict[str, Any] = {"source": "LeRobot dataset", "task": "; ".join(row["tasks"])}
    if TIME not in plan.dataset.features:
        told["times"] = "nominal"
    if plan.dataset.info.get("robot_type"):
        told["robot"] = plan.dataset.info["robot_type"]
    own: dict[str, Any] = {}
    if number < len(plan.own) and plan.own[number]["actions_sha256"] == fingerprint(actions):
        own = plan.own[number]["provenance"]
    notes = own | {name: value for name, value in told.items() if own.get(name) in (None, "")}
    here = {"demonstration": f"episode {number}", "lerobot": plan.notes}
    notes |= {VIA: [*own.get(VIA, []), here]} if own.get("source") else here
    return notes | ({"task": task} if task else {})


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"its metadata has no {error}"
    if isinstance(error, AttributeError | TypeError):
        return f"its metadata is not laid out as LeRobot's ({error})"
    return str(error)
