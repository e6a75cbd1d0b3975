"""What pages have in common: the frame around their sections, tables, and text that is safe in HTML."""

from __future__ import annotations

import base64
import html
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vmail_core.durable import replace_file


def write_html(path: Path, title: str, sections: Sequence[str]) -> Path:
    """Write a page of sections whole or not at all; empty ones are left out. Returns its path."""
    template = string.Template(Path(__file__).with_name("page.html").read_text())
    replace_file(path, template.substitute(title=escape(title), body="\n".join(filter(None, sections))))
    return path


def data_uri(kind: str, content: bytes) -> str:
    """A file as a link that holds it whole, for pages that stand alone; `kind` is its media type ("image/png")."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def table(heads: Sequence[str], rows: Sequence[str]) -> str:
    """A table of heads and rows of `table_row`, which scrolls where it is too wide."""
    top = "".join(f"<th>{head}</th>" for head in heads)
    return f'<div class="scroll"><table><tr>{top}</tr>{"".join(rows)}</table></div>'


def table_row(cells: Sequence[str], ours: bool = False) -> str:
    """A table's row of cells in HTML; `ours` stands out."""
    marked = ' class="ours"' if ours else ""
    return f"<tr{marked}>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def facts(entries: dict[str, Any]) -> str:
    """Names and what is to be said of each, as a list."""
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in entries.items())
    return f"<dl>{listed}</dl>"


def escape(value: Any) -> str:
    """A value as text in HTML."""
    return html.escape(str(value))
