import array

import numpy as np
import pytest

from vmail_core.episodes.frames import decode_image, resize_frame

PICTURE = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)


@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("rgb8", PICTURE),
        ("bgr8", PICTURE[..., ::-1]),
        ("rgba8", np.dstack([PICTURE, np.full((4, 5), 255, np.uint8)])),
        ("bgra8", np.dstack([PICTURE[..., ::-1], np.full((4, 5), 255, np.uint8)])),
    ],
)
@pytest.mark.parametrize("padding", [0, 7])
def test_every_encoding_and_row_padding_gives_the_same_picture(encoding, stored, padding):
    rows = stored.reshape(4, -1)
    data = np.pad(rows, ((0, 0), (0, padding))).tobytes()
    step = rows.shape[1] + padding
    np.testing.assert_array_equal(decode_image(data, 4, 5, encoding, step), PICTURE)
    np.testing.assert_array_equal(decode_image(array.array("B", data), 4, 5, encoding, step), PICTURE)


def test_grey_becomes_rgb():
    grey = PICTURE[..., 0]
    np.testing.assert_array_equal(decode_image(grey.tobytes(), 4, 5, "mono8"), np.dstack([grey] * 3))


def test_unknown_encodings_and_short_data_are_refused():
    with pytest.raises(ValueError, match="'yuv422' is not one of rgb8.*set the camera to rgb8"):
        decode_image(b"", 4, 5, "yuv422")
    with pytest.raises(ValueError, match="5x4 rgb8 with 15 bytes a row has only 59 bytes"):
        decode_image(PICTURE.tobytes()[:-1], 4, 5, "rgb8")
    with pytest.raises(ValueError, match="has only"):
        decode_image(PICTURE.tobytes(), 4, 5, "rgb8", step=3)


def test_resizing_averages_areas_and_leaves_a_fitting_frame_alone():
    assert resize_frame(PICTURE, (4, 5)) is PICTURE
    checkers = np.zeros((8, 8, 3), np.uint8)
    checkers[::2, ::2] = checkers[1::2, 1::2] = 200
    np.testing.assert_array_equal(resize_frame(checkers, (4, 4)), np.full((4, 4, 3), 100, np.uint8))
    assert resize_frame(np.zeros((480, 640, 3), np.uint8), (64, 64)).shape == (64, 64, 3)


@pytest.mark.parametrize("frame", [PICTURE.astype(float), PICTURE[..., 0], PICTURE[..., :2]])
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(ValueError, match="a frame must be uint8"):
        resize_frame(frame, (4, 5))
