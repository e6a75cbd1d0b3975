"""A finding as lines: in columns where there is room for them, else under each other."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from rich.text import Text

from vmail.doctor.findings import COLOURS, WORDS, Finding

LEVEL, WHAT = 8, 22  # columns
LEAST_DETAIL = 50  # columns that a detail needs beside the others


def finding_lines(found: Finding, width: int) -> Iterator[Text]:
    """Lines of at most `width` columns. What mends it stays one line, whatever its length: it is there to be copied."""
    head = Text(f"{WORDS[found.level]:<{LEVEL}}", COLOURS[found.level]).append(f"{found.what:<{WHAT}}", "default")
    indent = LEVEL + WHAT
    if width < indent + LEAST_DETAIL:
        head.rstrip()
        yield head
        head, indent = Text(" " * LEVEL), LEVEL
    details = textwrap.wrap(found.detail, width - indent, break_long_words=False, break_on_hyphens=False) or [""]
    yield head.append(details[0], "default")
    for detail in details[1:]:
        yield Text(" " * indent + detail)
    if found.mend:
        yield Text(f"{' ' * indent}-> {found.mend}", "bold")
