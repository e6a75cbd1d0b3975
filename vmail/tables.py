"""Tables that stay readable in narrow terminals: columns go, the least important first, and then the table itself."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

UNLIMITED = 10_000


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        cells: one a line.
        rank: where there is no room for all, those of a lower rank are shown; one of rank 0 always is.
        right: numbers stand at the right.
    """

    name: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = False


class FittingTable:
    """A rich renderable. Nothing in it is folded or cut: where even the columns that stay are too wide, each line of
    the table becomes a paragraph. The first column names what a line is about."""

    def __init__(self, columns: Sequence[Column], title: str = "", styles: Sequence[str] = ()) -> None:
        """`styles` are of the lines; by default none has one."""
        self._columns, self._title = list(columns), title
        self._styles = list(styles) or [""] * len(columns[0].cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """See rich."""
        if self._title:
            yield Text(self._title, "italic", no_wrap=False, overflow="fold")
        shown = [column for column in self._columns if not column.rank]
        if not self._fits(shown, console, options):
            yield from self._paragraphs(options.max_width)
            return
        for column in sorted(self._columns, key=lambda column: column.rank):
            wider = [one for one in self._columns if one in shown or one is column]
            shown = wider if self._fits(wider, console, options) else shown
        yield self._table(shown)
        left_out = [column.name for column in self._columns if column not in shown]
        if left_out:
            yield Text(f"a wider terminal also shows: {', '.join(left_out)}", "dim", no_wrap=False, overflow="fold")

    def _fits(self, columns: Sequence[Column], console: Console, options: ConsoleOptions) -> bool:
        needed = Measurement.get(console, options.update(max_width=UNLIMITED), self._table(columns)).maximum
        return needed <= options.max_width

    def _table(self, columns: Sequence[Column]) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
        for column in columns:
            table.add_column(column.name, justify="right" if column.right else "left", no_wrap=True)
        for style, *cells in zip(self._styles, *(column.cells for column in columns), strict=True):
            table.add_row(*map(Text, cells), style=style)
        return table

    def _paragraphs(self, width: int) -> RenderResult:
        first, *others = self._columns
        for row, (name, style) in enumerate(zip(first.cells, self._styles, strict=True)):
            said = ", ".join(f"{column.name} {column.cells[row]}" for column in others if column.cells[row])
            yield Text(name, style, no_wrap=False, overflow="fold")
            yield Text(textwrap.fill(said, width, initial_indent="  ", subsequent_indent="  "))
