"""Camera calibration on pictures of a camera whose geometry is known."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import board_views
import cv2
import numpy as np
import pytest
import yaml
from board_views import BOARD, DISTORTION, HEIGHT, MATRIX, WIDTH, take_picture

from vmail_hardware.cameras.board import Board, BoardError, Sighting, chessboard_size, parse_board
from vmail_hardware.cameras.board_print import board_svg
from vmail_hardware.cameras.calibration_picture import calibration_picture
from vmail_hardware.cameras.identity import calibration_file, camera_name, default_calibration, has_lasting_name
from vmail_hardware.cameras.intrinsics import CameraCalibrationError, Intrinsics, calibrate_camera
from vmail_hardware.cameras.views import Verdict, Views, edge_width, measure

CHARUCO = dataclasses.replace(BOARD, charuco=True)
FACING = (0.0, 0.0, 0.0, 0.0, 0.0, 0.45)


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def show(board: Board, pictures: list[np.ndarray]) -> Views:
    """Views from pictures that are each shown for a moment."""
    views = Views(WIDTH, HEIGHT)
    for picture in pictures:
        sighting = board.find(picture)
        assert sighting is not None
        views.offer(sighting, picture)
        views.offer(sighting, picture)
    return views


@pytest.fixture(scope="module")
def views(rng: np.random.Generator) -> Views:
    return show(BOARD, [take_picture(pose, rng) for pose in board_views.poses()])


def pixels_off(found: Intrinsics) -> float:
    """Farthest that a point in view lands from where the true camera sees it, over all but the picture's edge."""
    across, down = np.meshgrid(np.linspace(-0.5, 0.5, 9), np.linspace(-0.4, 0.4, 7))
    points = np.stack([across.ravel(), down.ravel(), np.ones(across.size)], axis=1)
    still = np.zeros(3)
    true, _ = cv2.projectPoints(points, still, still, MATRIX, DISTORTION)
    ours, _ = cv2.projectPoints(points, still, still, found.matrix, found.distortion)
    return float(np.linalg.norm(true - ours, axis=-1).max())


@pytest.mark.parametrize("charuco", [False, True])
def test_a_known_camera_is_found_again(views: Views, rng: np.random.Generator, charuco: bool) -> None:
    board = CHARUCO if charuco else BOARD
    if charuco:
        views = show(board, [take_picture(pose, rng, board) for pose in board_views.poses()])
    assert views.are_enough
    found = calibrate_camera(views, board, "known")
    np.testing.assert_allclose(found.matrix[[0, 1], [0, 1]], MATRIX[[0, 1], [0, 1]], rtol=0.01)
    np.testing.assert_allclose(found.matrix[:2, 2], MATRIX[:2, 2], atol=0.005 * WIDTH)
    np.testing.assert_allclose(found.distortion, DISTORTION, atol=0.02)
    assert pixels_off(found) < 1.5
    assert found.rms_px < 0.3 and len(found.view_errors_px) == len(views.kept) and not found.left_out


def test_the_deviation_that_is_told_is_about_as_large_as_the_error(views: Views) -> None:
    found = calibrate_camera(views, BOARD, "known")
    error = found.matrix[[0, 1, 0, 1], [0, 1, 2, 2]] - MATRIX[[0, 1, 0, 1], [0, 1, 2, 2]]
    assert np.all(np.abs(error) < 6.0 * found.deviation) and np.all(found.deviation < 2.0)


def test_one_bad_view_is_left_out_and_many_are_refused(views: Views, rng: np.random.Generator) -> None:
    def spoilt(count: int) -> Views:
        """Corners of some views lie beside where they are."""
        copy = Views(WIDTH, HEIGHT)
        copy.__dict__.update({**views.__dict__, "kept": list(views.kept)})
        for index in range(count):
            sighting = views.kept[index].sighting
            shaken = sighting.in_picture + rng.normal(0.0, 3.0, sighting.in_picture.shape).astype(np.float32)
            copy.kept[index] = measure(dataclasses.replace(sighting, in_picture=shaken), WIDTH, HEIGHT)
        return copy

    found = calibrate_camera(spoilt(1), BOARD, "known")
    assert found.left_out == (0,) and found.rms_px < 0.3
    with pytest.raises(CameraCalibrationError, match=r"RMS.*1 is allowed.*flat and stiff"):
        calibrate_camera(spoilt(len(views.kept) // 2), BOARD, "known")


def test_views_without_tilt_are_refused(rng: np.random.Generator) -> None:
    room = [(x, y, far) for far in (0.42, 0.54) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    flat = [(0.0, 0.0, 0.0, 0.34 * x * far, 0.22 * y * far, far) for x, y, far in room]
    views = show(BOARD, [take_picture(pose, rng) for pose in flat])
    assert not views.are_enough and "turn the board about its upright axis" in views.advice()
    with pytest.raises(CameraCalibrationError, match="tilted by . degrees .* tilt the board"):
        calibrate_camera(views, BOARD, "known")


def test_only_sharp_still_and_new_views_are_kept(rng: np.random.Generator) -> None:
    def offer(views: Views, pose: board_views.Pose, blur_px: float = 0.0) -> Verdict:
        picture = take_picture(pose, rng, blur_px=blur_px)
        sighting = BOARD.find(picture)
        assert sighting is not None
        return views.offer(sighting, picture)

    views, beside = Views(WIDTH, HEIGHT), (0.0, 0.0, 0.0, 0.08, 0.0, 0.45)
    said = [offer(views, FACING), offer(views, FACING), offer(views, FACING), offer(views, beside)]
    assert said == [Verdict.MOVING, Verdict.TAKEN, Verdict.ALIKE, Verdict.MOVING]
    assert offer(views, beside, blur_px=2.5) is Verdict.BLURRED
    assert offer(views, beside) is Verdict.TAKEN
    views.lose()
    assert offer(views, beside) is Verdict.MOVING  # whether it stood still is not known
    assert len(views.kept) == 2 and views.verdicts[Verdict.MOVING] == 3


def test_a_board_that_a_rolling_shutter_shears_is_no_view(rng: np.random.Generator) -> None:
    """Rows are read one after the other over a whole picture's time: the corners lean, and a fit would not notice."""
    picture = take_picture(FACING, rng)
    sighting = BOARD.find(picture)
    assert sighting is not None

    def seen(speed_px: float, number: int) -> Sighting:
        shift = speed_px * (number + sighting.in_picture[:, 1] / HEIGHT)
        points = sighting.in_picture + np.stack([shift, np.zeros_like(shift)], axis=1).astype(np.float32)
        return dataclasses.replace(sighting, in_picture=points)

    sweeping, held = Views(WIDTH, HEIGHT), Views(WIDTH, HEIGHT)
    assert {sweeping.offer(seen(4.0, number), picture) for number in range(8)} == {Verdict.MOVING}
    assert [held.offer(seen(0.5, number), picture) for number in range(2)] == [Verdict.MOVING, Verdict.TAKEN]
    with pytest.raises(CameraCalibrationError, match="no view of the chessboard .* because: the board moves: hold it"):
        calibrate_camera(sweeping, BOARD, "known")


def test_blur_is_measured_whatever_the_size_of_the_squares(rng: np.random.Generator) -> None:
    widths = []
    for far in (0.45, 0.9):
        for blur_px in (0.0, 2.5):
            picture = take_picture((0.0, 0.0, 0.0, 0.0, 0.0, far), rng, blur_px=blur_px)
            sighting = BOARD.find(picture)
            assert sighting is not None
            widths.append(edge_width(picture, sighting))
    assert widths[0] == pytest.approx(widths[2], abs=0.5) and widths[1] == pytest.approx(widths[3], abs=1.0)
    assert widths[0] < 2.5 and widths[1] > 5.0


def test_tilt_tells_sides_apart() -> None:
    def tilt(tipped: float, turned: float) -> np.ndarray:
        turn = np.array([tipped, turned, 0.0])
        across, down = np.meshgrid(np.arange(9) - 4.0, np.arange(6) - 2.5)
        on_board = (0.024 * np.stack([across.ravel(), down.ravel(), np.zeros(54)], axis=1)).astype(np.float32)
        points, _ = cv2.projectPoints(on_board, turn, np.array([0.0, 0.0, 0.5]), MATRIX, None)
        sighting = Sighting(np.arange(54), on_board, points.reshape(-1, 2).astype(np.float32))
        return measure(sighting, WIDTH, HEIGHT).tilt

    left, right, up, down = tilt(0.0, -0.4), tilt(0.0, 0.4), tilt(-0.4, 0.0), tilt(0.4, 0.0)
    np.testing.assert_allclose(left, -right, atol=0.05)
    np.testing.assert_allclose(up, -down, atol=0.05)
    assert abs(right[0]) > 0.3 > abs(right[1]) and abs(down[1]) > 0.3 > abs(down[0])


def test_the_file_is_that_of_ros_and_an_older_one_is_kept(views: Views, tmp_path: Path) -> None:
    found = calibrate_camera(views, BOARD, "known")
    path = found.save(tmp_path / "deep" / "camera.yaml")
    raw = yaml.safe_load(path.read_text())
    assert (raw["image_width"], raw["image_height"], raw["camera_name"]) == (WIDTH, HEIGHT, "known")
    assert raw["distortion_model"] == "plumb_bob"
    shapes = {"camera_matrix": (3, 3), "rectification_matrix": (3, 3), "projection_matrix": (3, 4)}
    for name, (rows, columns) in (shapes | {"distortion_coefficients": (1, 5)}).items():
        assert (raw[name]["rows"], raw[name]["cols"], len(raw[name]["data"])) == (rows, columns, rows * columns)
    np.testing.assert_allclose(raw["camera_matrix"]["data"], found.matrix.ravel(), atol=1e-6)
    assert raw["vmail"]["views"] == len(views.kept)
    before = path.read_text()
    dataclasses.replace(found, made="2026-11-27T10:00:00+00:00").save(path)
    assert (tmp_path / "deep" / "camera.until-2026-11-27T100000+0000.yaml").read_text() == before
    assert len(list(path.parent.iterdir())) == 2


def test_the_picture_shows_rows_of_corners_straight(views: Views) -> None:
    found = calibrate_camera(views, BOARD, "known")
    assert views.example is not None
    data = np.frombuffer(calibration_picture(found, *views.example), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert picture.shape == (HEIGHT, 2 * WIDTH, 3)
    whole, _ = cv2.getOptimalNewCameraMatrix(found.matrix, found.distortion, (WIDTH, HEIGHT), 1.0)
    undistorted = cv2.undistort(views.example[0], found.matrix, found.distortion, newCameraMatrix=whole)
    drawn = np.any(picture[:, WIDTH:] != undistorted[..., None], axis=-1)
    assert 0.002 < drawn.mean() < 0.1  # the undistorted view, but for what is drawn into it

    def bend(grey: np.ndarray) -> float:
        """Pixels by which corners lie beside a line through their row, the worst row's mean."""
        sighting = BOARD.find(grey)
        assert sighting is not None
        rows = sighting.in_picture.reshape(6, 9, 2)
        return max(np.linalg.svd(row - row.mean(axis=0), compute_uv=False)[1] / 3.0 for row in rows)

    assert 2.0 * bend(undistorted) < bend(views.example[0]) and bend(undistorted) < 0.3


# Boards ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", [BOARD, CHARUCO, Board(5, 4, 0.05), Board(20, 15, 0.03)], ids=str)
def test_a_printed_board_is_found_and_has_its_size(board: Board) -> None:
    root = ElementTree.fromstring(board_svg(board))
    width, height = (float(root.attrib[side].removesuffix("mm")) for side in ("width", "height"))
    assert root.attrib["viewBox"] == f"0 0 {width:g} {height:g}"
    pixel_mm = width / 1600.0
    page = np.full((round(height / pixel_mm), 1600), 255, np.uint8)
    group = next(element for element in root if element.tag.endswith("}g"))
    left, top, cell = map(float, re.findall(r"[\d.]+", group.attrib["transform"]))
    for element in group:
        x, y, wide, high = (cell * float(element.attrib[name]) for name in ("x", "y", "width", "height"))
        x0, y0 = round((left + x) / pixel_mm), round((top + y) / pixel_mm)
        x1, y1 = round((left + x + wide) / pixel_mm), round((top + y + high) / pixel_mm)
        assert 0 <= x0 < x1 <= page.shape[1] and 0 <= y0 < y1 <= page.shape[0]
        assert page[y0:y1, x0:x1].min() == 255  # no cell is drawn twice
        page[y0:y1, x0:x1] = 0
    for around in (255, 0):  # the page lies before something bright, or dark
        sighting = board.find(np.pad(page, 200, constant_values=around))
        assert sighting is not None and len(sighting.ids) == board.columns * board.rows
    spacing = np.linalg.norm(sighting.in_picture[1] - sighting.in_picture[0]) * pixel_mm
    assert spacing == pytest.approx(1e3 * board.square_m, abs=2.0 * pixel_mm)


def test_a_board_fits_on_the_smallest_paper() -> None:
    def paper(columns: int, rows: int, square_m: float) -> tuple[str, str]:
        root = ElementTree.fromstring(board_svg(Board(columns, rows, square_m)))
        return root.attrib["width"], root.attrib["height"]

    assert paper(9, 6, 0.024) == ("297mm", "210mm")
    assert paper(9, 6, 0.030) == ("420mm", "297mm")
    assert paper(9, 6, 0.1) == ("1100mm", "800mm")


@pytest.mark.parametrize(
    ("text", "square_m", "message"),
    [
        ("9", 0.024, "give its inner corners, like 9x6"),
        ("9x2", 0.024, "at least 3"),
        ("9x6", 24.0, "metres, like 0.024"),
        ("9x6", 0.0, "metres"),
    ],
)
def test_a_board_that_cannot_be_is_refused(text: str, square_m: float, message: str) -> None:
    with pytest.raises(BoardError, match=message):
        parse_board(text, square_m)


def test_a_board_of_another_size_is_not_taken_for_this_one(rng: np.random.Generator) -> None:
    for other in (Board(8, 5, 0.024), Board(11, 8, 0.02)):
        picture = take_picture(FACING, rng, other)
        assert BOARD.find(picture) is None
        assert chessboard_size(picture) == f"{other.columns}x{other.rows}"
    assert chessboard_size(np.full((HEIGHT, WIDTH), 128, np.uint8)) is None


def test_a_part_of_a_charuco_board_is_enough(rng: np.random.Generator) -> None:
    picture = take_picture((0.0, 0.3, 0.0, 0.2, 0.0, 0.4), rng, CHARUCO)
    sighting = CHARUCO.find(picture)
    assert sighting is not None and 14 <= len(sighting.ids) < 54
    assert BOARD.find(picture) is None


# Where it is kept ------------------------------------------------------------------------------------------


def test_a_camera_keeps_its_name_wherever_it_is_plugged_in(tmp_path: Path) -> None:
    devices, sysfs = tmp_path / "dev", tmp_path / "sys"
    plug(tmp_path, 2, "usb-Maker_Cam: 1_A7-video-index0", "A7")
    plug(tmp_path, 3, "usb-Other_Cam-video-index0", None)
    plug(tmp_path, 4, None, "B1", by_path=False)
    assert camera_name("2", devices, sysfs) == "usb-Maker_Cam__1_A7-video-index0"
    assert camera_name("3", devices, sysfs) == "pci-usb-0_3"  # an equal camera would have its name by-id, too
    assert camera_name("4", devices, sysfs) == "video4"
    assert [has_lasting_name(source, devices, sysfs) for source in "234"] == [True, True, False]
    assert has_lasting_name("twin:///run/a.sock") and has_lasting_name("a.mp4")
    assert camera_name("twin:///run/a/frames.sock") == camera_name("twin:///tmp/b.sock") == "twin"
    assert camera_name(str(tmp_path / "a.mp4")) != camera_name(str(tmp_path / "deep" / "a.mp4"))


def test_cameras_that_share_a_serial_number_go_by_their_sockets(tmp_path: Path) -> None:
    devices, sysfs = tmp_path / "dev", tmp_path / "sys"
    plug(tmp_path, 0, "usb-Maker_Cam_SN0001-video-index0", "SN0001")
    plug(tmp_path, 2, None, "SN0001")  # udev gives the one name to one of them
    assert [camera_name(source, devices, sysfs) for source in "02"] == ["pci-usb-0_0", "pci-usb-0_2"]


def plug(folder: Path, number: int, by_id: str | None, serial: str | None, by_path: bool = True) -> None:
    """A camera's files as kernel and udev make them: it has two video devices, of which the first gives pictures."""
    usb = folder / "sys" / "devices" / f"1-{number}"
    (usb / "interface").mkdir(parents=True)
    for name, value in (("idVendor", "046d"), ("idProduct", "0825"), ("serial", serial)):
        if value is not None:
            (usb / name).write_text(f"{value}\n")
    for device in (f"video{number}", f"video{number}1"):
        (folder / "sys" / "class" / "video4linux" / device).mkdir(parents=True)
        (folder / "sys" / "class" / "video4linux" / device / "device").symlink_to(usb / "interface")
    video = folder / "dev" / f"video{number}"
    video.parent.mkdir(exist_ok=True)
    video.write_text("")
    for kind, link in (("by-id", by_id), ("by-path", f"pci-usb-0:{number}" if by_path else None)):
        if link is not None:
            (folder / "dev" / "v4l" / kind).mkdir(parents=True, exist_ok=True)
            (folder / "dev" / "v4l" / kind / link).symlink_to(video)


def test_a_node_takes_this_users_calibration_a_file_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    source = str(tmp_path / "views.mp4")
    assert calibration_file(source, "auto") is None
    kept = default_calibration(source)
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    assert calibration_file(source, "auto") == kept and kept.is_relative_to(tmp_path)
    assert calibration_file(source, "none") is None and calibration_file(source, "") is None
    assert calibration_file(source, "other.yaml") == Path("other.yaml")
    default_calibration("/dev/video9").write_text("")  # what is /dev/video9 tomorrow?
    assert calibration_file("/dev/video9", "auto") is None
