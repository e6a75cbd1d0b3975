"""A calibration board as a drawing to print at its true size."""

from __future__ import annotations

import numpy as np

from vmail_hardware.cameras.board import Board

PAPERS_MM = {"A4": (297.0, 210.0), "A3": (420.0, 297.0), "A2": (594.0, 420.0)}
EDGE_MM = 5.0  # that printers leave white
BELOW_MM = 25.0  # for the ruler
QUIET = 0.5  # white around the board at least, in squares: before a dark background its outer squares have no edge
RULER_MM = 100


def board_svg(board: Board) -> str:
    """The board on the smallest paper that it fits on, as SVG in millimetres, with a ruler to check the print with.

    Around the board stays as much white as finding it needs. A board that is larger than A2 has a page of its own size.
    """
    cells = board.bitmap()
    cell = 1e3 * board.square_m / board.modules
    wide, high = cells.shape[1] * cell, cells.shape[0] * cell
    quiet = 1e3 * QUIET * board.square_m
    above, under = max(EDGE_MM, quiet), max(BELOW_MM, quiet)
    least = (max(wide + 2.0 * above, RULER_MM + 2.0 * EDGE_MM), high + above + under)
    fitting = [(name, size) for name, size in PAPERS_MM.items() if least[0] <= size[0] and least[1] <= size[1]]
    paper, (width, height) = fitting[0] if fitting else ("its own size", least)
    left, top = (width - wide) / 2.0, above + (height - least[1]) / 2.0
    below, start = top + high + 1.5 * EDGE_MM, (width - RULER_MM) / 2.0
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
        f'viewBox="0 0 {width:g} {height:g}">',
        f'<rect width="{width:g}" height="{height:g}" fill="white"/>',
        f'<g fill="black" shape-rendering="crispEdges" transform="translate({left:g} {top:g}) scale({cell:g})">',
        *(f'<rect x="{x}" y="{y}" width="{w}" height="{h}"/>' for x, y, w, h in _rectangles(cells)),
        "</g>",
        f'<path d="M{start:g} {below - 1.5:g}v3m0 -1.5h{RULER_MM}m0 -1.5v3" stroke="black" stroke-width="0.2" '
        'fill="none"/>',
        f'<text x="{width / 2.0:g}" y="{below + 5.0:g}" font-size="3.5" font-family="sans-serif" text-anchor="middle">'
        f"{board}; paper {paper}, printed at 100 %: the line above is {RULER_MM} mm long</text>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _rectangles(cells: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Rectangles of black cells that together are all of them: (column, row, columns, rows).

    Cells side by side make one, and so do equal ones below each other: between two drawings a printer leaves a gap.
    """
    found, growing = [], dict[tuple[int, int], int]()  # (first column, end) to the row in which it began
    for row, line in enumerate([*cells, np.zeros(cells.shape[1], bool)]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line.astype(int), [0]]))).reshape(-1, 2)
        runs = {(int(begin), int(end)) for begin, end in edges}
        for begin, end in growing.keys() - runs:
            top = growing.pop((begin, end))
            found.append((begin, top, end - begin, row - top))
        growing |= {run: row for run in runs - growing.keys()}
    return sorted(found)
