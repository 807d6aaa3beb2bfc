"""What a data check found as it stands in a report: the places of each rule as one finding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Protocol

from deploytk.data.checks.rules import Problem
from deploytk.report import Finding

#: Of each rule, so many places are named in the report; data-check.json has them all.
_NAMED, _EXAMPLES = 3, 20


class Shown(Protocol):
    """What knows how a file is named to a person."""

    def shown(self, file: Path) -> str:
        """The file, as short as it is clear."""


def by_rule(problems: Sequence[Problem]) -> Iterator[list[Problem]]:
    """The problems of each rule; they come sorted by it."""
    for _, same in groupby(problems, key=lambda p: p.rule.code):
        yield list(same)


def where(found: Shown, problem: Problem) -> str:
    """`file:line`, or the file alone."""
    return f"{found.shown(problem.file)}:{problem.line}" if problem.line else found.shown(problem.file)


def finding(found: Shown, problems: list[Problem]) -> Finding:
    """All places of a rule as one finding: the first in full, some more by name."""
    first, *others = problems
    one_place = len({p.file for p in problems}) == 1 and not first.line
    named = [p.said if one_place else where(found, p) for p in others[:_NAMED]]
    more = f"; {len(others):,} more: {', '.join(named)}{', …' if len(others) > _NAMED else ''}" if others else ""
    return Finding(
        rule=first.rule.code,
        severity=first.rule.severity,
        where=where(found, first),
        message=first.said + more,
        fix=first.rule.fix,
    )


def section(found: Shown, problems: list[Problem]) -> dict[str, Any]:
    """All places of a rule with the first of them, as the report's section has it."""
    rule = problems[0].rule
    return {
        "rule": rule.code,
        "severity": rule.severity,
        "found": len(problems),
        "files": len({p.file for p in problems}),
        "holds": (rule.__doc__ or "").strip(),
        "examples": [{"where": where(found, p), "said": p.said} for p in problems[:_EXAMPLES]],
    }


def places(found: Shown, problems: Sequence[Problem]) -> list[dict[str, Any]]:
    """Every place of every rule, as data-check.json has them."""
    return [
        {
            "rule": p.rule.code,
            "severity": p.rule.severity,
            "file": found.shown(p.file),
            "line": p.line or None,
            "said": p.said,
        }
        for p in problems
    ]


def counted(number: int, what: str) -> str:
    """`1 image`, `2 images`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
