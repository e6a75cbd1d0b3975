"""The networks of V-MAIL (Fig. 1): encoder, RSSM, decoder, actor, critic, discriminator."""

from vmail_core.models.heads import Actor, Critic, Discriminator
from vmail_core.models.rssm import RSSM, Latent
from vmail_core.models.vision import Decoder, Encoder, preprocess
from vmail_core.models.world_model import WorldModel

__all__ = ["RSSM", "Actor", "Critic", "Decoder", "Discriminator", "Encoder", "Latent", "WorldModel", "preprocess"]
