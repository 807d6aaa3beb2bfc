"""A report as files: report.json for programs, report.md for reviews, report.html for reading."""

from __future__ import annotations

import json
import re
from pathlib import Path

from deploytk.files import plain, write_text
from deploytk.report import Report
from deploytk.report.html import html
from deploytk.report.markdown import markdown

_NUMBERS = re.compile(r"\[\n\s+(-?[\d.eE+-]+(?:,\n\s+-?[\d.eE+-]+)*)\n\s+\]")


def write(report: Report, out: Path) -> dict[str, Path]:
    """The paths of report.json, report.md and report.html in `out`, by "json", "md" and "html"."""
    texts = {"json": as_json(report), "md": markdown(report), "html": html(report)}
    paths = {kind: out / f"report.{kind}" for kind in texts}
    for kind, path in paths.items():
        write_text(path, texts[kind])
    return paths


def as_json(report: Report) -> str:
    """The report as indented JSON: lists of numbers (samples) on one line, NaN and infinity as null."""
    told = json.dumps(plain(report.as_dict()), indent=2, allow_nan=False, ensure_ascii=False, default=str)
    return _NUMBERS.sub(lambda found: "[" + re.sub(r"\s+", " ", found[1]) + "]", told) + "\n"
