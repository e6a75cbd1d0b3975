"""Policy and discriminator may learn behind the model: it changes when things are done, and nothing else."""

import threading

import numpy as np
import pytest
import torch
from toy_world import Dot, demos

from vmail_core.episodes.replay import Chunks
from vmail_core.learners.config import load_config
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.train import Trainer
from vmail_core.learners.vmail import VMAIL, SpoiltGradientError

UPDATES = 8
SETTINGS = [
    {},
    {"train.average": 0.9, "train.cooldown": 0.5, "policy.normalise": True, "policy.self_imitation": 0.5},
    {"model.stoch": 4, "model.classes": 3, "policy.entropy": 1e-3, "discriminator.penalty": "input"},
    {"train.precision": "bfloat16", "model.norm": True},
]


def batch(update: int) -> dict[str, object]:
    rng = np.random.default_rng(update)
    image = rng.integers(0, 255, (6, 4, 32, 32, 3), dtype=np.uint8)
    expert = Chunks(image[:, :3], rng.uniform(-1, 1, (6, 3, 2)).astype(np.float32), None)
    action = rng.uniform(-1, 1, (6, 4, 2)).astype(np.float32)
    return {"image": image, "action": action, "demo_count": 2, "expert": expert if update % 2 else None}


def learner(settings: dict[str, object], overlap: bool) -> VMAIL:
    torch.manual_seed(0)
    return VMAIL(load_config("debug", settings | {"train.overlap": overlap}), action_size=2)


def learn(made: VMAIL, wait: bool) -> torch.Tensor:
    """All that it has learned after some updates, the last ones with lower rates."""
    torch.manual_seed(1)
    for update in range(UPDATES):
        made.scale_learning_rates(1.0 - update / UPDATES)
        share = min(1.0, update / 3)  # first a warm start
        made.check_gradients(made.begin_update(**batch(update), share=share))
        if wait:
            made.check_gradients(made.finish_update())
    made.check_gradients(made.finish_update())
    return torch.cat([value.flatten().double() for value in made.state_dict().values()]).nan_to_num()


@pytest.mark.parametrize("settings", SETTINGS)
def test_what_is_learned_beside_the_model_is_what_is_learned_after_it(settings):
    expected = learn(learner(settings, overlap=False), wait=False)
    assert torch.equal(expected, learn(learner(settings, overlap=True), wait=True))
    assert torch.equal(expected, learn(learner(settings, overlap=True), wait=False))


def test_it_is_another_thread_that_learns_while_the_model_does():
    made, seen = learner({}, overlap=True), []
    behaviour, go_on = made.learn_behaviour, threading.Event()

    def watched(*given):
        assert go_on.wait(30.0)
        seen.append(threading.current_thread().name)
        return behaviour(*given)

    made.learn_behaviour = watched
    first = made.begin_update(**batch(0))
    assert "model_loss" in first and "actor_loss" not in first, "that comes with the next update, or the end"
    assert not seen
    go_on.set()
    assert "actor_loss" in made.begin_update(**batch(1))
    assert "actor_loss" in made.finish_update() and made.finish_update() == {}
    assert len(seen) == 2 and threading.current_thread().name not in seen


def test_an_error_of_its_thread_comes_with_the_next_update():
    made = learner({}, overlap=True)

    def fails(*given):
        raise ValueError("no such luck")

    made.learn_behaviour = fails
    made.begin_update(**batch(0))
    with pytest.raises(ValueError, match="no such luck"):
        made.begin_update(**batch(1))
    assert made.finish_update() == {}


def test_nothing_is_in_flight_after_an_error(tmp_path):
    config = load_config("debug", {"train.overlap": True, "train.pretrain_updates": 4})
    trainer = Trainer(config, demos(), Dot(), tmp_path)
    torch.nn.init.constant_(trainer.learner.model.rssm.embed_in.weight, float("nan"))
    with pytest.raises(FloatingPointError, match="update 1: the gradient of the model became NaN"):
        trainer.advance()  # the policy has begun to learn from that update when this is found
    assert trainer.learner.finish_update() == {}, "what was in flight has been waited for"


@pytest.mark.parametrize("at_the_end", [False, True])
def test_the_batch_that_spoilt_the_policy_is_kept_though_the_model_is_an_update_ahead(tmp_path, at_the_end):
    config = load_config("debug", {"train.overlap": True, "train.pretrain_updates": 4, "policy.warm_start": 0})
    trainer = Trainer(config, demos(), Dot(), tmp_path)
    clone, count, images = trainer.learner._cloning_loss, [0], []
    spoilt, begin = 4 if at_the_end else 2, trainer.learner.begin_update

    def cloning_loss(expert):
        count[0] += 1
        return clone(expert) * (float("nan") if count[0] == spoilt else 1.0)

    def watch(image, *others):
        images.append(np.array(image))
        return begin(image, *others)

    trainer.learner._cloning_loss, trainer.learner.begin_update = cloning_loss, watch
    with pytest.raises(FloatingPointError, match=f"update {spoilt}: the gradient of the actor became NaN"):
        trainer.advance()
    with np.load(tmp_path / "failed_batch.npz") as kept:
        assert np.array_equal(kept["image"], images[spoilt - 1])


def test_the_models_own_gradient_is_of_the_update_that_was_begun():
    made = learner({}, overlap=True)
    report = made.begin_update(**batch(0)) | {"model_gradient": torch.tensor(float("inf"))}
    with pytest.raises(SpoiltGradientError, match="of the model became NaN") as caught:
        made.check_gradients(report)
    assert not caught.value.behind
    made.finish_update()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_run_that_overlaps_and_resumes_ends_where_an_uninterrupted_one_does(tmp_path, workers):
    config = load_config("debug", {"train.overlap": True, "train.workers": workers, "train.average": 0.9})
    whole = Trainer(config, demos(), Dot(), tmp_path / "whole", make_env=Dot)
    whole.run()
    first = Trainer(config, demos(), Dot(), tmp_path / "parts", make_env=Dot)
    while first.progress.update < 6:
        first.advance()
    first.save()
    first.advance()  # lost: a kill comes before the next checkpoint
    first.collector.close()
    second = Trainer(config, demos(), Dot(), tmp_path / "parts", make_env=Dot)
    assert second.progress.update == 6
    second.run()
    for expected, found in zip(whole.learner.parameters(), second.learner.parameters(), strict=True):
        assert torch.equal(expected, found)
    losses = [RunFolder(tmp_path / name).metrics() for name in ("whole", "parts")]
    assert [row["actor_loss"] for row in losses[0]] == [row["actor_loss"] for row in losses[1]]
