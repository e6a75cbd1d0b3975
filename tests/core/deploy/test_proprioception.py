"""A policy with proprioception, exported: the same from torch and from ONNX, and nothing runs without its joints."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="torch (the extra `train`) is not installed")

import torch

from vmail_core.deploy import export
from vmail_core.deploy.bundle import MANIFEST, Bundle, BundleError, Sizes, load_bundle, seal
from vmail_core.deploy.certificate import CertificateError, certify, episode_hash
from vmail_core.deploy.runtime import PolicyRuntime
from vmail_core.episodes import Episode, write_episode
from vmail_core.learners.acting import FilteringPolicy
from vmail_core.learners.config import config_from_dict
from vmail_core.learners.run_folder import RunFolder
from vmail_core.learners.vmail import VMAIL

from .conftest import SIZE, random_episodes

MODEL = {"vision": "patch", "image_size": SIZE, "depth": 4, "deter": 32, "stoch": 8, "hidden": 32, "joint_scale": 1.0}
SMALL = {"policy": {"units": 32, "actor_layers": 2, "critic_layers": 1}, "discriminator": {"units": 32}}
TRAINING = {"config": {}, "demos": [], "git_commit": "none", "metrics": {}}
SHIPPED = Path(export.__file__).parents[2] / "vmail" / "demo" / "pretrained" / "dclaw_valve3_ccw"
NOTHING = np.zeros(9, np.float32)


def with_joints(count: int, steps: int, joints: int = 9) -> list[Episode]:
    rng = np.random.default_rng(5)
    return [
        dataclasses.replace(episode, joint_positions=rng.uniform(-1.5, 1.5, (steps, joints)).astype(np.float32))
        for episode in random_episodes(count, steps)
    ]


def make_learner(joint_count: int = 9) -> VMAIL:
    torch.manual_seed(0)
    learner = VMAIL(config_from_dict({"model": MODEL | {"proprioception": True}, **SMALL}), 9, joint_count)
    with torch.no_grad():
        learner.actor.network[-1].weight.mul_(20.0)  # a fresh actor hardly moves: make its actions worth comparing
    return learner


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that observes joints, with practice."""
    learner, folder = make_learner(), RunFolder(tmp_path_factory.mktemp("run") / "run")
    folder.begin(learner.config, ["demo_0"], "radians")
    folder.log(1, {"model_loss": 2.0})
    folder.save_checkpoint(learner, {"update": 1}, np.random.default_rng(0))
    for index, episode in enumerate(with_joints(2, 61)):
        write_episode(folder.practice, episode, f"practice_{index}")
    return folder


@pytest.fixture(scope="module")
def bundle(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Its bundle."""
    return export.export_bundle(run.path, tmp_path_factory.mktemp("bundle") / "bundle")


def test_the_bundle_says_what_its_policy_observes(bundle):
    assert load_bundle(bundle.path).sizes.joints == 9
    assert json.loads((bundle.path / MANIFEST).read_text())["sizes"]["joints"] == 9
    inputs = {node.name: node.type.tensor_type for node in onnx.load(bundle.graph("encoder")).graph.input}
    assert list(inputs) == ["image", "joint_positions"]
    assert [size.dim_value for size in inputs["joint_positions"].shape.dim] == [1, 9]
    assert bundle.training["config"]["model"]["proprioception"] is True


def test_a_vmail_without_proprioception_would_refuse_it_by_its_version(bundle):
    assert json.loads((bundle.path / MANIFEST).read_text())["format_version"] == 2
    assert json.loads((SHIPPED / MANIFEST).read_text())["format_version"] == 1


def test_the_certificate_covers_the_joints(bundle, run):
    certificate, episodes = bundle.certificate, with_joints(2, 61)
    assert certificate["steps"] >= 200 and certificate["differences"]["action"]["worst"] <= 1e-4
    newest_first = [episode_hash(part, True) for part in reversed(episodes)]
    assert [part["sha256"] for part in certificate["episodes"]] == newest_first
    assert episode_hash(episodes[0], True) != episode_hash(episodes[0], False)
    learner = VMAIL(run.config(), 9, 9)
    run.load_networks(learner)
    with torch.no_grad():
        learner.model.joint_encoder.network[-1].bias += 0.05
    with pytest.raises(CertificateError, match="action by"):
        certify(learner.model, learner.actor, learner.discriminator, PolicyRuntime(bundle), episodes)


def test_the_runtime_follows_the_trained_policy_on_its_own_actions(bundle):
    learner = make_learner()
    runtime, policy = PolicyRuntime(bundle), FilteringPolicy(*learner.deployed)
    ours = theirs = NOTHING
    (episode,) = with_joints(1, 200)
    for image, joints in zip(episode.image.copy(), episode.joint_positions.copy(), strict=True):
        ours, theirs = runtime.step(image, ours, joints), policy.act(image, theirs, joints)
    assert np.abs(ours - theirs).max() <= 1e-4 and np.abs(ours).max() > 1e-3


def test_the_action_depends_on_the_joints(bundle):
    runtime, image = PolicyRuntime(bundle), random_episodes(1, 2)[0].image[0]
    actions = []
    for angle in (0.0, 0.0, 0.5):
        runtime.reset()
        actions.append(runtime.step(image, NOTHING, np.full(9, angle, np.float32)))
    assert np.array_equal(actions[0], actions[1])
    assert np.abs(actions[0] - actions[2]).max() > 1e-4


@pytest.mark.parametrize(
    ("joints", "reason"),
    [
        (None, "takes 9 joint positions with every picture: read them from joint_states"),
        (np.zeros(8, np.float32), r"joint_positions must be float32 \(9,\)"),
        (np.zeros(9), r"joint_positions must be float32 \(9,\)"),
        (np.full(9, np.nan, np.float32), "joint_positions must be finite"),
    ],
)
def test_a_step_without_the_right_joints_is_refused_and_leaves_the_memory_alone(bundle, joints, reason):
    runtime, image = PolicyRuntime(bundle), np.zeros((SIZE, SIZE, 3), np.uint8)
    runtime.step(image, NOTHING, NOTHING)
    before = runtime.latent[0]
    with pytest.raises(ValueError, match=reason):
        runtime.step(image, NOTHING, joints)
    assert np.array_equal(runtime.latent[0], before)


@pytest.mark.parametrize(
    ("episodes", "has"), [(random_episodes(1, 5), "no joint positions"), (with_joints(1, 5, 4), "4 joint positions")]
)
def test_episodes_without_the_right_joints_certify_nothing(run, tmp_path, episodes, has):
    with pytest.raises(ValueError, match=f"episode 0 has {has}, the policy takes 9"):
        export.export_bundle(run.path, tmp_path / "out", episodes)
    assert list(tmp_path.iterdir()) == []


def test_a_robot_with_other_joints_is_refused(robot, tmp_path):
    hand = make_learner(joint_count=24)
    with pytest.raises(ValueError, match="takes 24 joint positions, robot 'dclaw' has 9"):
        export.write_bundle(
            hand.model,
            hand.actor,
            hand.discriminator,
            out=tmp_path / "out",
            robot=robot,
            episodes=with_joints(1, 5, 24),
            training=TRAINING,
        )


def test_a_manifest_of_other_joints_than_the_robots_is_refused(bundle, tmp_path):
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    with pytest.raises(BundleError, match=r"manifest\.json: the policy takes 24 joint positions, robot 'dclaw' has 9"):
        seal(dataclasses.replace(bundle, path=copy, sizes=dataclasses.replace(bundle.sizes, joints=24)))


def test_a_manifest_that_hides_the_joints_is_refused(bundle, tmp_path):
    copy = Path(shutil.copytree(bundle.path, tmp_path / "copy"))
    hiding = seal(dataclasses.replace(bundle, path=copy, sizes=dataclasses.replace(bundle.sizes, joints=0)))
    with pytest.raises(BundleError, match=r"encoder\.onnx: inputs are .*joint_positions"):
        PolicyRuntime(hiding)


def test_bundles_without_proprioception_are_written_as_before(bundle_folder):
    assert list(json.loads((bundle_folder / MANIFEST).read_text())["sizes"]) == [
        "action",
        "deter",
        "embed",
        "image",
        "stoch",
    ]
    assert load_bundle(bundle_folder).sizes.joints == 0


def test_the_shipped_bundle_loads_and_leaves_joints_aside():
    runtime, actions = PolicyRuntime(SHIPPED), []
    image = np.full((runtime.bundle.sizes.image,) * 2 + (3,), 100, np.uint8)
    for joints in (None, np.ones(9, np.float32)):
        runtime.reset()
        actions.append(runtime.step(image, NOTHING, joints))
    assert runtime.bundle.sizes.joints == 0 and np.array_equal(*actions)


@pytest.mark.parametrize("joints", [-1, 1.5, True])
def test_a_count_of_joints_is_a_whole_number(joints):
    with pytest.raises(ValueError, match="'joints' must be a whole number, at least 0"):
        Sizes(image=32, embed=8, deter=8, stoch=4, action=9, joints=joints)
