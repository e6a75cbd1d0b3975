"""What an import found and did, for people: a line a source, then what was split, dropped and rejected."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group
from rich.text import Text

from vmail.tables import Column, FittingTable
from vmail_core.episodes.commanders import in_words
from vmail_core.episodes.import_report import ImportReport, SourceReport


def import_table(report: ImportReport) -> Group:
    """The report as a rich renderable."""
    sources = report.sources

    def column(name: str, cells: list[str], rank: int = 0) -> Column:
        return Column(name, cells, rank, right=True)

    commanders = [in_words(source.commands) for source in sources]
    turned = [", ".join(f"{radians:.1f}" for radians in source.radians_turned) for source in sources]
    columns = [
        Column("source", [Path(source.source).name for source in sources]),
        column("episodes", [str(len(source.episodes)) for source in sources]),
        column("rows", [str(source.rows) for source in sources]),
        column("seconds", [f"{source.seconds:.1f}" for source in sources], 3),
        column("rate Hz (min-max)", [_rate(source) for source in sources], 4),
        column("gaps", [str(len(source.gaps)) for source in sources], 5),
        column("dropped", [str(sum(source.counts.values())) for source in sources], 6),
    ]
    if any(turned):
        columns.append(column("turned rad", turned, 2))
    if any(commanders):
        columns.append(Column("commanded by", commanders, 1))
    table = FittingTable(
        columns,
        f"{len(report.episodes)} episodes in {report.out}",
        ["" if source.episodes else "red" for source in sources],
    )
    return Group(table, *(Text(line) for source in sources for line in _remarks(source)))


def _rate(report: SourceReport) -> str:
    rate = f"{report.rate_mean:.2f}" if report.rate_mean else "-"
    if report.rate_min and report.rate_max and report.rate_max - report.rate_min > 0.005:
        rate += f" ({report.rate_min:.2f}-{report.rate_max:.2f})"
    return rate


def _remarks(report: SourceReport) -> list[str]:
    name = Path(report.source).name
    lines = [f"{name}: rejected {part.what}: {part.reason}" for part in report.rejected]
    lines += [f"{name}: split after {gap['at_s']:.2f} s: {gap['reason']}" for gap in report.gaps]
    lines += [f"{name}: {reason}: {count}" for reason, count in report.counts.items()]
    return lines + [f"{name}: {note}" for note in report.notes]
