"""`vmail calibrate-camera`: find a camera's inner geometry by showing it a board."""

from __future__ import annotations

import argparse
import contextlib
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmail.commands.camera_options import add_size, wanted_size
from vmail.terminal_keys import enter_pressed, single_keys

if TYPE_CHECKING:
    import numpy as np

    from vmail_hardware.cameras import Camera
    from vmail_hardware.cameras.board import Board
    from vmail_hardware.cameras.intrinsics import Intrinsics
    from vmail_hardware.cameras.views import Views

FIRST_S, PATIENCE_S = 5.0, 2.0  # for the first picture, and for a later one until it is said that none comes
SILENT_S = 30.0  # after which a camera that gives no pictures counts as lost
SECOND_LOOK_S = 1.0  # between looks for a board of another size, while none is found
NOTHING_SEEN = "no board in the picture"


def register(commands: Any) -> None:
    """Add the command to the parser's subcommands."""
    calibrating = commands.add_parser(
        "calibrate-camera", help="find a camera's focal length, centre and distortion by showing it a board"
    )
    what = calibrating.add_mutually_exclusive_group(required=True)
    what.add_argument("--camera", metavar="SOURCE", help="/dev/video*, a video file or twin:///socket")
    what.add_argument("--print-board", type=Path, metavar="FILE.svg", help="write a board to print; then end")
    calibrating.add_argument("--board", default="9x6", metavar="CxR", help="inner corners of the board [9x6]")
    calibrating.add_argument(
        "--square", type=float, default=0.024, metavar="M", help="side of a square in metres [0.024]"
    )
    calibrating.add_argument("--charuco", action="store_true", help="the board has markers; a part of it is enough")
    add_size(calibrating)
    calibrating.add_argument(
        "--radial", type=int, choices=(2, 3), default=2, help="radial coefficients; 3 for a wide-angle lens [2]"
    )
    calibrating.add_argument(
        "--most-rms", type=float, default=1.0, metavar="PX", help="largest error that is accepted [1.0]"
    )
    calibrating.add_argument("--out", type=Path, metavar="FILE", help="where it is kept [this user's, by camera]")
    calibrating.add_argument("--overwrite", action="store_true", help="let --print-board replace a file")
    calibrating.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print a board; or gather views, calibrate, save."""
    from vmail_hardware.cameras import open_camera
    from vmail_hardware.cameras.board import parse_board
    from vmail_hardware.cameras.identity import NO_NAME, camera_name, default_calibration, has_lasting_name
    from vmail_hardware.cameras.intrinsics import calibrate_camera

    board = parse_board(arguments.board, arguments.square, arguments.charuco)
    if arguments.print_board:
        return _print_board(board, arguments.print_board, arguments.overwrite)
    if arguments.out and arguments.out.suffix not in (".yaml", ".yml"):
        raise ValueError(f"--out {arguments.out}: give a name that ends in .yaml; a picture is written beside it")
    if not 0.0 < arguments.most_rms < math.inf:
        raise ValueError(f"--most-rms {arguments.most_rms:g}: give pixels, like 1.0")
    source = arguments.camera
    width, height = wanted_size(arguments.size)
    with contextlib.closing(open_camera(source, width=width, height=height, every_picture=True)) as camera:
        if not arguments.out and not has_lasting_name(source):
            raise ValueError(f"{source}: {NO_NAME}: say with --out FILE.yaml where its calibration is kept")
        views = _gather(camera, board, source)
    made = calibrate_camera(views, board, camera_name(source), arguments.most_rms, arguments.radial)
    path = _save(made, views, arguments.out or default_calibration(source))
    _report(made, path)
    if arguments.out:
        print(f"{path}: the camera node takes it with the parameter camera_info_file:={path}")
    else:
        print(f"{path}: the camera node takes it from now on for {source} at {made.width}x{made.height}")
    return 0


def _print_board(board: Board, path: Path, overwrite: bool) -> int:
    from vmail_core.durable import replace_file
    from vmail_hardware.cameras.board_print import board_svg

    if path.suffix != ".svg":
        raise ValueError(f"--print-board {path}: give a name that ends in .svg; browsers print it at its true size")
    if path.exists() and not overwrite:
        raise ValueError(f"--print-board {path}: it is there already; --overwrite replaces it")
    replace_file(path, board_svg(board))
    print(f"{path}: {board}. Print it at 100 %, measure its line of 100 mm, and glue it onto something flat and stiff")
    return 0


def _gather(camera: Camera, board: Board, source: str) -> Views:
    """Watch the camera until there are enough views, Enter is pressed, or a video file ends."""
    from rich.live import Live

    from vmail_hardware.cameras import CameraLostError, CameraTimeoutError
    from vmail_hardware.cameras.intrinsics import LEAST_VIEWS
    from vmail_hardware.cameras.views import Views

    grey = _grey(camera, FIRST_S)
    views, search = Views(grey.shape[1], grey.shape[0]), _Search(board)
    heard, said, lost = time.monotonic(), search.look(grey, views), ""
    with single_keys() as keys, Live(auto_refresh=False) as live:
        while True:
            live.update(_display(views, board, said), refresh=True)
            if views.are_enough or enter_pressed(keys):
                break
            try:
                grey = _grey(camera, PATIENCE_S)
                heard, said = time.monotonic(), search.look(grey, views)
            except (CameraLostError, CameraTimeoutError) as error:
                said = str(error)  # a hiccup costs no views
                views.lose()
                if isinstance(error, CameraTimeoutError) and time.monotonic() - heard < SILENT_S:
                    continue
                if Path(source).is_file():
                    break  # a film is at its end
                if len(views.kept) < LEAST_VIEWS:
                    raise
                lost = said
                break
    if lost:
        print(f"{lost}. The {len(views.kept)} views until then are calibrated with")
    if not any(views.verdicts.values()):
        raise ValueError(
            f"{source}: {search.other or 'no board was seen in any picture'}; give its inner corners as --board, "
            "show all of it with some white around, in even light"
        )
    return views


class _Search:
    """Looks for the board in picture after picture."""

    def __init__(self, board: Board) -> None:
        self.other = ""  # what was seen instead of the board
        self._board, self._next_look, self._found = board, 0.0, False

    def look(self, grey: np.ndarray, views: Views) -> str:
        """Offer the board in the picture to the views; returns what came of it, for people."""
        from vmail_hardware.cameras.board import chessboard_size

        sighting = self._board.find(grey)
        if sighting is not None:
            self._found = True
            return str(views.offer(sighting, grey))
        views.lose()
        if not self._found and time.monotonic() > self._next_look:
            other = chessboard_size(grey)
            self._next_look = time.monotonic() + SECOND_LOOK_S
            if other:
                wanted = f"{self._board.columns}x{self._board.rows}"
                self.other = f"a board of {other} inner corners was seen, not of {wanted}"
        return self.other if self.other and not self._found else NOTHING_SEEN


def _grey(camera: Camera, timeout: float) -> np.ndarray:
    import cv2

    return cv2.cvtColor(camera.read(timeout).image, cv2.COLOR_RGB2GRAY)


def _display(views: Views, board: Board, said: str) -> Any:
    """A map of the picture, where corners have been, beside what is still missing."""
    from rich.table import Table
    from rich.text import Text

    cells = Text()
    for row in views.covered:
        for seen in row:
            cells.append("████ " if seen else "···· ", "green" if seen else "yellow")
        cells.append("\n")
    parts = Text()
    for name, part in views.progress.items():
        parts.append(f"{'━' * round(20 * part):<20} ", "green" if part >= 1.0 else "yellow").append(f"{name}\n")
    parts.append(f"\nlast picture: {said}")
    table = Table(
        title=f"{len(views.kept)} views; next: {views.advice()}",
        caption=f"{board}; Enter ends, Ctrl-C ends without saving anything",
        show_header=False,
    )
    table.add_row(cells, parts)
    return table


def _save(made: Intrinsics, views: Views, path: Path) -> Path:
    """Write the calibration, and then the picture that shows it; older ones are kept beside them."""
    from vmail_hardware.cameras.calibration_picture import calibration_picture
    from vmail_hardware.user_files import keep_file

    assert views.example is not None  # as soon as there are views
    made.save(path)
    keep_file(_picture(path), calibration_picture(made, *views.example), made.made)
    return path


def _picture(path: Path) -> Path:
    return path.with_name(f"{path.stem}.calibration.png")


def _report(made: Intrinsics, path: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{made.board}: error of each view, RMS in px")
    for _ in range(min(10, len(made.view_errors_px))):
        table.add_column(justify="right")
    errors = [f"{error:.2f}" for error in made.view_errors_px]
    for first in range(0, len(errors), 10):
        table.add_row(*errors[first : first + 10])
    table.show_header = False
    Console().print(table)
    left_out = f"; left out, being much worse: {len(made.left_out)}" if made.left_out else ""
    print(f"RMS error {made.rms_px:.3f} px over {len(made.view_errors_px)} views{left_out}")
    names, values = ("fx", "fy", "cx", "cy"), made.matrix[[0, 1, 0, 1], [0, 1, 2, 2]]
    print(", ".join(f"{n} {v:.1f} ± {d:.1f} px" for n, v, d in zip(names, values, made.deviation, strict=True)))
    print("k1 {:.4f}, k2 {:.4f}, p1 {:.5f}, p2 {:.5f}, k3 {:.4f}".format(*made.distortion))
    print(f"{_picture(path)}: rows of corners lie on straight lines on its right half, if all is well")
