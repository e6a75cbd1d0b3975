"""The loop of Algorithm 1 on a toy world: it collects, logs, stops and resumes; rewards never reach the learner."""

import dataclasses
import json
import resource

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from toy_world import Brief, Dot, demos

from vmail_core.episodes.store import read_episode
from vmail_core.learners import train
from vmail_core.learners.collect import rollout
from vmail_core.learners.config import Config, load_config
from vmail_core.learners.prediction_pictures import GAP, HEADING, SIDE
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.train import Trainer


@pytest.fixture
def config() -> Config:
    return load_config("debug")


def parameters(trainer: Trainer) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in trainer.learner.parameters()])


def test_a_run_leaves_config_metrics_checkpoint_and_practice(tmp_path, config):
    Trainer(config, demos(), Dot(), tmp_path / "run").run()
    folder = RunFolder(tmp_path / "run")
    assert folder.config() == config
    rows = folder.metrics()
    assert rows[-1]["update"] >= config.train.updates and rows[-1]["env_steps"] > 0
    assert any("eval_radians" in row for row in rows)
    assert len(list(folder.practice.glob("*.npz"))) >= 1
    assert json.loads((folder.path / "run.json").read_text())["torch"] == torch.__version__


def test_rewards_never_reach_the_learner(tmp_path, config):
    runs = []
    for seed in (1, 2):
        trainer = Trainer(config, demos(), Dot(reward_seed=seed), tmp_path / str(seed))
        trainer.run()
        runs.append(parameters(trainer))
    assert torch.equal(*runs)


def test_practice_may_end_before_a_chunk_is_full_also_when_a_run_goes_on(tmp_path, config):
    first = Trainer(config, demos(), Brief(ends=True), tmp_path / "run")
    while first.progress.update < 6:
        first.advance()
    first.save()
    second = Trainer(config, demos(), Brief(ends=True), tmp_path / "run")
    assert len(second.practice) == second.progress.episodes > 0
    second.run()
    practised = [read_episode(path) for path in RunFolder(tmp_path / "run").practice.glob("*.npz")]
    assert practised and all(len(episode) == 3 and episode.provenance["ended"] for episode in practised)


def test_time_that_is_always_too_short_for_a_chunk_is_refused(tmp_path, config):
    with pytest.raises(ValueError, match=f"episode has 3 rows, chunks need {config.train.length}"):
        Trainer(config, demos(), Brief(ends=False), tmp_path / "run").run()


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(tmp_path, average):
    config = load_config("debug", {"train.average": average})
    whole = Trainer(config, demos(), Dot(), tmp_path / "whole")
    whole.run()
    first = Trainer(config, demos(), Dot(), tmp_path / "parts")
    half_way = 6
    while first.progress.update < half_way:
        first.advance()
    first.save()
    first.advance()  # lost: a kill comes before the next checkpoint
    second = Trainer(config, demos(), Dot(), tmp_path / "parts")
    assert second.progress.update == half_way
    second.run()
    assert torch.equal(parameters(whole), parameters(second))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_killed_before_its_first_checkpoint_begins_again(tmp_path, workers):
    config = load_config("debug", {"train.workers": workers, "train.checkpoint_minutes": 1000.0})
    whole = Trainer(config, demos(), Dot(), tmp_path / "whole", make_env=Dot)
    whole.run()
    killed = Trainer(config, demos(), Dot(), tmp_path / "parts", make_env=Dot)
    while killed.progress.episodes < 2:
        killed.advance()
    killed.collector.close()
    again = Trainer(config, demos(), Dot(), tmp_path / "parts", make_env=Dot)
    assert again.progress.update == 0
    again.run()
    assert torch.equal(parameters(whole), parameters(again))
    written = [[row["update"] for row in RunFolder(tmp_path / name).metrics()] for name in ("whole", "parts")]
    assert written[0] == written[1]


def test_a_checkpoint_that_is_damaged_is_named(tmp_path, config):
    Trainer(config, demos(), Dot(), tmp_path).run()
    networks = tmp_path / "checkpoint" / "networks.safetensors"
    networks.write_bytes(networks.read_bytes()[: networks.stat().st_size // 2])
    for damaged in (lambda: Trainer(config, demos(), Dot(), tmp_path), RunFolder(tmp_path).action_size):
        with pytest.raises(ValueError, match=r"checkpoint is damaged .*restore it from a copy"):
            damaged()
    (tmp_path / "checkpoint" / "state.json").write_text("{")
    with pytest.raises(ValueError, match="checkpoint is damaged"):
        RunFolder(tmp_path).state()


def test_evaluations_show_what_the_model_foretells_of_the_same_chunks(tmp_path, monkeypatch):
    shown = {}
    monkeypatch.setattr(train, "write_video", lambda path, frames, rate: shown.update({path.name: np.stack(frames)}))
    Trainer(load_config("debug", {"train.updates": 16}), demos(), Dot(), tmp_path).run()
    names = [f"prediction_{update:07d}.mp4" for update in (6, 10, 14, 16)]
    assert sorted(name for name in shown if name.startswith("prediction")) == names
    first, _, earlier, last = (shown[name] for name in names)
    row, column = SIDE + HEADING, SIDE + GAP
    assert last.shape == (6, 4 * row, 3 * SIDE + 2 * GAP, 3), "two demonstrations and two of practice"
    assert np.array_equal(earlier[:, :, :SIDE], last[:, :, :SIDE]), "the same truth each time"
    assert np.array_equal(first[:, : 2 * row, :SIDE], last[:, : 2 * row, :SIDE]), "demonstrations: from the first on"
    assert not np.array_equal(earlier[:, :, column : column + SIDE], last[:, :, column : column + SIDE])


def test_looking_at_the_model_leaves_the_random_states_alone(tmp_path, config):
    trainer = Trainer(config, demos(), Dot(), tmp_path)
    trainer.advance()
    torch_before, numpy_before = torch.get_rng_state(), trainer.rng.bit_generator.state
    trainer.evaluate()
    assert torch.equal(torch_before, torch.get_rng_state()) and numpy_before == trainer.rng.bit_generator.state


def test_videos_of_predictions_play(tmp_path, config):
    trainer = Trainer(config, demos(), Dot(), tmp_path)
    trainer.evaluate()
    frames = iio.imread(tmp_path / "videos" / "prediction_0000000.mp4", plugin="pyav")
    assert frames.shape == (6, 2 * (SIDE + HEADING), 3 * SIDE + 2 * GAP, 3)
    assert frames[:, :HEADING].mean() > 200 > frames.mean(), "white paper with a title above the pictures"


def test_a_folder_of_another_run_is_refused(tmp_path, config):
    Trainer(config, demos(), Dot(), tmp_path)
    other = dataclasses.replace(config, task="another")
    with pytest.raises(ValueError, match="another config"):
        Trainer(other, demos(), Dot(), tmp_path)


def test_no_demonstrations_is_one_clear_error(tmp_path, config):
    with pytest.raises(ValueError, match="no demonstrations.*vmail import"):
        Trainer(config, [], Dot(), tmp_path)


def test_nan_stops_the_run_and_names_it(tmp_path, config):
    trainer = Trainer(config, demos(), Dot(), tmp_path / "run")
    with torch.no_grad():
        next(trainer.learner.model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match=r"run, update 1: the gradient of .* in .*failed_batch\.npz"):
        trainer.run()
    with np.load(tmp_path / "run" / "failed_batch.npz") as batch:
        assert batch["image"].shape == (config.train.length, config.train.batch, 32, 32, 3)
        assert batch["action"].shape == (config.train.length, config.train.batch, 2)


def test_what_d_alone_was_shown_is_kept_with_a_batch_that_failed(tmp_path, config, monkeypatch):
    config = load_config("debug", {"train.expert_batch": 3})
    trainer = Trainer(config, demos(), Dot(), tmp_path / "run")
    sample = trainer.demos.sample

    def spoilt(count, rng):
        chunks = sample(count, rng)
        return chunks._replace(action=np.full_like(chunks.action, np.nan)) if count == 3 else chunks

    monkeypatch.setattr(trainer.demos, "sample", spoilt)
    with pytest.raises(FloatingPointError, match=r"discriminator .*failed_batch\.npz"):
        trainer.run()
    with np.load(tmp_path / "run" / "failed_batch.npz") as batch:
        assert np.isfinite(batch["action"]).all() and np.isnan(batch["expert_action"]).all()
        assert batch["expert_image"].shape == (config.train.length, 3, 32, 32, 3)


def small_files(most: int) -> None:
    """No file of this process may grow beyond so many bytes: what a full disk looks like, at a place of our choice."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def test_a_disk_that_is_full_leaves_the_last_checkpoint(tmp_path, config):
    trainer = Trainer(config, demos(), Dot(), tmp_path / "run")
    trainer.advance()
    trainer.save()
    saved = trainer.progress.update
    trainer.advance()
    small_files(1000)
    try:
        with pytest.raises(OSError, match=r"cannot write to .*run: .*start the same command again"):
            trainer.save()
    finally:
        small_files(resource.RLIM_INFINITY)
    assert Trainer(config, demos(), Dot(), tmp_path / "run").progress.update == saved


# imageio writes the end of a video once more when it is collected, and fails again.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_that_is_full_is_one_clear_error_when_a_video_is_written(tmp_path, config):
    trainer = Trainer(config, demos(), Dot(), tmp_path / "run")
    trainer.folder.videos.mkdir(parents=True)
    (trainer.folder.videos / f"update_{0:07d}.mp4").symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"cannot write to .*run: .*start the same command again"):
        trainer.evaluate()


def test_joint_angles_that_were_not_recorded_are_missed_at_once(tmp_path):
    config = load_config("debug", {"model.joint_scale": 1.0})
    with pytest.raises(ValueError, match=r"has no joint angles.*model\.joint_scale=0"):
        Trainer(config, demos(), Dot(), tmp_path)


PROPRIOCEPTION = {"model.proprioception": True, "model.joint_scale": 1.0}


def test_a_run_with_proprioception_and_more_joints_than_actions_practises_and_resumes(tmp_path):
    config = load_config("debug", PROPRIOCEPTION)
    whole = Trainer(config, demos(3), Dot(joint_count=3), tmp_path / "whole")
    whole.run()
    first = Trainer(config, demos(3), Dot(joint_count=3), tmp_path / "parts")
    while first.progress.update < 4:
        first.advance()
    first.save()
    second = Trainer(config, demos(3), Dot(joint_count=3), tmp_path / "parts")
    second.run()
    assert torch.equal(parameters(whole), parameters(second))
    folder = RunFolder(tmp_path / "whole")
    practised = [read_episode(path) for path in sorted(folder.practice.glob("*.npz"))]
    assert practised and all(episode.joint_positions.shape == (len(episode), 3) for episode in practised)
    assert all(np.isfinite(row["joint_loss"]) for row in folder.metrics() if "joint_loss" in row)
    assert any("joint_loss" in row for row in folder.metrics())


@pytest.mark.parametrize("settings", [PROPRIOCEPTION, {"model.joint_scale": 1.0}])
def test_a_world_without_joints_is_refused_before_anything_is_learned(tmp_path, settings):
    with pytest.raises(ValueError, match="has 3 joint angles, dclaw_valve3_ccw has 0"):
        Trainer(load_config("debug", settings), demos(3), Dot(), tmp_path)


def test_a_rollout_hands_each_picture_the_joints_at_it():
    class Watcher:
        seen: list[np.ndarray] = []

        def reset(self) -> None:
            self.seen.clear()

        def act(self, image, previous_action, joint_positions=None):
            self.seen.append(joint_positions)
            return np.array([0.3, -0.2], np.float32)

    policy = Watcher()
    episode, _ = rollout(policy, Dot(joint_count=5), seed=3)
    assert np.array_equal(np.stack(policy.seen), episode.joint_positions[:-1])
    assert np.ptp(episode.joint_positions, axis=0).max() > 0.05
    rollout(policy, Dot(), seed=3)
    assert policy.seen == [None] * 8


def test_learning_rates_fall_to_zero_over_the_cooldown_and_a_resumed_run_goes_on_there(tmp_path):
    config = load_config("debug", {"train.cooldown": 0.5, "train.updates": 8, "train.updates_per_episode": 1})
    whole, rates = Trainer(config, demos(), Dot(), tmp_path / "whole"), []
    while not whole.done:
        whole.advance()
        rates.append(whole.learner.optimisers["actor"].param_groups[0]["lr"] / config.policy.learning_rate)
    assert rates == pytest.approx([1.0, 1.0, 1.0, 1.0, 1.0, 0.75, 0.5, 0.25])
    first = Trainer(config, demos(), Dot(), tmp_path / "parts")
    while first.progress.update < 6:
        first.advance()
    first.save()
    second = Trainer(config, demos(), Dot(), tmp_path / "parts")
    second.run()
    assert torch.equal(parameters(whole), parameters(second))


def test_practice_is_prefilled_before_the_first_update_and_then_goes_on_as_without(tmp_path):
    counts = {}
    for prefill in (0, 3):
        config = load_config("debug", {"train.prefill_episodes": prefill})
        trainer, counts[prefill] = Trainer(config, demos(), Dot(), tmp_path / str(prefill)), {}
        while not trainer.done:
            trainer.advance()
            counts[prefill][trainer.progress.update] = trainer.progress.episodes
    assert counts[3].pop(0) == 2  # turns without updates; the third episode opens the turn of the first ones
    assert counts[3] == {update: 3 + episodes for update, episodes in counts[0].items()}


def test_a_run_goes_on_only_with_its_own_demonstrations_and_practice(tmp_path, config):
    Trainer(config, demos(), Dot(), tmp_path).run()
    with pytest.raises(ValueError, match="was begun with other demonstrations"):
        Trainer(config, demos()[:1], Dot(), tmp_path)
    next((tmp_path / "practice").glob("*.npz")).unlink()
    with pytest.raises(ValueError, match=r"practice holds \d episodes, the checkpoint has learned from \d"):
        Trainer(config, demos(), Dot(), tmp_path)


def test_the_first_updates_end_where_practice_begins(tmp_path):
    config = load_config("debug", {"train.pretrain_updates": 3, "train.updates_per_episode": 5, "train.updates": 9})
    trainer, turns = Trainer(config, demos(), Dot(), tmp_path), []
    while not trainer.done:
        trainer.advance()
        turns.append((trainer.progress.update, trainer.progress.episodes))
    assert turns == [(3, 0), (8, 1), (9, 2)]


@pytest.mark.parametrize("prefill", [0, 2])
def test_episodes_that_end_early_count_by_their_share(tmp_path, prefill):
    def schedule(name: str, env: Dot, episode_steps: int | None) -> list[tuple[int, int]]:
        chosen = {"train.episode_steps": episode_steps, "train.prefill_episodes": prefill}
        trainer, steps = Trainer(load_config("debug", chosen), demos(), env, tmp_path / name), []
        while not trainer.done:
            trainer.advance()
            steps.append((trainer.progress.update, trainer.progress.env_steps))
        return steps

    whole = schedule("whole", Dot(), None)
    assert schedule("told", Dot(), 8) == whole
    brief = dict(schedule("brief", Brief(ends=True), 8))  # of two steps each
    for update, steps in dict(whole).items():
        assert steps - 8 < brief[update] <= steps
    assert schedule("untold", Brief(ends=True), None)[-1][1] == whole[-1][1] // 4


def test_the_experts_own_batch_is_drawn_from_the_demonstrations(tmp_path, monkeypatch):
    config = load_config("debug", {"train.expert_batch": 5})
    trainer, seen = Trainer(config, demos(), Dot(), tmp_path), []
    whole = trainer.learner.begin_update

    def watch(image, action, demo_count, share, joints, expert):
        seen.append(expert.action)
        return whole(image, action, demo_count, share, joints, expert)

    monkeypatch.setattr(trainer.learner, "begin_update", watch)
    trainer.run()
    recorded = {row.tobytes() for demo in demos() for row in demo.action}
    assert trainer.progress.episodes and all(part.shape == (config.train.length, 5, 2) for part in seen)
    assert all(row.tobytes() in recorded for row in np.concatenate(seen).reshape(-1, 2))


def test_demonstrations_may_fill_a_whole_batch_beside_practice(tmp_path):
    config = load_config("debug", {"train.demo_fraction": 0.95})
    trainer = Trainer(config, demos(), Dot(), tmp_path)
    trainer.run()
    assert trainer.progress.episodes and trainer.done


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train.cooldown": -0.1}, "train.cooldown cannot be -0.1: it is at least 0 and at most 1"),
        ({"train.minutes": 0.0}, "train.minutes cannot be 0.0"),
        ({"train.updates": 0}, "train.updates cannot be 0"),
        ({"policy.self_imitation": 0.5, "policy.bootstrap": False}, "leaves untrained"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        load_config("debug", settings)
