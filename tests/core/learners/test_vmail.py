"""The update of Algorithm 1: what learns from what, and that nothing leaks."""

import numpy as np
import pytest
import torch

from vmail_core.episodes.replay import Chunks
from vmail_core.learners.acting import FilteringPolicy
from vmail_core.learners.config import load_config
from vmail_core.learners.running_mean import RunningMean
from vmail_core.learners.vmail import VMAIL, expert_pairs, frozen
from vmail_core.models import Latent


@pytest.fixture
def learner() -> VMAIL:
    torch.manual_seed(0)
    return VMAIL(load_config("debug"), action_size=2)


def batch(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 255, (6, 4, 32, 32, 3), dtype=np.uint8), rng.uniform(-1, 1, (6, 4, 2)).astype(np.float32)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in module.parameters()])


def test_every_part_learns_and_every_metric_is_finite(learner):
    before = {name: weights(getattr(learner, name)) for name in ("model", "discriminator", "actor", "critic")}
    report = learner.update(*batch(), demo_count=2)
    for name, old in before.items():
        assert not torch.equal(old, weights(getattr(learner, name))), name
    assert all(torch.isfinite(value) for value in report.values()), report


def test_discriminator_and_policy_never_shape_the_model(learner):
    image, action = batch()
    _, report = learner.learn_model(_pixels(image), torch.from_numpy(action))
    beliefs, _ = learner.learn_model(_pixels(image), torch.from_numpy(action))
    before = weights(learner.model)
    expert = (beliefs.feature[:-1, :2].flatten(0, 1), torch.from_numpy(action)[1:, :2].flatten(0, 1))
    practice = (beliefs.feature[:, 2:], torch.from_numpy(action)[1:, 2:])
    learner.learn_behaviour(learner._starts(beliefs), expert, practice)
    assert torch.equal(before, weights(learner.model))
    assert "pixel_loss" in report


def test_the_policys_gradient_agrees_with_finite_differences_through_model_and_discriminator(learner):
    """d(imitation reward)/d(actor bias) through D and the dynamics, noise held fixed."""
    learner.double()
    start = learner.model.rssm.initial(3)
    bias = learner.actor.network[-1].bias

    def objective() -> torch.Tensor:
        torch.manual_seed(3)
        features, actions, _ = learner.imagine(start)
        return learner.discriminator(features[:-1], actions).double().mean()

    with frozen(learner.model, learner.discriminator):
        (gradient,) = torch.autograd.grad(objective(), bias)
    with torch.no_grad():
        step = 1e-5
        bias[0] += step
        above = objective()
        bias[0] -= 2 * step
        below = objective()
        bias[0] += step
    assert float((above - below) / (2 * step)) == pytest.approx(float(gradient[0]), rel=1e-4)


def test_imagined_actions_see_the_state_before_them(learner):
    features, actions, _ = learner.imagine(learner.model.rssm.initial(5))
    horizon = learner.config.policy.horizon
    assert features.shape[:2] == (horizon + 1, 5) and actions.shape == (horizon, 5, 2)
    assert actions.abs().max() <= 1.0


def test_entropy_that_is_worth_something_grows():
    torch.manual_seed(0)
    settings = {"policy.entropy": 1.0, "policy.imitation": 0.1, "policy.cloning": 0.0, "policy.learning_rate": 1e-2}
    learner = VMAIL(load_config("debug", settings), action_size=2)
    with torch.no_grad():
        learner.actor.network[-1].bias[:2] = 8.0  # actions near their limit
    entropies = [float(learner.update(*batch(seed), demo_count=2)["entropy"]) for seed in range(40)]
    assert np.mean(entropies[-5:]) > np.mean(entropies[:5]) + 1.0


def test_a_policy_without_imitation_only_clones(learner):
    config = load_config("debug", {"policy.imitation": 0.0, "policy.cloning": 1.0})
    cloner = VMAIL(config, action_size=2)
    before = weights(cloner.discriminator)
    report = cloner.update(*batch(), demo_count=2)
    assert torch.equal(before, weights(cloner.discriminator))
    assert "cloning_loss" in report and "discriminator_loss" not in report


def test_a_warm_start_clones_and_leaves_discriminator_and_critic_alone(learner):
    before = weights(learner.discriminator), weights(learner.critic)
    report = learner.update(*batch(), demo_count=2, share=0.0)
    assert torch.equal(before[0], weights(learner.discriminator)) and torch.equal(before[1], weights(learner.critic))
    assert "cloning_loss" in report and "imagined_return" not in report


def test_with_a_joint_scale_the_belief_learns_the_joint_angles():
    torch.manual_seed(0)
    learner = VMAIL(load_config("debug", {"model.joint_scale": 500.0}), action_size=2, joint_count=2)
    image, action = batch()
    joints = np.full_like(action, 0.7)
    reports = [learner.update(image, action, 2, 0.0, joints) for _ in range(150)]
    assert float(reports[-1]["joint_loss"]) < 0.1 * float(reports[0]["joint_loss"])
    with pytest.raises(AssertionError, match="joint_scale needs joint positions"):
        learner.update(image, action, 2)


PROPRIOCEPTION = {"model.proprioception": True, "model.joint_scale": 1.0}


def joints_of(seed: int, count: int = 3) -> np.ndarray:
    """Angles that the pictures of `batch` say nothing of, another pose for each chunk."""
    pose = np.random.default_rng(seed).uniform(-1, 1, (1, 4, count)).astype(np.float32)
    return np.broadcast_to(pose, (6, 4, count)).copy()


def joint_error(learner: VMAIL, seed: int, joints: np.ndarray) -> float:
    """Of poses that were not learned from: only who observes the joints can tell them."""
    image, action = batch(seed)
    torch.manual_seed(0)
    with torch.no_grad():
        model, shown = learner.model, torch.from_numpy(joints)
        beliefs, _ = model.rssm.observe(model.embed(_pixels(image), shown), torch.from_numpy(action))
        return float((model.joint_head(beliefs.feature)[2:] - shown[2:]).square().sum(-1).mean())


def test_with_proprioception_the_belief_tells_poses_that_the_pictures_do_not_show():
    """There are more joints than actions. Without observing them, the best guess at a new pose is the mean of all."""
    errors = {}
    for observed in (True, False):
        torch.manual_seed(0)
        settings = {"joint_scale": 500.0, "proprioception": observed, "learning_rate": 3e-3, "hidden": 32, "deter": 16}
        config = load_config("debug", {f"model.{name}": value for name, value in settings.items()})
        learner = VMAIL(config, action_size=2, joint_count=3)
        for seed in range(120):
            learner.update(*batch(seed), 2, 0.0, joints_of(seed))
        errors[observed] = joint_error(learner, 999, joints_of(999))
    assert errors[True] < 0.2 and errors[False] > 0.7, errors  # the poses' own variance is 1


def test_with_proprioception_every_part_learns():
    torch.manual_seed(0)
    learner = VMAIL(load_config("debug", PROPRIOCEPTION), action_size=2, joint_count=3)
    before = {name: weights(part) for name, part in learner.named_children() if list(part.parameters())}
    observed = weights(learner.model.joint_encoder)
    report = learner.update(*batch(), demo_count=2, joint_positions=joints_of(0))
    assert {"model", "actor", "critic", "discriminator"} <= set(before)
    assert not [name for name, old in before.items() if torch.equal(old, weights(getattr(learner, name)))]
    assert not torch.equal(observed, weights(learner.model.joint_encoder))
    assert all(torch.isfinite(value) for value in report.values()), report


def test_without_proprioception_joint_angles_in_the_batch_change_nothing():
    found = []
    for joints in (None, joints_of(0)):
        torch.manual_seed(0)
        learner = VMAIL(load_config("debug"), action_size=2, joint_count=3)
        learner.update(*batch(), demo_count=2, joint_positions=joints)
        found.append((weights(learner), torch.get_rng_state()))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])


@pytest.mark.parametrize("settings", [PROPRIOCEPTION, {"model.joint_scale": 1.0}])
def test_a_robot_without_joints_cannot_give_what_the_config_wants(settings):
    with pytest.raises(ValueError, match=r"model\.joint_scale=1\.0 wants joint angles, and dclaw_valve3_ccw has none"):
        VMAIL(load_config("debug", settings), action_size=2)


def test_a_policy_with_proprioception_acts_on_joint_positions():
    torch.manual_seed(0)
    learner = VMAIL(load_config("debug", PROPRIOCEPTION), action_size=2, joint_count=3)
    with torch.no_grad():
        learner.actor.network[-1].weight.mul_(100.0)  # a fresh actor hardly moves
    policy, image, taken = FilteringPolicy(*learner.deployed), batch()[0][0, 0], np.zeros(2, np.float32)
    actions = []
    for angle in (0.0, 0.0, 1.0):
        policy.reset()
        actions.append(policy.act(image, taken, np.full(3, angle, np.float32)))
    assert np.array_equal(actions[0], actions[1]) and np.abs(actions[0] - actions[2]).max() > 1e-4
    with pytest.raises(ValueError, match="joint positions"):
        policy.act(image, taken)


def test_what_is_deployed_is_the_running_mean_of_the_weights():
    torch.manual_seed(0)
    learner = VMAIL(load_config("debug", {"train.average": 0.75}), action_size=2)
    learner.update(*batch(0), demo_count=2)
    mean = weights(learner.model), weights(learner.actor)
    learner.update(*batch(1), demo_count=2)
    for module, before, deployed in zip((learner.model, learner.actor), mean, learner.deployed, strict=True):
        torch.testing.assert_close(weights(deployed), 2 / 11 * before + 9 / 11 * weights(module))


@pytest.mark.parametrize(("count", "kept"), [(0, 0.0), (1, 2 / 11), (90, 0.9), (10_000, 0.9)])
def test_the_running_mean_is_short_at_first(count, kept):
    mean, current = RunningMean(torch.nn.Linear(1, 1), 0.9), torch.nn.Linear(1, 1)
    torch.nn.init.ones_(mean.module.weight)
    torch.nn.init.zeros_(current.weight)
    mean.n_averaged.fill_(count)
    mean.update(current)
    assert (float(mean.module.weight), int(mean.n_averaged)) == (pytest.approx(kept), count + 1)


def test_without_averaging_the_last_weights_are_deployed(learner):
    assert learner.deployed == (learner.model, learner.actor)


def _pixels(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).movedim(-1, -3).float() / 255.0 - 0.5


def test_an_update_in_bfloat16_learns_as_one_in_float32_does():
    losses = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        learner = VMAIL(load_config("debug", {"train.precision": precision}), action_size=2)
        losses[precision] = [float(learner.update(*batch(seed), demo_count=2)["model_loss"]) for seed in range(3)]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]


def test_d_sees_the_experts_own_batch_and_the_model_does_not(monkeypatch):
    learners, sizes = [], []
    for expert in (None, Chunks(*batch(seed=5), None)):
        torch.manual_seed(0)
        learner = VMAIL(load_config("debug"), action_size=2)
        monkeypatch.setattr(
            learner, "_learn_discriminator", lambda pairs, agent, of=learner: sizes.append(len(pairs[0])) or {}
        )
        torch.manual_seed(1)
        learner.update(*batch(), demo_count=1, expert=expert)
        learners.append(learner)
    assert sizes == [5 * 1, 5 * 4], "pairs of one demonstration in the batch, and of four beside it"
    assert torch.equal(*(weights(learner.model) for learner in learners))


def test_the_first_returns_are_those_of_eq_8():
    settings = {"policy.cloning": 0.0, "policy.self_imitation": 0.0, "policy.trace": 1.0}
    losses = {}
    for which in ("first", "all"):
        torch.manual_seed(0)
        learner = VMAIL(load_config("debug", settings | {"policy.returns": which}), action_size=2)
        report = learner.update(*batch(), demo_count=2)
        losses[which] = float(report["actor_loss"])
    assert losses["first"] == pytest.approx(-float(report["imagined_return"]), rel=1e-5)
    assert abs(losses["all"] - losses["first"]) > 1e-3


def test_expert_pairs_are_beliefs_and_what_the_expert_did_there():
    """A chunk's action[t] led to picture t, so what was done at belief t is action[t + 1]."""
    feature = torch.arange(4.0)[:, None, None] + torch.tensor([0.0, 100.0])[:, None]
    action = -feature
    features, actions = expert_pairs(feature, action)
    assert features.flatten().tolist() == [0.0, 100.0, 1.0, 101.0, 2.0, 102.0]
    assert actions.flatten().tolist() == [-1.0, -101.0, -2.0, -102.0, -3.0, -103.0]


def test_imagination_starts_at_every_belief_but_the_last_of_a_chunk():
    learner = VMAIL(load_config("debug", {"policy.imagine_from": None}), action_size=2)
    deter = torch.arange(5.0)[:, None, None] + torch.tensor([0.0, 100.0])[:, None]
    assert learner._starts(Latent(deter, deter, deter, deter)).deter.flatten().tolist() == [
        0.0, 100.0, 1.0, 101.0, 2.0, 102.0, 3.0, 103.0
    ]  # fmt: skip


def test_d_judges_practice_only_once_it_has_learned(learner):
    assert learner.judge is None
    learner.update(*batch(), demo_count=2, share=0.0)
    assert learner.judge is None, "nobody has taught it in the warm start"
    learner.update(*batch(), demo_count=2)
    assert learner.judge is learner.discriminator
