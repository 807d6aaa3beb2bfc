"""A report as one HTML page that needs nothing else: no network, no other file; light, dark and on paper."""

from __future__ import annotations

import jinja2

from deploytk import __version__
from deploytk.report import Report
from deploytk.report.blocks import TONES
from deploytk.report.content import EXIT_WORDS, blocks
from deploytk.report.plots import figures

#: Reasons shown at once; the others open with a click.
_SHOWN = 5

_ALT = {
    "pareto": "Latency against accuracy of every candidate; the table below has the numbers",
    "latency": "Latency in ms by batch size against the budget; the table below has the numbers",
    "throughput": "Items per second by batch size; the table below has the numbers",
    "ecdf": "Share of calls by latency for each batch size, with its confidence band and the budget",
    "timeline": "Latency of every block by the time it was measured, warm-up apart",
    "memory": "Resident memory over time",
    "parts": "Median time of each part of an end-to-end call",
    "load": "Latency over time under load",
    "training": "Losses and metrics by epoch",
    "cycles": "Estimated NPU cycles of the costliest operators",
}


def html(report: Report) -> str:
    """The page. Everything that comes from files is escaped; only our own figures are not."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("deploytk.report", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("report.html.j2")
    return page.render(
        report=report,
        blocks=blocks(report),
        figures=figures(report),
        alt=_ALT,
        tone=TONES[report.verdict.status],
        mark={"pass": "✓", "fail": "✕", "inconclusive": "?"}[report.verdict.status],
        exit_words=EXIT_WORDS.get(report.exit_code, ""),
        shown=report.verdict.reasons[:_SHOWN],
        more=report.verdict.reasons[_SHOWN:],
        version=__version__,
    )
