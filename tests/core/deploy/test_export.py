"""What is exported does what was trained, and is not written when it does not."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch (the extra `train`) is not installed")

import torch

from vmail_core.deploy import export
from vmail_core.deploy.bundle import GRAPHS, Bundle, load_bundle
from vmail_core.deploy.certificate import CertificateError, _summarise, certify
from vmail_core.deploy.runtime import PolicyRuntime
from vmail_core.episodes import load_episodes
from vmail_core.learners.acting import FilteringPolicy
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.vmail import VMAIL
from vmail_core.models import Actor, Discriminator, WorldModel

from .conftest import random_episodes


@pytest.fixture
def learner(run_folder: Path) -> VMAIL:
    folder = RunFolder(run_folder)
    learner = VMAIL(folder.config(), 9)
    folder.load_networks(learner)
    return learner


@pytest.mark.parametrize("classes", [None, 4])
def test_the_papers_vision_normed_networks_and_categories_export_too(robot, tmp_path, classes):
    torch.manual_seed(0)
    sizes = {"depth": 4, "deter": 16, "stoch": 4, "hidden": 16}
    model = WorldModel(32, 9, **sizes, min_std=0.1, norm=True, vision="dreamer", classes=classes)
    actor = Actor(model.feature_size, 9, units=16, layers=2, init_std=5.0, min_std=1e-4, norm=True)
    discriminator = Discriminator(model.feature_size, 9, units=16, layers=2, norm=True)
    training = {"config": {}, "demos": [], "git_commit": "none", "metrics": {}}
    bundle = export.write_bundle(
        model,
        actor,
        discriminator,
        out=tmp_path / "bundle",
        robot=robot,
        episodes=random_episodes(1, 30),
        training=training,
    )
    assert bundle.certificate["steps"] >= 200, "a short episode is played again until there are enough steps"
    assert bundle.certificate["differences"]["action"]["worst"] <= 1e-4


def test_the_certificate_covers_hundreds_of_recurrent_steps(bundle_folder):
    certificate = load_bundle(bundle_folder).certificate
    assert certificate["steps"] >= 200
    assert certificate["differences"]["action"]["worst"] <= 1e-4
    assert certificate["differences"]["pixel"]["worst"] <= 1
    assert [episode["frames"] for episode in certificate["episodes"]] == [81, 81]
    assert certificate["versions"]["torch"] == torch.__version__


def test_the_runtime_follows_the_trained_policy_on_its_own_actions(bundle_folder, learner):
    """The certificate replays recorded actions; here each side is fed what it chose itself."""
    runtime, policy = PolicyRuntime(bundle_folder), FilteringPolicy(learner.model, learner.actor)
    ours = theirs = np.zeros(9, np.float32)
    (episode,) = random_episodes(1, 200)
    for image in episode.image:
        ours, theirs = runtime.step(image.copy(), ours), policy.act(image.copy(), theirs)
    assert np.abs(ours - theirs).max() <= 1e-4
    assert np.abs(ours).max() > 1e-3


def test_the_preview_is_the_decoders_picture(bundle_folder, learner):
    runtime, policy = PolicyRuntime(bundle_folder), FilteringPolicy(learner.model, learner.actor)
    (episode,) = random_episodes(1, 3)
    for image, action in zip(episode.image.copy(), episode.action.copy(), strict=True):
        runtime.step(image, action)
        policy.act(image, action)
    with torch.no_grad():
        picture = learner.model.decoder(policy.belief.feature)[0].movedim(0, -1).numpy()
    assert np.abs(runtime.preview() - ((picture + 0.5) * 255).clip(0, 255)).max() <= 1.0
    assert np.ptp(picture) > 0.01


def test_graphs_of_other_networks_are_not_certified_and_nothing_is_written(
    bundle_folder, run_folder, learner, tmp_path, monkeypatch
):
    def stale_graphs(model, actor, discriminator, folder):
        for name in GRAPHS:
            shutil.copy(bundle_folder / name, folder / name)
        return load_bundle(bundle_folder).sizes

    monkeypatch.setattr(export, "write_graphs", stale_graphs)
    monkeypatch.setattr(RunFolder, "load_networks", lambda self, learner: None)  # networks as they were initialised
    with pytest.raises(CertificateError, match="action by"):
        export.export_bundle(run_folder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_difference_just_above_the_tolerance_fails(bundle_folder, run_folder, learner):
    with torch.no_grad():
        learner.actor.network[-1].bias += 3e-4
    with pytest.raises(CertificateError, match="action by"):
        certify_run(bundle_folder, run_folder, learner)


def test_a_broken_discriminator_or_decoder_fails_too(bundle_folder, run_folder, learner):
    with torch.no_grad():
        learner.discriminator.network[-1].bias += 0.1
    with pytest.raises(CertificateError, match="likeness by"):
        certify_run(bundle_folder, run_folder, learner)
    with torch.no_grad():
        learner.discriminator.network[-1].bias -= 0.1
        list(learner.model.decoder.parameters())[-1] += 0.1
    with pytest.raises(CertificateError, match="pixel by"):
        certify_run(bundle_folder, run_folder, learner)


def certify_run(bundle_folder: Path, run_folder: Path, learner: VMAIL) -> dict:
    episodes = load_episodes(run_folder / "practice")
    return certify(learner.model, learner.actor, learner.discriminator, PolicyRuntime(bundle_folder), episodes)


def test_episodes_of_another_picture_size_are_refused(bundle_folder, learner):
    runtime = PolicyRuntime(bundle_folder)
    with pytest.raises(ValueError, match=r"\(16, 16, 3\)"):
        certify(learner.model, learner.actor, learner.discriminator, runtime, random_episodes(1, 5, size=16))
    with pytest.raises(ValueError, match="needs recorded episodes"):
        certify(learner.model, learner.actor, learner.discriminator, runtime, [])


def test_a_robot_with_other_joints_is_refused(learner, robot, tmp_path):
    import dataclasses

    smaller = dataclasses.replace(robot, joint_names=robot.joint_names[:3])
    with pytest.raises(ValueError, match="9 actions"):
        export.write_bundle(
            learner.model,
            learner.actor,
            learner.discriminator,
            out=tmp_path / "out",
            robot=smaller,
            episodes=[],
            training={},
        )


def test_a_run_that_learned_from_another_robots_demonstrations_is_refused(run_folder, robot, tmp_path):
    run = shutil.copytree(run_folder, tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    for interfaces, message in (([robot.digest()], ""), ([robot.digest(), "f" * 64], "another robot than dclaw")):
        (run / "run.json").write_text(json.dumps({**facts, "interfaces": interfaces}))
        with pytest.raises(ValueError, match=message) if message else contextlib.nullcontext():
            export.export_bundle(run, tmp_path / "out", overwrite=True)


def test_a_number_that_is_none_fails_wherever_it_comes():
    with pytest.raises(CertificateError, match="action by nan"):
        _summarise("action", [0.0, float("nan"), 1e-6])


def test_a_run_without_a_checkpoint_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="vmail train"):
        export.export_bundle(tmp_path / "nothing", tmp_path / "out")


def test_a_run_that_was_stopped_before_its_practice_is_to_go_on(run_folder, tmp_path):
    run = shutil.copytree(run_folder, tmp_path / "run")
    practice = shutil.move(run / "practice", tmp_path / "practice")
    with pytest.raises(FileNotFoundError, match="has not practised yet.*the same `vmail train` command"):
        export.export_bundle(run, tmp_path / "out")
    assert export.export_bundle(run, tmp_path / "out", practice).path == tmp_path / "out"


def test_the_manifest_tells_the_runs_story(bundle_folder: Path):
    bundle: Bundle = load_bundle(bundle_folder)
    metrics = bundle.training["metrics"]
    assert metrics["last"]["eval_radians"] == 0.5
    assert metrics["last"]["model_loss"] is None, "a NaN must become null: JSON has no NaN"
    assert [row["update"] for row in metrics["evaluations"]] == [1]


def test_graphs_carry_no_paths_of_the_machine_that_made_them(bundle_folder):
    here = str(Path(export.__file__).parents[2]).encode()
    for name in GRAPHS:
        content = (bundle_folder / name).read_bytes()
        assert here not in content and b"site-packages" not in content, name


def test_a_certificate_names_the_episodes_that_it_went_through(learner, bundle_folder) -> None:
    episodes = random_episodes(4, 30)
    found = certify(
        learner.model, learner.actor, learner.discriminator, PolicyRuntime(bundle_folder), episodes, steps=45
    )
    assert found["steps"] == 45 and len(found["episodes"]) == 2
