"""The table of a package's rules, made from their docstrings, put into its page of the docs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from deploytk.files import write_text


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rules as a Markdown table."""
    head = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)])


def with_table(page: str, made: str) -> str:
    """The page with the table as it is now between its two marks."""
    marked = f"<!-- rules -->\n{made}\n<!-- /rules -->"
    return re.sub(r"<!-- rules -->.*<!-- /rules -->", lambda _: marked, page, flags=re.DOTALL)


def main(made: Callable[[], str]) -> None:
    """Print the table, or put it into the page that the command line names."""
    if len(sys.argv) > 1:
        page = Path(sys.argv[1])
        write_text(page, with_table(page.read_text(encoding="utf-8"), made()))
    else:
        print(made())
