"""A report that is kept in a file, under the key of all that shapes it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from deploytk.files import write_json
from deploytk.report import Report
from deploytk.report.loading import report_from


def once(path: Path, key: str, made: Callable[[], Report], *, unchanged: Callable[[], None]) -> Report:
    """The report kept at `path` under `key`, after `unchanged`; else the one that `made` gives, which is kept."""
    found = _kept(path, key)
    if found is not None:
        unchanged()
        return found
    report = made()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"key": key, "report": report.as_dict()})
    return report


def _kept(path: Path, key: str) -> Report | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return report_from(told["report"]) if told["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
