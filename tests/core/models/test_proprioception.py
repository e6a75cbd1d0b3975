"""Proprioception: the belief is drawn from joint angles where they are observed, and only there."""

import pytest
import torch

from vmail_core.models import Latent, WorldModel
from vmail_core.models.proprioception import JointEncoder, symlog

JOINTS = 5  # more than actions, as a hand has whose joints are coupled


def world(**joints: int) -> WorldModel:
    torch.manual_seed(0)
    return WorldModel(32, 2, depth=2, deter=8, stoch=4, hidden=8, min_std=0.1, norm=False, **joints)


def belief(model: WorldModel, joints: torch.Tensor | None) -> Latent:
    """After two equal pictures, without noise."""
    image, action = torch.full((3, 32, 32, 3), 90, dtype=torch.uint8), torch.zeros(3, 2)
    first = model.filter_image(model.rssm.initial(3), action, image, joints)
    return model.filter_image(first, action, image, joints)


def beliefs_in_learning(model: WorldModel, joints: torch.Tensor | None) -> torch.Tensor:
    pixels = torch.full((4, 3, 3, 32, 32), 0.1)
    torch.manual_seed(1)
    return model.rssm.observe(model.embed(pixels, joints), torch.zeros(4, 3, 2))[0].feature


def test_the_belief_follows_joints_that_are_observed():
    model = world(observed_joints=JOINTS)
    still, moved = torch.zeros(3, JOINTS), torch.zeros(3, JOINTS)
    moved[1, 2] = 0.5
    changed = (belief(model, still).mean - belief(model, moved).mean).abs().amax(1)
    assert changed[1] > 1e-3 and changed[0] == changed[2] == 0.0
    learned = (
        beliefs_in_learning(model, still.expand(4, 3, -1)) - beliefs_in_learning(model, moved.expand(4, 3, -1))
    ).abs()
    assert learned[:, 1].amax() > 1e-3 and not learned[:, [0, 2]].any()


@pytest.mark.parametrize("joints", [{}, {"predicted_joints": JOINTS}])
def test_joints_that_are_not_observed_change_nothing(joints):
    model, moved = world(**joints), torch.ones(3, JOINTS)
    assert torch.equal(belief(model, moved).feature, belief(model, None).feature)
    assert torch.equal(beliefs_in_learning(model, moved.expand(4, 3, -1)), beliefs_in_learning(model, None))


def test_joints_that_are_observed_cannot_be_left_out():
    model = world(observed_joints=JOINTS)
    with pytest.raises(ValueError, match="drawn from joint positions too"):
        belief(model, None)
    with pytest.raises(ValueError, match="drawn from joint positions too"):
        beliefs_in_learning(model, None)


def test_a_model_without_proprioception_is_initialised_as_if_there_were_none():
    plain, predicting = world(), world(predicted_joints=JOINTS)
    for name, weight in plain.state_dict().items():
        assert torch.equal(weight, predicting.state_dict()[name]), name
    assert not [name for name in predicting.state_dict() if "joint_encoder" in name]


def test_the_picture_keeps_its_place_and_the_joints_come_after_it():
    encoder, seen = JointEncoder(JOINTS, hidden=6), torch.randn(2, 3, 7)
    embedded = encoder(seen, torch.randn(2, 3, JOINTS))
    assert embedded.shape == (2, 3, 7 + encoder.embed_size) and torch.equal(embedded[..., :7], seen)


def test_symlog_keeps_small_angles_and_squashes_turns():
    angles = torch.tensor([0.0, 0.01, -0.01, 100.0, -100.0], requires_grad=True)
    found = symlog(angles)
    torch.testing.assert_close(
        found.detach(), torch.tensor([0.0, 0.00995, -0.00995, 4.6151, -4.6151]), atol=1e-4, rtol=0
    )
    found.sum().backward()
    assert torch.isfinite(angles.grad).all()
