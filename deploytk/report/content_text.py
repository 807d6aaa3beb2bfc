"""What the report says about the answers of a text model, beside those of other models and of an endpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Cell, Table, Tone, number, text

_NAMES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
_TOLD: dict[str, Tone] = {"better": "good", "worse": "bad"}


def text_evaluation_block(report: Report) -> list[Block]:
    """ROUGE with its intervals, the differences, and what an answer takes and costs."""
    told = report.sections.get("text_evaluation")
    if not isinstance(told, Mapping):
        return []
    lines = tuple(_lines(told))
    tables = [_scores(told), _differences(told), _costs(told), _failures(told)]
    shown = tuple(table for table in tables if table.rows)
    return [Block(name="text-evaluation", title="Answers", lines=lines, tables=shown, brief_lines=len(lines))]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    source, target = told["columns"]
    yield (
        f"{told['samples']} samples of {told['pairs']} pairs in {told['data']} ({source} to {target}, seed "
        f"{told['seed']}), the same for all; digest {told['digest'][:12]}. Scored: {told['scored']}."
    )
    if told["trained_on"]:
        yield f"{told['trained_on']} pairs were left out: a model was trained on them."
    if told["training_unknown"]:
        names = ", ".join(told["training_unknown"])
        yield f"Not known whether trained on these texts: {names} (no run with its data beside the model)."
    yield (
        f"ROUGE by rouge-score, tokenizer {told['tokenizer']}: F1, {100 * told['confidence']:.0f} % intervals by the "
        "bootstrap. Scores by another tokenizer, or on other samples, are other measures."
    )
    yield "A model's latency is of one text at a time on this machine, after a warm-up."
    for one in told["systems"]:
        if one["kind"] == "endpoint":
            yield (
                f"The endpoint's latency is of a request, network included, {one['concurrency']} at a time; pauses "
                "and failed tries are not in it, and an answer from the cache has none."
            )


def _scores(told: Mapping[str, Any]) -> Table:
    rows = [
        (text(one["name"]), text(_what(one)), *(_score(one["rouge"][name]) for name in _NAMES))
        for one in told["systems"]
        if one["rouge"]
    ]
    if told["chance"]:
        other = text("the right answer of another sample")
        rows.append((text("chance"), other, *(_score(told["chance"][name]) for name in _NAMES)))
    columns = ("system", "model", *(f"{name} ({told['tokenizer']})" for name in _NAMES.values()))
    return Table(columns=columns, rows=tuple(rows), title="Scores", brief=True, spare=("model",))


def _what(system: Mapping[str, Any]) -> str:
    if system["kind"] == "endpoint":
        return f"{system['model']} at {system['where']}"
    return f"{system['where']} ({system['runtime']}, {system['precision']})"


def _score(told: Mapping[str, Any]) -> Cell:
    low, high = told["interval"]
    return Cell(text=f"{told['mean']:.3f} ({low:.3f} to {high:.3f})", number=True)


def _differences(told: Mapping[str, Any]) -> Table:
    rows = [
        (text(f"model beside {one['name']}"), text(title), _apart(one[name]), text(one[name]["told"], _tone(one[name])))
        for one in told["differences"]
        for name, title in _NAMES.items()
    ]
    columns = ("compared", f"number ({told['tokenizer']})", "difference", "the model is")
    return Table(columns=columns, rows=tuple(rows), title="Differences on the same samples, paired", brief=True)


def _tone(difference: Mapping[str, Any]) -> Tone:
    return _TOLD.get(difference["told"], "muted")


def _apart(told: Mapping[str, Any]) -> Cell:
    low, high = told["interval"]
    return Cell(text=f"{told['mean']:+.3f} ({low:+.3f} to {high:+.3f})", number=True)


def _costs(told: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            text(one["name"]),
            number(one["answered"]),
            number(one["failed"], "bad" if one["failed"] else ""),
            number(one["cached"]),
            number(one["cut"]),
            number(one["latency_ms"].get("p50")),
            number(one["latency_ms"].get("p95")),
            number(one["latency_ms"]["samples"]),
            text(_tokens(one)),
            text(_cost(one)),
        )
        for one in told["systems"]
    )
    columns = (
        "system",
        "answered",
        "failed",
        "from cache",
        "cut",
        "p50 ms",
        "p95 ms",
        "timed",
        "tokens in, out",
        "cost",
    )
    return Table(columns=columns, rows=rows, title="Answers, latency and cost", brief=True, spare=("cut", "timed"))


def _tokens(system: Mapping[str, Any]) -> str:
    tokens = system.get("tokens")
    if not tokens:
        return ""
    untold = f" ({tokens['answers_without']} answers without)" if tokens["answers_without"] else ""
    return f"{tokens['prompt']:,}, {tokens['answer']:,}{untold}"


def _cost(system: Mapping[str, Any]) -> str:
    cost = system.get("cost")
    return f"{cost['of_all']:.4g}, of it now {cost['paid_now']:.4g}" if cost else ""


def _failures(told: Mapping[str, Any]) -> Table:
    rows = tuple((text(one["system"]), number(one["sample"]), text(one["reason"])) for one in told["failures"])
    return Table(columns=("system", "sample", "reason"), rows=rows, title="Samples without an answer", folded=True)
