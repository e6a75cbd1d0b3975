"""`vmail calibrate-camera` on films of a board: what it writes, and each trouble's one line."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import board_views
import cv2
import numpy as np
import pytest
import yaml
from board_views import HEIGHT, MATRIX, WIDTH, film, take_picture
from terminal import Terminal

from vmail.cli import main
from vmail.doctor import devices
from vmail.doctor.findings import Level
from vmail_hardware.cameras import FrameServer
from vmail_hardware.cameras.board import Board
from vmail_hardware.cameras.identity import default_calibration

FACING = (0.0, 0.0, 0.0, 0.0, 0.0, 0.45)


@pytest.fixture(scope="module")
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.fixture(scope="module")
def pictures(rng: np.random.Generator) -> list[np.ndarray]:
    return [take_picture(pose, rng) for pose in board_views.poses()]


@pytest.fixture(autouse=True)
def of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def written(folder: Path) -> list[str]:
    """Names of all files below a folder but the films."""
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".avi")


def test_a_film_of_a_board_becomes_a_calibration(
    pictures: list[np.ndarray], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(film(tmp_path / "views.avi", pictures))
    (before,) = devices.check_calibration(source)
    assert before.level is Level.NOTE and f"vmail calibrate-camera --camera {source}" in before.mend
    assert main(["calibrate-camera", "--camera", source]) == 0
    said = capsys.readouterr().out
    kept = default_calibration(source)
    assert written(tmp_path) == [kept.with_suffix(".png").name, kept.name]
    raw = yaml.safe_load(kept.read_text())
    np.testing.assert_allclose(np.reshape(raw["camera_matrix"]["data"], (3, 3)), MATRIX, rtol=0.01, atol=3.0)
    assert cv2.imread(str(kept.with_suffix(".png"))).shape == (HEIGHT, 2 * WIDTH, 3)
    assert "the camera node takes it from now on" in said and f"RMS error {raw['vmail']['rms_px']:.3f} px" in said
    assert "fx 5" in said and "±" in said
    (after,) = devices.check_calibration(source)
    assert after.level is Level.OK and f"{WIDTH}x{HEIGHT}" in after.detail and raw["vmail"]["made"][:10] in after.detail


def test_enter_ends_the_views_of_a_live_camera(pictures: list[np.ndarray], tmp_path: Path) -> None:
    server, out = FrameServer(tmp_path / "frames.sock"), tmp_path / "twin.yaml"
    source = f"twin://{server.path}"
    terminal = Terminal("calibrate-camera", "--camera", source, "--out", str(out))
    try:
        stamp = 0
        for number, picture in enumerate(pictures[:12]):
            taken = f"{number + 1} views"
            while taken not in terminal.printed:
                stamp += 1
                server.publish(stamp, cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB))
                assert terminal.process.poll() is None and stamp < 3000, terminal.printed[-3000:]
                time.sleep(0.05)
        terminal.press(b"\n")
        server.publish(stamp + 1, cv2.cvtColor(pictures[11], cv2.COLOR_GRAY2RGB))
        assert terminal.end() == 0, terminal.printed[-3000:]
    finally:
        terminal.process.kill()
        terminal.process.wait()
        server.close()
    assert yaml.safe_load(out.read_text())["vmail"]["views"] == 12
    assert f"camera_info_file:={out}" in terminal.printed


def nothing(rng: np.random.Generator) -> list[np.ndarray]:
    return [np.full((HEIGHT, WIDTH), level, np.uint8) for level in (90, 100, 110)]


def another_board(rng: np.random.Generator) -> list[np.ndarray]:
    return [take_picture(FACING, rng, Board(8, 5, 0.024))] * 3


def blurred(rng: np.random.Generator) -> list[np.ndarray]:
    return [take_picture(FACING, rng, blur_px=2.5)] * 3


def few(rng: np.random.Generator) -> list[np.ndarray]:
    return [take_picture(pose, rng) for pose in board_views.poses()[:3]]


def only_the_middle(rng: np.random.Generator) -> list[np.ndarray]:
    leans = [(x, y) for x in (-0.4, 0.0, 0.4) for y in (-0.4, 0.0, 0.4)]
    return [take_picture((x, y, 0.0, 0.0, 0.0, far), rng) for far in (0.75, 0.95) for x, y in leans]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, "no board was seen in any picture; give its inner corners as --board"),
        (another_board, "a board of 8x5 inner corners was seen, not of 9x6; give its inner corners as --board"),
        (blurred, "the board was never sharp; hold it still"),
        (few, "3 views of the chessboard of 9x6 inner corners, squares of 24 mm that are sharp and differ, 10 are"),
        (only_the_middle, "% of the picture, 55 % are needed, since lenses bend most at the edges: calibrate again"),
    ],
)
def test_trouble_is_one_line_and_writes_nothing(
    make: Callable[[np.random.Generator], list[np.ndarray]],
    message: str,
    rng: np.random.Generator,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = film(tmp_path / "views.avi", make(rng))
    assert main(["calibrate-camera", "--camera", str(source), "--board", "9x6"]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and said.startswith("vmail: error: ")
    assert written(tmp_path) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--camera", "nothing.mp4"], "no camera 'nothing.mp4'"),
        (["--camera", "x", "--board", "nine"], "like 9x6"),
        (["--camera", "x", "--square", "24"], "in metres, like 0.024"),
        (["--camera", "x", "--size", "640"], "like 640x480"),
        (["--camera", "x", "--out", "calibration.txt"], "ends in .yaml"),
        (["--print-board", "board.gif"], "ends in .svg"),
    ],
)
def test_wrong_words_are_answered_at_once(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate-camera", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_board_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "board.svg"
    assert main(["calibrate-camera", "--print-board", str(path), "--board", "7x5", "--square", "0.03"]) == 0
    assert "Print it at 100 %" in capsys.readouterr().out
    assert "chessboard of 7x5 inner corners, squares of 30 mm" in path.read_text()
    assert os.listdir(tmp_path) == ["board.svg"]
