"""`python -m deploytk.data.checks [docs/data-check.md]`: the table of the rules, put into its page."""

from __future__ import annotations

from deploytk.data.checks.rules import RULES
from deploytk.report import rule_table


def table() -> str:
    """A row for each rule, from its docstring and its remedy."""
    rows = [[r.code, r.severity, (r.__doc__ or "").strip(), r.fix] for r in RULES]
    return rule_table.table(["rule", "severity", "what holds", "what to do where it does not"], rows)


if __name__ == "__main__":
    rule_table.main(table)
