"""What is compared when text models are scored: each system's answers to the same samples, with times and reasons."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.measurement import percentile
from deploytk.plugins import import_or_explain
from deploytk.text.endpoint import Endpoint
from deploytk.worker import Listener

_TIMEOUT_S = 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """An endpoint that answers beside the model, what it is told, and what it costs."""

    endpoint: Endpoint
    cache: Path
    price_in: float | None = None  # of a million tokens of prompts
    price_out: float | None = None  # of a million tokens of answers


@dataclass(frozen=True, kw_only=True)
class System:
    """One system, and for each sample a row: text (None where it failed), reason, latency_s; of an endpoint more."""

    name: str
    facts: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]

    def summary(self) -> dict[str, Any]:
        """How many samples it answered, and how fast. An answer from a cache has no latency."""
        times = [1e3 * row["latency_s"] for row in self.rows if row["latency_s"] is not None]
        latency: dict[str, float] = {"samples": len(times)}
        if times:
            latency |= {"p50": percentile(times, 50), "p95": percentile(times, 95)}
        return {
            "name": self.name,
            **self.facts,
            "answered": sum(row["text"] is not None for row in self.rows),
            "failed": sum(row["text"] is None for row in self.rows),
            "cached": sum(bool(row.get("cached")) for row in self.rows),
            "cut": sum(bool(row.get("cut")) for row in self.rows),
            "latency_ms": latency,
        }


def of_model(
    name: str, folder: Path, texts: Sequence[str], logs: Path, listen: Listener | None, *, beams: int | None = None
) -> System:
    """A text model's answers, generated in a child process, one text at a time.

    Args:
        beams: of the search; as the model's description says by default.
    """
    told = worker.call(
        "deploytk.stages.text_systems:answered",
        {"folder": str(folder), "texts": list(texts), "beams": beams},
        logs=logs,
        name=name,
        timeout_s=_TIMEOUT_S,
        listen=listen,
    )
    return System(name=name, facts={"kind": "model", "where": str(folder)}, rows=tuple(told))


def answered(folder: str, texts: list[str], beams: int | None = None) -> list[dict[str, Any]]:
    """In a child: a row for each text. The first one is answered twice: the first time is a warm-up."""
    from deploytk.text import generating

    model = generating.opened(Path(folder))
    rows: list[dict[str, Any]] = []
    for number, text in enumerate([texts[0], *texts]):
        worker.emit(done=number, total=len(texts) + 1)
        began = time.perf_counter()
        try:
            said = model.generate([text], beams=beams).texts[0]
        except (RuntimeError, ValueError, IndexError) as error:  # this text is too long for it, or the like
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            rows.append({"text": None, "reason": reason, "latency_s": None})
            continue
        rows.append({"text": said, "reason": "", "latency_s": time.perf_counter() - began})
    return rows[1:]


def of_endpoint(name: str, baseline: Baseline, prompts: Sequence[str], listen: Listener | None) -> System:
    """An endpoint's answers, and what they cost.

    Raises:
        InputError: its address or its key is wrong.
        MissingDependency: httpx or tenacity is not installed.
    """
    remote = import_or_explain("deploytk.text.remote")
    asked = baseline.endpoint

    def told(done: int) -> None:
        if listen:
            listen({"done": done, "total": len(prompts), "text": asked.model})

    rows = tuple(asdict(answer) for answer in remote.answers(asked, prompts, baseline.cache, told))
    facts = {"kind": "endpoint", "where": asked.asked, "model": asked.model, "concurrency": asked.concurrency}
    return System(name=name, facts={**facts, **asked.settings, **_spent(rows, baseline)}, rows=rows)


def _spent(rows: Sequence[Mapping[str, Any]], baseline: Baseline) -> dict[str, Any]:
    """The tokens of all answers, and their cost where prices are given: of all, and of those asked for now."""
    answers = [row for row in rows if row["text"] is not None]
    counted = [row for row in answers if row["prompt_tokens"] is not None and row["answer_tokens"] is not None]
    prompt, answer = (sum(row[f"{side}_tokens"] for row in counted) for side in ("prompt", "answer"))
    told: dict[str, Any] = {
        "tokens": {"prompt": prompt, "answer": answer, "answers_without": len(answers) - len(counted)}
    }
    if baseline.price_in is None or baseline.price_out is None or not counted:
        return told

    def cost(some: Sequence[Mapping[str, Any]]) -> float:
        sides = ((baseline.price_in or 0.0, "prompt_tokens"), (baseline.price_out or 0.0, "answer_tokens"))
        return sum((price * float(row[name]) for row in some for price, name in sides), 0.0) / 1e6

    fresh = [row for row in counted if not row["cached"]]
    prices = {"in": baseline.price_in, "out": baseline.price_out}
    return told | {"prices": prices, "cost": {"of_all": cost(counted), "paid_now": cost(fresh)}}


def rouge_of(folder: str, tokenizer: Any, references: list[str], systems: list[list[str]]) -> list[dict[str, Any]]:
    """In a child: for each system the scores of each answer, by the kinds of ROUGE.

    Args:
        folder: of the model whose own tokenizer counts for "model".
    """
    from deploytk.text import rouge

    own = None
    if tokenizer == "model":
        own = import_or_explain("transformers").AutoTokenizer.from_pretrained(folder)
    scores = [rouge.scored(answers, references, tokenizer, own) for answers in systems]
    return [{name: values.tolist() for name, values in one.each.items()} for one in scores]
