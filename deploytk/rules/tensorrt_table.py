"""`python -m deploytk.rules.tensorrt_table [docs/check-tensorrt.md]`: the table of TensorRT's rules."""

from __future__ import annotations

from deploytk.report import rule_table
from deploytk.rules.tensorrt_rules import PARSED, RULES, Rule


def table() -> str:
    """The rules as a Markdown table."""
    columns = ["rule", "severity", "operators", "what holds", "what to do where it does not"]
    return rule_table.table(columns, [_row(rule) for rule in (*RULES, *PARSED)])


def _row(rule: type[Rule]) -> list[str]:
    every = "all" if rule in RULES else "–"
    ops = ", ".join(sorted(rule.ops)) if len(rule.ops) <= 5 else f"{len(rule.ops)} operators (below)"
    return [rule.code, rule.severity, ops or every, (rule.__doc__ or "").strip(), rule.fix]


if __name__ == "__main__":
    rule_table.main(table)
