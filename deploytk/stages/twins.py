"""Models that were to be different and are the same: identical metrics, identical weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deploytk.report import Finding


def same_metrics(models: Iterable[tuple[str, tuple[Any, ...]]]) -> list[Finding]:
    """Models whose metrics are all the same: with different activations that is a symptom, not a result.

    Args:
        models: (name, metrics) of each; metrics that are all 0 or missing say nothing.
    """
    return _twins(
        ((name, metrics) for name, metrics in models if any(metrics)),
        "identical metrics: the variants may be one and the same model",
        "compare their checkpoints' sha256 and activation audits",
    )


def same_weights(models: Iterable[tuple[str, str | None]]) -> list[Finding]:
    """Models whose tensors are the same, name by name and bit by bit.

    Args:
        models: (name, digest of the tensors) of each, None where it is not known.
    """
    return _twins(
        ((name, digest) for name, digest in models if digest),
        "identical weights: what was to make the difference has not reached the training",
        "look into both model.pt.json for their settings, and whether the backend heeds what is varied",
    )


def _twins(models: Iterable[tuple[str, Any]], message: str, fix: str) -> list[Finding]:
    seen: dict[Any, str] = {}
    found = []
    for name, what in models:
        if what in seen:
            where = f"{seen[what]} and {name}"
            found.append(Finding(rule="CMP001", severity="warning", where=where, message=message, fix=fix))
        seen.setdefault(what, name)
    return found
