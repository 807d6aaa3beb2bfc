"""Several text models as one: each answers the same samples, one answer is chosen for each, and all are scored."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import numpy as np

from deploytk import worker
from deploytk.ensemble import texts as choosing
from deploytk.errors import InputError
from deploytk.files import sha256_of, write_text
from deploytk.plugins import import_or_explain
from deploytk.profile_text import Rouge
from deploytk.stages import text_models, text_samples
from deploytk.stages.ensemble import once
from deploytk.stages.text_systems import System, of_model
from deploytk.text import rouge
from deploytk.text.description import Described
from deploytk.text.pairs import Pair
from deploytk.worker import Listener

Strategy = Literal["stacking", "vote", "mbr"]
#: The number that decides which single model is the best, and whether the ensemble is better.
METRIC = "rougeL"
#: Searches for an answer that test-time augmentation adds to a model's own.
_BEAMS = (1, 2, 4)
_CHOOSING_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What an ensemble of text models is asked for."""

    data: Path | None  # what the first model's run was trained with where it is None
    strategy: Strategy
    samples: int = 50
    seed: int = 0
    source: str | None = None
    target: str | None = None
    tokenizer: Rouge | None = None
    tta: bool = False


@dataclass(frozen=True, kw_only=True)
class _Member:
    """A model, and how it searches for an answer."""

    name: str
    described: Described
    beams: int | None = None


def combined(models: Sequence[Path], asked: Asked, out: Path | None, listen: Listener | None) -> dict[str, Any]:
    """What each model and the ensemble came to, on the same samples; the answers in OUT/answers.jsonl.

    Raises:
        InputError: no text model, no such data or column, or too few samples for what is to be learnt from them.
        MissingDependency: a library is not installed.
        StepFailed: a model's process died.
    """
    found = [text_models.opened(path) for path in models]
    described, notes = once(found, lambda one: sha256_of(one.path), lambda one: str(one.folder))
    told = described[0].description
    columns = (asked.source or told.source, asked.target or told.target)
    where = asked.data or text_samples.data_of(described[0])
    pairs, drawing = text_samples.drawn(described, where, columns, asked.samples, asked.seed)
    if asked.strategy == "stacking" and len(pairs) < choosing.LEAST_SAMPLES:
        raise InputError(f"stacking learns from samples: {choosing.LEAST_SAMPLES} are needed, {len(pairs)} are there")
    members = _members(described, tta=asked.tta)
    with worker.log_folder(None, "ensemble") as logs:
        sources = [pair.source for pair in pairs]
        systems = [of_model(m.name, m.described.folder, sources, logs, listen, beams=m.beams) for m in members]
        found = worker.call(
            "deploytk.stages.ensemble_text:chosen",
            {
                "folder": str(described[0].folder),
                "tokenizer": asked.tokenizer or told.rouge,
                "strategy": asked.strategy,
                "sources": sources,
                "references": [pair.target for pair in pairs],
                "candidates": [[one.rows[i]["text"] or "" for one in systems] for i in range(len(pairs))],
                "names": [m.name for m in members],
                "seed": asked.seed,
            },
            logs=logs,
            name="choose",
            timeout_s=_CHOOSING_S,
            listen=listen,
        )
    if out is not None:
        _write_answers(out / "answers.jsonl", pairs, systems, found["chosen"])
    notes += _notes(asked, members, systems)
    return _told(members, systems, found, drawing, asked, notes)


def _members(described: Sequence[Described], *, tta: bool) -> list[_Member]:
    found = []
    for one, name in zip(described, _names(described), strict=True):
        found.append(_Member(name=name, described=one))
        own = one.description.beams
        found += [_Member(name=f"{name}, {n} beams", described=one, beams=n) for n in _BEAMS if tta and n != own]
    return found


def _names(described: Sequence[Described]) -> list[str]:
    """The name of each model's run and folder, with a number where two are alike."""
    runs = [text_models.run_of(one) for one in described]
    short = [
        one.folder.absolute().name if run is None else f"{run.path.name}/{one.folder.absolute().name}"
        for one, run in zip(described, runs, strict=True)
    ]
    return [name if short.count(name) == 1 else f"{name} ({i})" for i, name in enumerate(short, 1)]


def chosen(
    folder: str,
    tokenizer: Any,
    strategy: Strategy,
    sources: list[str],
    references: list[str],
    candidates: list[list[str]],
    names: list[str],
    seed: int,
) -> dict[str, Any]:
    """In a child: which candidate is taken for each sample, and the scores of all.

    Args:
        folder: of the model whose own tokenizer counts for "model".
        candidates: of each sample, the answer of each of `names`.
    """
    own = import_or_explain("transformers").AutoTokenizer.from_pretrained(folder) if tokenizer == "model" else None
    each = [rouge.scored([row[i] for row in candidates], references, tokenizer, own) for i in range(len(names))]
    began = time.perf_counter()
    alike = rouge.similarity(tokenizer, own)
    learnt = None
    if len(names) == 1:
        taken = [0] * len(candidates)
    elif strategy == "stacking":
        gains = np.stack([one.each[METRIC] for one in each], axis=1)
        found = choosing.stacked(candidates, sources, gains, alike, names, seed=seed)
        taken = list(found.chosen)
        learnt = {name: value for name, value in asdict(found).items() if name != "chosen"}
    else:
        choose = choosing.by_mutual if strategy == "mbr" else choosing.by_vote
        taken = [choose(row, alike) for row in candidates]
    took_s = time.perf_counter() - began
    answers = [row[i] for row, i in zip(candidates, taken, strict=True)]
    ours = rouge.scored(answers, references, tokenizer, own)
    best = max(range(len(names)), key=lambda i: each[i].means[METRIC])
    return {
        "chosen": taken,
        "members": [one.means for one in each],
        "ensemble": ours.means,
        "best": best,
        "differences": {name: asdict(one) for name, one in rouge.compared(ours, each[best]).items()},
        "choosing_ms": 1e3 * took_s / len(candidates),
        "learnt": learnt,
    }


def _notes(asked: Asked, members: Sequence[_Member], systems: Sequence[System]) -> list[str]:
    notes = []
    if len(members) == 2 and asked.strategy in ("mbr", "vote"):
        notes.append(
            f"two answers are as like each other both ways: {asked.strategy} of two takes the first model's wherever "
            "they differ; give a third model, --tta, or --strategy stacking"
        )
    if asked.tta:
        searches = ", ".join(map(str, _BEAMS))
        notes.append(f"test-time augmentation: each model answers with {searches} beams as well as with its own")
    for one in systems:
        failed = sum(row["text"] is None for row in one.rows)
        if failed:
            notes.append(f"{one.name} failed on {failed} of {len(one.rows)} samples; they count as empty answers")
    return notes


def _told(
    members: Sequence[_Member],
    systems: Sequence[System],
    found: dict[str, Any],
    drawing: dict[str, Any],
    asked: Asked,
    notes: list[str],
) -> dict[str, Any]:
    rows = [
        {
            "name": m.name,
            "path": str(m.described.folder),
            "sha256": sha256_of(m.described.path),
            "score": found["members"][i][METRIC],
            "scores": found["members"][i],
            "ms_per_sample": fmean(1e3 * row["latency_s"] for row in one.rows if row["latency_s"] is not None)
            if any(row["latency_s"] is not None for row in one.rows)
            else None,
            "chosen": found["chosen"].count(i),
        }
        for i, (m, one) in enumerate(zip(members, systems, strict=True))
    ]
    each = [row["ms_per_sample"] or 0.0 for row in rows]
    apart = found["differences"][METRIC]
    low, high = apart["interval"]
    return {
        "kind": "text",
        "strategy": asked.strategy,
        "tta": asked.tta,
        "metric": f"ROUGE-L ({asked.tokenizer or members[0].described.description.rouge})",
        **drawing,
        "systems": rows,
        "ensemble": {
            "score": found["ensemble"][METRIC],
            "scores": found["ensemble"],
            "ms_per_sample": sum(each) + found["choosing_ms"],
        },
        "difference": {**apart, "low": low, "high": high, "to": rows[found["best"]]["name"]},
        "learnt": found["learnt"],
        "passthrough": len(members) == 1,
        "notes": notes,
    }


def _write_answers(file: Path, pairs: Sequence[Pair], systems: Sequence[System], taken: Sequence[int]) -> None:
    """One line per sample: what was asked, what is right, what was chosen, and each candidate."""
    lines = [
        {
            "sample": i + 1,
            **pair._asdict(),
            "chosen": systems[taken[i]].name,
            "answer": systems[taken[i]].rows[i]["text"],
            "candidates": {one.name: one.rows[i]["text"] for one in systems},
        }
        for i, pair in enumerate(pairs)
    ]
    write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
