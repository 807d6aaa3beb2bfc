"""What is wrong with a training before any model is loaded: rules on facts that cost nothing to know."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from deploytk.profile import Profile
from deploytk.report import Finding
from deploytk.training.preflight.context import Context
from deploytk.training.preflight.rules import RULES


def quick(profile: Profile, run: Path, backend: ModuleType) -> list[Finding]:
    """The findings of every rule; neither a model nor a library of models is loaded, and nothing is written."""
    return looked_at(Context.of(profile, run, backend))


def looked_at(context: Context) -> list[Finding]:
    """The findings of every rule on what is known."""
    return [
        Finding(
            rule=rule.code, severity=said.severity or rule.severity, where=said.where, message=said.what, fix=said.fix
        )
        for rule in RULES
        for said in rule.check(context)
    ]
