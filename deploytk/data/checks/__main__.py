"""`python -m deploytk.data.checks [docs/data-check.md]`: the table of the rules, put into its page."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from deploytk.data.checks.rules import RULES
from deploytk.files import write_text


def table() -> str:
    """A row for each rule, from its docstring."""
    rows = [f"| {r.code} | {r.severity} | {(r.__doc__ or '').strip()} | {r.fix} |" for r in RULES]
    return "\n".join(["| rule | severity | what holds | what to do where it does not |", "|---|---|---|---|", *rows])


def with_table(page: str) -> str:
    """The page with the table as it is now."""
    marked = f"<!-- rules -->\n{table()}\n<!-- /rules -->"
    return re.sub(r"<!-- rules -->.*<!-- /rules -->", lambda _: marked, page, flags=re.DOTALL)


def main() -> None:
    """Print the table, or put it into the page that is named."""
    if len(sys.argv) > 1:
        page = Path(sys.argv[1])
        write_text(page, with_table(page.read_text(encoding="utf-8")))
    else:
        print(table())


if __name__ == "__main__":
    main()
