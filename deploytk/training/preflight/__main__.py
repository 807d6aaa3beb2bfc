"""`python -m deploytk.training.preflight [docs/preflight.md]`: the table of the rules, put into its page."""

from __future__ import annotations

from deploytk.report import rule_table
from deploytk.training.preflight.rules import RULES


def table() -> str:
    """A row for each rule, from its docstring."""
    rows = [[r.code, r.severity, (r.__doc__ or "").strip()] for r in RULES]
    return rule_table.table(["rule", "severity", "what holds"], rows)


if __name__ == "__main__":
    rule_table.main(table)
