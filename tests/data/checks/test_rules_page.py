"""The table of rules in docs/data-check.md is the rules as they are."""

from __future__ import annotations

from pathlib import Path

from deploytk.data.checks.__main__ import table
from deploytk.data.checks.rules import RULES
from deploytk.report import rule_table

PAGE = Path(__file__).resolve().parents[3] / "docs" / "data-check.md"


def test_the_page_has_the_rules_as_they_are() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert rule_table.with_table(page, table()) == page, "run: python -m deploytk.data.checks docs/data-check.md"
    assert table() in page


def test_each_rule_has_a_code_of_its_own_a_sentence_and_a_remedy() -> None:
    codes = [rule.code for rule in RULES]
    assert codes == sorted(set(codes))
    for rule in RULES:
        assert (rule.__doc__ or "").strip().endswith(".")
        assert rule.fix
        assert rule.severity in ("error", "warning", "info")
