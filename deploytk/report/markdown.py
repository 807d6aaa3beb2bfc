"""A report as Markdown: the verdict first, then every block with its tables; no figures."""

from __future__ import annotations

import re

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table
from deploytk.report.content import EXIT_WORDS, blocks

_SPECIAL = re.compile(r"([\\`*\[\]|#])")


def markdown(report: Report) -> str:
    """The whole report as one Markdown document."""
    parts = [_head(report), *(_block(block) for block in blocks(report))]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(told: str) -> str:
    """Text that Markdown and the HTML inside it leave alone."""
    safe = told.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(_SPECIAL.sub(r"\\\1", safe).split())


def _head(report: Report) -> str:
    verdict = report.verdict.status.upper()
    lines = [
        f"# {verdict}: {escaped(report.title or report.command)}",
        f"`deploytk {report.command}`, exit code {report.exit_code}: {EXIT_WORDS.get(report.exit_code, '')}",
        "\n".join(f"- {escaped(reason)}" for reason in report.verdict.reasons),
    ]
    return "\n\n".join(line for line in lines if line)


def _block(block: Block) -> str:
    parts = [f"## {escaped(block.title)}"]
    parts += ["\n".join(escaped(line) for line in block.lines)] if block.lines else []
    parts += [_table(table) for table in block.tables]
    return "\n\n".join(parts)


def _table(table: Table) -> str:
    numeric = [bool(table.rows) and all(row[i].number for row in table.rows) for i in range(len(table.columns))]
    lines = [f"**{escaped(table.title)}**\n"] if table.title else []
    lines.append("| " + " | ".join(escaped(c) or " " for c in table.columns) + " |")
    lines.append("|" + "|".join("---:" if right else "---" for right in numeric) + "|")
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in table.rows]
    return "\n".join(lines)


def _cell(cell: Cell) -> str:
    if cell.code:
        # Backslashes mean nothing inside a code span, so what would end it or the cell is replaced.
        told = (cell.full or cell.text).replace("`", "'").replace("|", "¦")
        return f"`{' '.join(told.split())}`" if told else "–"
    told = escaped(cell.text)
    return f"**{told}**" if cell.tone == "bad" else told
