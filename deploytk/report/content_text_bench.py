"""What the report says about the bench of a text model: reading and writing apart, and what they bring."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deploytk.report import Report
from deploytk.report.blocks import Block, Table, number, text

_WHAT = {"answer": "the whole answer of a batch", "first-token": "the first token", "token": "each further token"}


def text_bench_block(report: Report) -> list[Block]:
    """A row for each batch size."""
    told = report.sections.get("text_bench")
    if not isinstance(told, Mapping):
        return []
    lines = tuple(_lines(told))
    tables = (_times(told), _work(told)) if told["rows"] else ()
    return [Block(name="text-bench", title="Reading and writing", lines=lines, tables=tables, brief_lines=len(lines))]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"{told['inputs']}, a batch padded to its longest; the budget is for {_WHAT[told['judged']]}."
    if "inside" in told:
        beams = f", {told['beams']} beams" if told["beams"] > 1 else ""
        yield f"Inside the clock: {', '.join(told['inside'])}; answers {told['answers']}{beams}. Loading is outside."


def _times(told: Mapping[str, Any]) -> Table:
    names = ("first_token_p50_ms", "first_token_p95_ms", "per_token_p50_ms", "per_token_p95_ms", "decode_p50_ms")
    rows = tuple(
        (number(row["batch"]), *(number(row[name]) for name in names), number(row["load_s"])) for row in told["rows"]
    )
    columns = (*("batch", "first token p50 ms", "p95 ms", "further token p50 ms", "p95 ms", "decode p50 ms", "load s"),)
    return Table(columns=columns, rows=rows, title="Prefill (to the first token) and decode", brief=True)


def _work(told: Mapping[str, Any]) -> Table:
    rows = tuple(
        (
            number(row["batch"]),
            number(row["samples_per_second"]),
            number(row["tokens_per_second"]),
            number(row["prompt_tokens_per_second"]),
            number(row["prompt_tokens"]),
            number(row["answer_tokens"]),
            text(f"{row['padding_share']:.0%}"),
            number(row["peak_rss_mb"]),
        )
        for row in told["rows"]
    )
    columns = (
        "batch",
        "texts/s",
        "tokens/s",
        "read tokens/s",
        "tokens a text",
        "tokens an answer",
        "padding",
        "peak MB",
    )
    return Table(columns=columns, rows=rows, title="What a batch size brings", brief=True)
