"""A report in a terminal, with rich: the verdict, its reasons, and the tables that people ask for first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from deploytk.report import Report
from deploytk.report.blocks import TONES, Cell, Table, Tone
from deploytk.report.content import EXIT_WORDS, blocks

_STYLES: dict[Tone, str] = {
    "": "",
    "good": "green",
    "bad": "bold red",
    "warn": "yellow",
    "muted": "dim",
    "estimate": "italic cyan",
}
#: Reasons shown; the report's files have all of them.
_REASONS = 8
#: Columns up to this width are never wrapped: numbers, verdicts, the first digits of a sha256.
_SHORT = 14


def show(report: Report, console: Console) -> None:
    """Print the brief form of the report: every table marked brief, the verdict last, where the eye ends up."""
    for block in blocks(report):
        brief = [table for table in block.tables if table.brief]
        if not brief:
            continue
        console.print()
        console.print(Text(block.title, style="bold"))
        for line in block.lines[: block.brief_lines]:
            console.print(Text(line))
        for table in brief:
            console.print(_sentences(table) if table.sentences_from else _rich(_fitting(table, console.width)))
    _verdict(report, console)


def _verdict(report: Report, console: Console) -> None:
    style = _STYLES[TONES[report.verdict.status]]
    line = Text(report.verdict.status.upper(), style=f"{style} reverse")
    told = f" {report.title or report.command}: exit code {report.exit_code}, {EXIT_WORDS.get(report.exit_code, '')}"
    console.print()
    console.print(line + Text(told.rstrip(", ")))
    if report.verdict.reasons:
        console.print(_listed(map(Text, report.verdict.reasons[:_REASONS])))
    if len(report.verdict.reasons) > _REASONS:
        console.print(Text(f"  … and {len(report.verdict.reasons) - _REASONS} more", style="dim"))


def _sentences(table: Table) -> RichTable:
    """Each row as a paragraph: the short cells, then each sentence on a line; all but the first after their column."""
    told, start = [], table.sentences_from
    for row in table.rows:
        first = Text(" ").join(map(_cell, row[:start]))
        rest = [
            Text(f"{name}: ") + _cell(cell)
            for name, cell in zip(table.columns[start + 1 :], row[start + 1 :], strict=True)
        ]
        told.append(first + Text(": ") + Text("\n").join([_cell(row[start]), *rest]))
    return _listed(told)


def _listed(told: Iterable[Text]) -> RichTable:
    """A paragraph for each text, the lines below its bullet indented."""
    shown = RichTable.grid(padding=(0, 1, 0, 0))
    shown.add_column(no_wrap=True)
    shown.add_column(overflow="fold")
    for each in told:
        shown.add_row("  •", each)
    return shown


def _fitting(table: Table, width: int) -> Table:
    """The table without as many of its spare columns as a terminal of this width has no room for."""
    for name in table.spare:
        if _width(table) <= width:
            break
        keep = [i for i, column in enumerate(table.columns) if column != name]
        rows = tuple(tuple(row[i] for i in keep) for row in table.rows)
        table = replace(table, columns=tuple(table.columns[i] for i in keep), rows=rows)
    return table


def _width(table: Table) -> int:
    return sum(_widest(table, number) + 3 for number in range(len(table.columns)))


def _widest(table: Table, number: int) -> int:
    return max(len(table.columns[number]), *(len(row[number].text) for row in table.rows), 0)


def _rich(table: Table) -> RichTable:
    shown = RichTable(box=box.SIMPLE_HEAD, show_header=any(table.columns), pad_edge=False, title_justify="left")
    if table.title:
        shown.title = Text(table.title, style="italic")
    for number, name in enumerate(table.columns):
        right = bool(table.rows) and all(row[number].number for row in table.rows)
        short = _widest(table, number) <= _SHORT
        shown.add_column(Text(name), justify="right" if right else "left", overflow="fold", no_wrap=short)
    for row in table.rows:
        shown.add_row(*(_cell(cell) for cell in row))
    return shown


def _cell(cell: Cell) -> Text:
    """Plain text, never markup: what a file says is shown as it is."""
    return Text(cell.text, style=_STYLES[cell.tone])
