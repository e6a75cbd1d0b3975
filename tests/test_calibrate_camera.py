"""`vmail calibrate-camera` on films of a board: what it writes, and each trouble's one line."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
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
from vmail_hardware.cameras import CameraError, CameraLostError, CameraTimeoutError, Frame, FrameServer
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
    assert written(tmp_path) == [f"{kept.stem}.calibration.png", kept.name]
    raw = yaml.safe_load(kept.read_text())
    np.testing.assert_allclose(np.reshape(raw["camera_matrix"]["data"], (3, 3)), MATRIX, rtol=0.01, atol=3.0)
    assert cv2.imread(str(kept.with_name(f"{kept.stem}.calibration.png"))).shape == (HEIGHT, 2 * WIDTH, 3)
    assert "the camera node takes it from now on" in said and f"RMS error {raw['vmail']['rms_px']:.3f} px" in said
    assert "fx 5" in said and "±" in said
    (after,) = devices.check_calibration(source)
    assert after.level is Level.OK and f"{WIDTH}x{HEIGHT}" in after.detail and raw["vmail"]["made"][:10] in after.detail
    made = raw.pop("vmail")
    kept.write_text(yaml.safe_dump(raw))  # as ROS's camera_calibration writes it
    (after,) = devices.check_calibration(source)
    assert after.level is Level.OK and "not of vmail calibrate-camera" in after.detail
    del raw["camera_matrix"]
    kept.write_text(yaml.safe_dump(raw | {"vmail": made}))
    (after,) = devices.check_calibration(source)
    assert after.level is Level.FAILURE and str(kept) in after.detail and "camera_matrix" in after.detail


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
        (blurred, "could be kept, in most pictures because: too blurred: hold it still, give it more light"),
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
        (["--camera", "x.mp4", "--most-rms", "nan"], "--most-rms nan: give pixels, like 1.0"),
        (["--camera", "/dev/video99"], "no camera /dev/video99"),
        (["--print-board", "board.gif"], "ends in .svg"),
    ],
)
def test_wrong_words_are_answered_at_once(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate-camera", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_device_without_a_name_that_lasts_needs_a_place_for_its_calibration(
    pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = Hiccups(pictures[:3], set(), CameraLostError("its cable is out"))
    monkeypatch.setattr("vmail_hardware.cameras.open_camera", lambda *_, **__: camera)
    assert main(["calibrate-camera", "--camera", "/dev/video99"]) == 2
    assert "/dev/video99: nothing tells this camera from another" in capsys.readouterr().err
    assert written(tmp_path) == []


def test_a_board_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "board.svg"
    assert main(["calibrate-camera", "--print-board", str(path), "--board", "7x5", "--square", "0.03"]) == 0
    assert "Print it at 100 %" in capsys.readouterr().out
    assert "chessboard of 7x5 inner corners, squares of 30 mm" in path.read_text()
    assert os.listdir(tmp_path) == ["board.svg"]
    again = ["calibrate-camera", "--print-board", str(path), "--board", "9x6"]
    assert main(again) == 2 and "7x5" in path.read_text()
    assert "board.svg: it is there already; --overwrite replaces it" in capsys.readouterr().err
    assert main([*again, "--overwrite"]) == 0 and "9x6" in path.read_text()


def test_what_lies_beside_the_calibration_is_not_overwritten(
    pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = film(tmp_path / "views.avi", pictures), tmp_path / "x.yaml"
    out.with_suffix(".png").write_text("somebody's")
    out.with_name("x.calibration.png").write_text("older")
    assert main(["calibrate-camera", "--camera", str(source), "--out", str(out)]) == 0
    (older,) = tmp_path.glob("x.calibration.until-*.png")
    assert older.read_text() == "older" and out.with_suffix(".png").read_text() == "somebody's"

    def fail(*arguments: object) -> bytes:
        raise OSError("no picture")

    out.unlink()
    monkeypatch.setattr("vmail_hardware.cameras.calibration_picture.calibration_picture", fail)
    assert main(["calibrate-camera", "--camera", str(source), "--out", str(out)]) == 2
    assert yaml.safe_load(out.read_text())["image_width"] == WIDTH  # it is worth more than its picture


class Hiccups:
    """A camera that shows each picture twice, gives nothing for a while after some, and no more in the end."""

    has_sensor_noise = False

    def __init__(self, pictures: list[np.ndarray], hiccups_after: set[int], end: CameraError) -> None:
        self._shows = [index for index in range(len(pictures)) for _ in range(2)]
        self._pictures, self._hiccups, self._end, self._now = pictures, set(hiccups_after), end, 0

    def read(self, timeout: float) -> Frame:
        if self._now in self._hiccups:
            self._hiccups.remove(self._now)
            raise CameraTimeoutError(f"no picture from it within {timeout} s")
        if self._now == len(self._shows):
            raise self._end
        self._now += 1
        picture = self._pictures[self._shows[self._now - 1]]
        return Frame(self._now, cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB))

    def close(self) -> None: ...


@pytest.mark.parametrize("end", [CameraLostError("its cable is out"), CameraTimeoutError("no picture any more")])
def test_a_hiccup_costs_no_views_and_a_lost_camera_only_the_rest(
    pictures: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    end: CameraError,
) -> None:
    out = tmp_path / "x.yaml"
    words = ["calibrate-camera", "--camera", "twin:///x", "--out", str(out)]
    monkeypatch.setattr("vmail.commands.calibrate_camera.SILENT_S", 0.5)
    for count in (3, 14):
        camera = Hiccups(pictures[:count], {2, 4}, end)
        monkeypatch.setattr("vmail_hardware.cameras.open_camera", lambda *_, camera=camera, **__: camera)
        if count == 3:  # too few to calibrate with
            with pytest.raises(type(end), match=str(end)):
                main(words)
            assert not out.exists()
        else:
            assert main(words) == 0
    assert yaml.safe_load(out.read_text())["vmail"]["views"] == 14
    assert f"{end}. The 14 views until then are calibrated with" in capsys.readouterr().out


BACKGROUND = """
import fcntl, os, subprocess, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
job = subprocess.Popen(sys.argv[1:], process_group=0)
_, status = os.waitpid(job.pid, os.WUNTRACED)
if os.WIFSTOPPED(status):
    job.kill()
    sys.exit("stopped")
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_background_job_of_the_terminal_is_not_stopped(rng: np.random.Generator, tmp_path: Path) -> None:
    """One that reads its terminal, or switches it to single keys, is stopped by the kernel without a word."""
    source, (keyboard, terminal) = film(tmp_path / "views.avi", few(rng)), pty.openpty()
    command = [sys.executable, "-m", "vmail.cli", "calibrate-camera", "--camera", str(source)]
    shell = [sys.executable, "-c", BACKGROUND, *command]
    try:
        done = subprocess.run(
            shell, stdin=terminal, capture_output=True, text=True, timeout=60.0, start_new_session=True, check=False
        )
    finally:
        os.close(terminal)
        os.close(keyboard)
    assert done.returncode == 2 and "3 views of the chessboard" in done.stderr
