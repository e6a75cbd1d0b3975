"""Random shifts: all frames of a chunk alike, by no more than asked, edges repeated."""

import torch

from vmail_core.models.augment import shift_chunks


def test_a_chunks_frames_move_together_and_chunks_apart():
    torch.manual_seed(0)
    pixels = torch.zeros(3, 40, 1, 9, 9)
    pixels[:, :, :, 4, 4] = 1.0
    shifted = shift_chunks(pixels, 2)
    assert shifted.shape == pixels.shape
    assert torch.equal(shifted[0], shifted[1]) and torch.equal(shifted[0], shifted[2])
    rows, columns = (
        shifted[0, :, 0].flatten(1).argmax(1).div(9, rounding_mode="floor"),
        shifted[0, :, 0].flatten(1).argmax(1) % 9,
    )
    assert set(rows.tolist()) == set(columns.tolist()) == {2, 3, 4, 5, 6}


def test_edges_are_repeated():
    ramp = torch.arange(4.0).expand(1, 1, 1, 4, 4)
    for _ in range(10):
        assert shift_chunks(ramp, 1)[0, 0, 0, 0].tolist() in ([0, 1, 2, 3], [0, 0, 1, 2], [1, 2, 3, 3])
