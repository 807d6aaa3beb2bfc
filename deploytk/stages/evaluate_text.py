"""How well a text model answers, beside other models and an endpoint, all on the same samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deploytk import worker
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_PARITY, EXIT_PASS, InputError
from deploytk.files import sha256_of, write_text
from deploytk.measurement import Machine
from deploytk.profile_text import SOURCE, Rouge
from deploytk.report import Report
from deploytk.stages import text_models, text_samples
from deploytk.stages.text_samples import name_of
from deploytk.stages.text_systems import Baseline, System, of_endpoint, of_model
from deploytk.stages.text_verdict import METRIC, verdict
from deploytk.text import rouge
from deploytk.text.description import Described
from deploytk.text.endpoint import require
from deploytk.text.pairs import Pair
from deploytk.text.rouge import Scores
from deploytk.worker import Listener

_SCORING_S = 3600.0
_EXITS = {"pass": EXIT_PASS, "fail": EXIT_PARITY, "inconclusive": EXIT_INCONCLUSIVE}


def evaluate(
    model: Path,
    data: Path | None,
    *,
    against: Sequence[Path] = (),
    baseline: Baseline | None = None,
    prompt: str | None = None,
    samples: int = 50,
    seed: int = 0,
    source: str | None = None,
    target: str | None = None,
    tokenizer: Rouge | None = None,
    max_drop: float = 0.02,
    out: Path | None = None,
    listen: Listener | None = None,
) -> Report:
    """ROUGE, latency and cost of a text model and of what it is compared with; the differences are judged.

    Args:
        data: a table with the columns `source` and `target` (as the model's description says where they are None);
            what the model's run was trained with where it is None.
        prompt: what the endpoint is given, with {source} in it; the model's own prompt where it is None.
        tokenizer: of ROUGE; as the model's description says where it is None.
        max_drop: what the mean ROUGE-L F1 may fall by, absolute.
        out: folder that gets answers.jsonl: every answer of every system.

    Raises:
        InputError: no text model, no such data or column, a wrong address or key.
        MissingDependency: a library is not installed.
        StepFailed: a model's process died.
    """
    described = [text_models.opened(path) for path in (model, *against)]
    if prompt is not None and SOURCE not in prompt:
        raise InputError(f"--api-prompt: {SOURCE} is not in it: every text would get the same answer")
    if baseline:
        require(baseline.endpoint)
    told = described[0].description
    where = data or text_samples.data_of(described[0])
    asked, drawing = text_samples.drawn(described, where, (source or told.source, target or told.target), samples, seed)
    texts = [pair.source for pair in asked]
    with worker.log_folder(None, "evaluate") as logs:
        systems = [of_model(name_of(i), one.folder, texts, logs, listen) for i, one in enumerate(described)]
        if baseline:
            prompts = [(prompt or told.prompt).replace(SOURCE, text) for text in texts]
            systems.append(of_endpoint("endpoint", baseline, prompts, listen))
        *scores, chance = _scored(systems, asked, tokenizer or told.rouge, described[0].folder, logs)
    if out is not None:
        _write_answers(out / "answers.jsonl", asked, systems)
    differences = [_differences(scores[0], other) for other in scores[1:]] if scores else []
    decided = verdict(systems, scores, chance, max_drop)
    artifact = text_models.artifact_of(described[0])
    return Report(
        command="evaluate",
        title=model.absolute().name,
        verdict=decided,
        exit_code=_EXITS[decided.status],
        artifact=artifact,
        chain=(artifact,),
        machine=Machine.this(),
        sections={
            "text_evaluation": {
                **drawing,
                "tokenizer": tokenizer or told.rouge,
                "confidence": rouge.CONFIDENCE,
                "metric": METRIC,
                "max_drop": max_drop,
                "scored": len(scores[0]) if scores else 0,
                "chance": _rouge(chance) if scores else None,
                "systems": [
                    {**one.summary(), "rouge": _rouge(scores[i]) if scores else None, **_facts(described, i)}
                    for i, one in enumerate(systems)
                ],
                "differences": [
                    {"name": one.name, **told} for one, told in zip(systems[1:], differences, strict=False)
                ],
                "failures": _failures(systems),
            }
        },
    )


def _facts(described: Sequence[Described], number: int) -> dict[str, Any]:
    """Which model it is, in its own words; nothing of an endpoint."""
    if number >= len(described):
        return {}
    one = described[number]
    return {
        "runtime": one.description.runtime,
        "precision": one.description.precision,
        "beams": one.description.beams,
        "sha256": sha256_of(one.path),
    }


def _scored(
    systems: Sequence[System], asked: Sequence[Pair], tokenizer: Rouge, folder: Path, logs: Path
) -> list[Scores]:
    """The scores of each system on the samples that all of them answered, and last those of chance.

    Chance gives each sample the right answer of another one: by characters that alone scores 0.2 and more. Where no
    sample was answered by all, only an empty score of chance is there.
    """
    common = [i for i in range(len(asked)) if all(one.rows[i]["text"] is not None for one in systems)]
    if not common:
        return [Scores(tokenizer=tokenizer, each=dict.fromkeys(rouge.NAMES, np.zeros(0)))]
    references = [asked[i].target for i in common]
    others = references[1:] + references[:1]
    told = worker.call(
        "deploytk.stages.text_systems:rouge_of",
        {
            "folder": str(folder),
            "tokenizer": tokenizer,
            "references": references,
            "systems": [*([one.rows[i]["text"] for i in common] for one in systems), others],
        },
        logs=logs,
        name="rouge",
        timeout_s=_SCORING_S,
    )
    return [
        Scores(tokenizer=tokenizer, each={name: np.array(values, np.float64) for name, values in one.items()})
        for one in told
    ]


def _rouge(scores: Scores) -> dict[str, Any]:
    intervals = scores.intervals()
    return {name: {"mean": mean, "interval": list(intervals[name])} for name, mean in scores.means.items()}


def _differences(ours: Scores, theirs: Scores) -> dict[str, Any]:
    return {name: asdict(one) for name, one in rouge.compared(ours, theirs).items()}


def _failures(systems: Sequence[System]) -> list[dict[str, Any]]:
    return [
        {"system": one.name, "sample": number, "reason": row["reason"]}
        for one in systems
        for number, row in enumerate(one.rows, 1)
        if row["text"] is None
    ]


def _write_answers(file: Path, asked: Sequence[Pair], systems: Sequence[System]) -> None:
    """One line per sample: what was asked, what is right, and each system's row."""
    lines = [
        {"sample": i + 1, **pair._asdict(), "systems": {one.name: one.rows[i] for one in systems}}
        for i, pair in enumerate(asked)
    ]
    write_text(file, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
