"""Open-loop errors: against a slow reference, on a world that the model knows, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vmail_core.episodes.episode import Episode
from vmail_core.learners.config import load_config
from vmail_core.learners.open_loop import believe, grey_levels, predict_pictures
from vmail_core.learners.trust import (
    Curves,
    OpenLoopErrors,
    leading,
    missed_share,
    open_loop_errors,
    pooled,
    trust_horizon,
)
from vmail_core.learners.vmail import VMAIL
from vmail_core.models import Latent, WorldModel

STEPS, CONTEXT = 4, 3


@pytest.fixture
def model() -> WorldModel:
    torch.manual_seed(0)
    return VMAIL(load_config("debug", {"model.joint_scale": 1.0}), action_size=2, joint_count=2).model


def take(rows: int = 11, seed: int = 0, joints: bool = True) -> Episode:
    rng = np.random.default_rng(seed)
    action = rng.uniform(-1, 1, (rows, 2)).astype(np.float32)
    action[0] = 0.0
    image = rng.integers(0, 256, (rows, 32, 32, 3), dtype=np.uint8)
    angles = rng.normal(size=(rows, 2)).astype(np.float32) if joints else None
    return Episode(image, action, 0.1 * np.arange(rows), angles)


class Reference:
    """One start at a time, one cell at a time, with torch's own GRU cell and no help from RSSM's methods."""

    def __init__(self, model: WorldModel) -> None:
        self.model, self.rssm = model, model.rssm

    def memory(self, deter: torch.Tensor, stoch: torch.Tensor, action: np.ndarray) -> torch.Tensor:
        joined = torch.cat([stoch, torch.tensor(action)])
        return self.rssm.cell(F.elu(self.rssm.embed_in(joined))[None], deter[None])[0]

    def gaussian(self, raw: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, std = raw.chunk(2)
        return mean, F.softplus(std) + self.rssm.min_std

    def belief(self, episode: Episode, row: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        deter, stoch = torch.zeros(self.rssm.deter_size), torch.zeros(self.rssm.stoch_size)
        for t in range(row + 1):
            deter = self.memory(deter, stoch, episode.action[t])
            picture = torch.tensor(episode.image[t]).permute(2, 0, 1)[None] / 255.0 - 0.5
            seen = self.rssm.posterior_embed(self.model.encoder(picture)[0])
            stoch, std = self.gaussian(self.rssm.posterior_out(F.elu(self.rssm.posterior_deter(deter) + seen)))
        return deter, stoch, std

    def foretold(self, episode: Episode, row: int, k: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        deter, stoch, std = self.belief(episode, row)
        for t in range(row + 1, row + k + 1):
            deter = self.memory(deter, stoch, episode.action[t])
            stoch, std = self.gaussian(self.rssm.prior_out(F.elu(self.rssm.prior_hidden(deter))))
        return deter, stoch, std

    def picture(self, deter: torch.Tensor, stoch: torch.Tensor) -> np.ndarray:
        decoded = self.model.decoder(torch.cat([stoch, deter])[None])[0].permute(1, 2, 0)
        return (255.0 * (decoded + 0.5)).clamp(0, 255).numpy()

    def joints(self, deter: torch.Tensor, stoch: torch.Tensor) -> np.ndarray:
        return self.model.joint_head(torch.cat([stoch, deter])).numpy()


@torch.no_grad()
def reference_curves(model: WorldModel, episode: Episode, k: int) -> tuple[list[float], list[float], float]:
    """Errors of pictures and of joints, in the order of Curves, and the KL: k steps ahead from every start."""
    slow = Reference(model)
    pictures: list[list[np.ndarray]] = []
    joints: list[list[np.ndarray]] = []
    kls = []
    for row in range(CONTEXT - 1, len(episode) - STEPS):
        began, ahead, came = slow.belief(episode, row), slow.foretold(episode, row, k), slow.belief(episode, row + k)
        image, angle = episode.image.astype(float), episode.joint_positions
        shown = [slow.picture(*ahead[:2]), image[row], image.mean(0), *(slow.picture(*z[:2]) for z in (began, came))]
        pictures.append([guess - image[row + k] for guess in shown])
        told = [slow.joints(*ahead[:2]), angle[row], angle.mean(0), *(slow.joints(*z[:2]) for z in (began, came))]
        joints.append([guess - angle[row + k] for guess in told])
        normal = [torch.distributions.Normal(*part[1:]) for part in (came, ahead)]
        kls.append(float(torch.distributions.kl_divergence(*normal).sum()))
    rms = [[float(np.sqrt(np.mean(np.square(part)))) for part in zip(*all_)] for all_ in (pictures, joints)]
    return rms[0], rms[1], float(np.mean(kls))


def test_errors_are_those_of_a_slow_reference(model: WorldModel) -> None:
    episode = take()
    found = open_loop_errors(model, episode, STEPS, CONTEXT)
    assert found.starts == 5 and found.joints is not None
    for k in range(1, STEPS + 1):
        pictures, joints, kl = reference_curves(model, episode, k)
        assert [part[k - 1] for part in found.pixels] == pytest.approx(pictures, rel=1e-5)
        assert [part[k - 1] for part in found.joints] == pytest.approx(joints, rel=1e-5)
        assert found.kl[k - 1] == pytest.approx(kl, rel=1e-4)


def known_world(model: WorldModel) -> Episode:
    """A take of a world that is the model's own course: its belief learns nothing from pictures, and is right."""
    rssm = model.rssm
    rssm.posterior_deter.load_state_dict(rssm.prior_hidden.state_dict())
    rssm.posterior_out.load_state_dict(rssm.prior_out.state_dict())
    with torch.no_grad():
        rssm.posterior_embed.weight.zero_()
        for head in (model.joint_head[-1], rssm.prior_out, rssm.posterior_out):
            head.weight.mul_(5.0)  # so that it moves
    episode = take(rows=14)
    beliefs = believe(model, episode.image[:, None], episode.action[:, None]).flatten()
    with torch.no_grad():
        joints = model.joint_head(beliefs.feature).numpy()
    image = grey_levels(model, beliefs).round().to(torch.uint8).movedim(-3, -1).numpy()
    return Episode(image, episode.action, episode.time, joints)


def test_a_world_that_the_model_knows_is_foretold_without_error(model: WorldModel) -> None:
    episode = known_world(model)
    found = open_loop_errors(model, episode, STEPS, CONTEXT)
    assert found.joints is not None
    assert found.joints.predicted == pytest.approx(0.0, abs=1e-5) and found.kl == pytest.approx(0.0, abs=1e-5)
    assert found.pixels.predicted.max() <= 0.5, "more than what rounding to whole grey levels costs"
    assert found.joints.still.min() > 1e-2
    assert trust_horizon(found.joints) == STEPS


def test_under_other_actions_the_same_world_is_not_foretold(model: WorldModel) -> None:
    episode = known_world(model)
    shifted = np.concatenate([episode.action[:1], episode.action[2:], episode.action[1:2]])
    found = open_loop_errors(model, Episode(episode.image, shifted, episode.time, episode.joint_positions), STEPS)
    assert found.joints is not None and found.joints.predicted.min() > 1e-3


def test_looking_leaves_the_random_states_and_the_weights_alone(model: WorldModel) -> None:
    before, weights = torch.get_rng_state(), [part.clone() for part in model.state_dict().values()]
    numpy_before = np.random.get_state()[1].copy()
    episode = take()
    first = open_loop_errors(model, episode, STEPS)
    predict_pictures(model, episode.image[:, None], episode.action[:, None], 3)
    assert torch.equal(before, torch.get_rng_state()) and np.array_equal(numpy_before, np.random.get_state()[1])
    assert all(torch.equal(*pair) for pair in zip(weights, model.state_dict().values(), strict=True))
    assert np.array_equal(first.pixels.predicted, open_loop_errors(model, episode, STEPS).pixels.predicted)


def test_starts_are_spread_over_a_long_take(model: WorldModel) -> None:
    assert open_loop_errors(model, take(rows=40), STEPS, starts=7).starts == 7
    assert open_loop_errors(model, take(rows=STEPS + CONTEXT), STEPS, CONTEXT).starts == 1
    with pytest.raises(AssertionError, match="6 rows is too short for 3 pictures and 4 steps"):
        open_loop_errors(model, take(rows=STEPS + CONTEXT - 1), STEPS, CONTEXT)


def test_pictures_are_reconstructed_while_seen_and_foretold_afterwards(model: WorldModel) -> None:
    episode, other = take(seed=1), take(seed=2)
    shown = predict_pictures(model, episode.image[:, None], episode.action[:, None], 4)
    assert shown.shape == (11, 1, 32, 32, 3) and shown.dtype == np.uint8
    unseen = np.concatenate([episode.image[:4], other.image[4:]])
    assert np.array_equal(shown, predict_pictures(model, unseen[:, None], episode.action[:, None], 4))
    beliefs = believe(model, episode.image[:, None], episode.action[:, None])
    own = grey_levels(model, Latent(*(part[3] for part in beliefs))).round().movedim(-3, -1).numpy()
    assert np.array_equal(shown[3], own.astype(np.uint8))


def test_without_joint_head_or_joint_angles_there_is_no_joint_error(model: WorldModel) -> None:
    blind = VMAIL(load_config("debug"), action_size=2).model
    assert open_loop_errors(blind, take(), STEPS).joints is None
    without = open_loop_errors(model, take(joints=False), STEPS)
    assert without.joints is None
    assert pooled([without, open_loop_errors(model, take(), STEPS)]).joints is None


def curves(predicted: list[float], frozen: list[float], floor: float = 3.0, average: float = 10.0) -> Curves:
    steps = len(frozen)
    parts = [np.array(part) for part in (predicted, frozen, [average] * steps, frozen, [floor] * steps)]
    return Curves(*parts)


def test_pooling_weighs_takes_by_their_starts() -> None:
    short = OpenLoopErrors(1, curves([6.0], [9.0]), None, np.array([1.0]))
    long = OpenLoopErrors(3, curves([2.0], [9.0]), None, np.array([5.0]))
    both = pooled([short, long])
    assert both.starts == 4 and both.kl == pytest.approx([4.0])
    assert both.pixels.predicted == pytest.approx([np.sqrt((36.0 + 3 * 4.0) / 4)])


def test_what_is_missed_is_counted_beyond_the_floor_and_against_the_most_that_changed() -> None:
    # floor 3: prediction 5 is 4 beyond it; change 5 is 4, 13 is sqrt(160), and 3 is nothing: the motion came back.
    share = missed_share(curves([3.0, 5.0, 5.0, 5.0], [5.0, 5.0, 13.0, 3.0]))
    assert share == pytest.approx([0.0, 1.0, np.sqrt(0.1), np.sqrt(0.1)])
    assert missed_share(curves([3.0, 4.0], [3.0, 3.0])).tolist() == [0.0, np.inf]
    assert missed_share(curves([2.0], [2.0])).tolist() == [0.0], "better than its own floor: nothing is missed"


@pytest.mark.parametrize(
    ("predicted", "horizon"),
    [([3.0, 3.1, 3.2], 3), ([3.0, 9.0, 3.0], 1), ([9.0, 3.0, 3.0], 0), ([3.0, 3.0, 9.0], 2)],
)
def test_the_horizon_ends_at_the_first_step_that_is_not_believed(predicted: list[float], horizon: int) -> None:
    assert trust_horizon(curves(predicted, [9.0, 9.0, 9.0])) == horizon


def test_what_is_no_better_than_the_average_is_not_believed(model: WorldModel) -> None:
    assert trust_horizon(curves([3.0, 3.0], [9.0, 9.0], average=3.0)) == 0
    blind = open_loop_errors(model, take(), STEPS, CONTEXT)  # learned nothing: all its pictures are alike
    assert missed_share(blind.pixels).min() < 0.7 and trust_horizon(blind.pixels) == 0


def test_leading() -> None:
    assert [leading(np.array(held)) for held in ([True, True], [True, False], [False, True])] == [2, 1, 0]
