import pytest
import torch
from torch import nn

from vmail_core.models import WorldModel, preprocess
from vmail_core.models.vision import Decoder


@pytest.mark.parametrize("vision", ["dreamer", "patch"])
@pytest.mark.parametrize("size", [32, 64, 128])
def test_an_image_comes_back_in_its_own_size(vision, size):
    model = WorldModel(size, 2, depth=4, deter=8, stoch=4, hidden=8, min_std=0.1, norm=False, vision=vision)
    pixels = preprocess(torch.zeros(3, 2, size, size, 3, dtype=torch.uint8))
    embed = model.embed(pixels)
    beliefs, _ = model.rssm.observe(embed, torch.zeros(3, 2, 2))
    assert model.decoder(beliefs.feature.flatten(0, 1)).shape == pixels.flatten(0, 1).shape


def test_the_paper_s_embedding_of_64_pixels_has_1024_numbers():
    model = WorldModel(64, 2, depth=32, deter=8, stoch=4, hidden=8, min_std=0.1, norm=False)
    assert model.embed(torch.zeros(1, 1, 3, 64, 64)).shape == (1, 1, 1024)


@pytest.mark.parametrize(
    ("size", "encoder", "decoder"),
    [
        (64, [32, 64, 128, 256], [(128, 5), (64, 5), (32, 6), (3, 6)]),
        (128, [32, 64, 128, 256, 256], [(128, 5), (64, 5), (32, 5), (32, 6), (3, 6)]),
    ],
)
def test_convolutions_have_the_published_sizes(size, encoder, decoder):
    model = WorldModel(size, 2, depth=32, deter=8, stoch=4, hidden=8, min_std=0.1, norm=False)
    down = [layer for layer in model.encoder.convolutions if isinstance(layer, nn.Conv2d)]
    up = [layer for layer in model.decoder.convolutions if isinstance(layer, nn.ConvTranspose2d)]
    assert [(layer.out_channels, layer.kernel_size[0]) for layer in down] == [(width, 4) for width in encoder]
    assert [(layer.out_channels, layer.kernel_size[0]) for layer in up] == decoder
    assert model.encoder.embed_size == model.decoder.embed.out_features == 1024


def test_pixels_are_scaled_to_half_around_zero():
    picture = torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 2, 1, 1).expand(1, 2, 1, 3)
    pixels = preprocess(picture)
    assert pixels.shape == (1, 3, 2, 1)
    assert pixels.min() == -0.5 and pixels.max() == 0.5


def test_an_unknown_size_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"image_size=48.*32, 64, 128"):
        WorldModel(48, 2, depth=4, deter=8, stoch=4, hidden=8, min_std=0.1, norm=False)


@pytest.mark.parametrize("image_size", [32, 64, 128])
def test_the_decoder_is_its_transposed_convolutions(image_size: int) -> None:
    torch.manual_seed(0)
    decoder, feature = Decoder(image_size, 4, 7).double(), torch.randn(3, 7, dtype=torch.float64)
    plain = decoder.convolutions(decoder.embed(feature)[:, :, None, None])
    torch.testing.assert_close(decoder(feature), plain)
    parameters = list(decoder.parameters())
    found, wanted = (torch.autograd.grad(image.square().sum(), parameters) for image in (decoder(feature), plain))
    torch.testing.assert_close(found, wanted)
