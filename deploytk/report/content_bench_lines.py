"""What the report says about a bench in sentences, above its tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deploytk.report import Report
from deploytk.report.points import Point

BOUNDARY = {
    "model": "The clock holds the model's run alone, without pre- and post-processing.",
    "end_to_end": "The clock holds everything from the image file to the result.",
}


def bench_lines(report: Report, section: Mapping[str, Any], found: Sequence[Point]) -> tuple[str, ...]:
    """The sentences, in the order people ask for them: what is inside the clock comes first, always."""
    return (_boundary(report, section), *_best(section), *_how(section), *_marks(found))


def _boundary(report: Report, section: Mapping[str, Any]) -> str:
    boundary = section.get("boundary") or (report.budget.boundary if report.budget else "")
    if not boundary:
        return "This report does not say what the clock holds."
    return BOUNDARY.get(str(boundary), f"The clock holds: {boundary}.")


def _best(section: Mapping[str, Any]) -> Iterator[str]:
    if section.get("best_batch"):
        yield f"The largest batch size within the budget is {section['best_batch']}."
    best, tied = section.get("best_throughput_batch"), section.get("tied") or ()
    if best and len(tied) > 1:
        listed = ", ".join(map(str, tied))
        yield (
            f"The smallest batch size with the best throughput within the budget is {best}: "
            f"{listed} cannot be told apart from the best one."
        )
    elif best:
        yield f"The best throughput within the budget is at batch size {best}."
    if section.get("knee_batch"):
        yield (
            f"The knee of the throughput is at batch size {section['knee_batch']}: "
            "larger ones add little to it and much to the latency."
        )


def _how(section: Mapping[str, Any]) -> Iterator[str]:
    """How it was measured, and what disturbed it."""
    for name, key in (("Load", "arrival"), ("Inputs", "inputs")):
        if section.get(key):
            yield f"{name}: {section[key]}."
    threads, search = section.get("threads"), section.get("search")
    if isinstance(threads, Mapping) and threads.get("best"):
        yield f"Threads: {threads['best']}, as --threads auto measured."
    if isinstance(search, Mapping) and search.get("calls"):
        opened = f"{search['opened']} batch sizes were opened and " if search.get("opened") else ""
        yield f"Search: {opened}{search['calls']:,} calls made in {search.get('time_s', 0):.1f} s."
    steady = section.get("stability")
    if isinstance(steady, Mapping):
        told = [steady.get("sentence"), steady.get("note")]
        yield from (f"{str(t)[:1].upper()}{str(t)[1:].rstrip('.')}." for t in told if t)


def _marks(found: Sequence[Point]) -> Iterator[str]:
    """What the marks in the tables mean, where there are any."""
    if any(not p.refined for p in found):
        yield "“Screened” batch sizes have only the few samples it took to see that they are not the ones asked for."
    if any(p.estimated for p in found):
        yield "What is marked “est.” is a compiler's estimate, not a measurement."
