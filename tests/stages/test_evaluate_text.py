"""Text models beside others and an endpoint: the same samples for all, and what is said of the differences."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_server import completion, serving

from deploytk.errors import InputError
from deploytk.report import content
from deploytk.stages import evaluate_text as stage
from deploytk.stages import text_samples, text_systems
from deploytk.stages.text_systems import Baseline, System
from deploytk.stages.text_verdict import verdict
from deploytk.text import description
from deploytk.text.endpoint import Endpoint
from deploytk.text.rouge import Scores

pytest.importorskip("polars", reason="polars is not installed")
pytest.importorskip("rouge_score", reason="rouge-score is not installed")
SECRET = "sk-stage-0123456789"
WORDS = ["가", "나", "다", "라", "마", "바", "사"]


def right(source: str) -> str:
    """What should be answered: some words, as the text's number says."""
    number = int(source.removeprefix("질문"))
    return " ".join(WORDS[(number + i) % 7] for i in range(4))


def model(folder: Path, **settings: Any) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    told = {"max_source": 8, "max_target": 8, "source": "Q", "target": "A", **settings}
    description.write(folder, "seq2seq", "torch", "fp32", told)
    return folder


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Models that answer as ANSWERS says, in this process, and a table of 60 pairs."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    rows = [f"질문{n},{right(f'질문{n}')}" for n in range(60)]
    (tmp_path / "chat.csv").write_text("\n".join(["Q,A", *rows]), encoding="utf-8")

    def call(function: str, kwargs: dict[str, Any], **_more: Any) -> Any:
        if function.endswith(":rouge_of"):
            return text_systems.rouge_of(**kwargs)
        answer = ANSWERS[Path(kwargs["folder"]).name]
        said = [answer(text) for text in kwargs["texts"]]
        return [{"text": t, "reason": "" if t else "too long", "latency_s": 0.01 if t else None} for t in said]

    monkeypatch.setattr("deploytk.worker.call", call)
    for name in ANSWERS:
        model(tmp_path / name)
    return tmp_path


ANSWERS: dict[str, Callable[[str], str | None]] = {
    "good": right,
    "poor": lambda source: right(source).split()[0],
    "mute": lambda _source: None,
    "shy": lambda source: None if source.endswith("7") else right(source),
    "model": right,
}


def evaluated(root: Path, name: str, *against: str, **more: Any) -> Any:
    return stage.evaluate(root / name, root / "chat.csv", against=[root / each for each in against], **more)


def section(report: Any) -> Any:
    return report.sections["text_evaluation"]


def test_alone_it_passes_and_says_its_tokenizer(root: Path) -> None:
    report = evaluated(root, "good")
    told = section(report)
    assert report.exit_code == 0 and report.verdict.reasons == (
        "ROUGE-L (whitespace) 1.000 on 50 samples; compared with nothing.",
    )
    assert told["systems"][0]["rouge"]["rouge1"] == {"mean": 1.0, "interval": [1.0, 1.0]}
    assert 0 < told["chance"]["rougeL"]["mean"] < 1 and report.artifact.precision == "fp32"
    assert told["systems"][0]["latency_ms"] == {"samples": 50, "p50": 10.0, "p95": 10.0}
    assert (told["pairs"], told["samples"], told["training_unknown"]) == (60, 50, ["model"])


def test_what_is_worse_fails_and_what_is_better_passes(root: Path) -> None:
    worse, better, same = (evaluated(root, *two) for two in (("poor", "good"), ("good", "poor"), ("good", "model")))
    assert (worse.exit_code, better.exit_code, same.exit_code) == (8, 0, 0)
    assert section(worse)["differences"][0]["rougeL"]["mean"] == pytest.approx(0.4 - 1)
    assert "worse" in worse.verdict.reasons[1] and "better" in better.verdict.reasons[1]
    assert evaluated(root, "good", "poor", "model").exit_code == 0
    assert evaluated(root, "poor", "poor", "model").exit_code == 8


def test_all_get_the_same_samples_whenever_they_are_asked(root: Path) -> None:
    asked: dict[str, list[str]] = {}
    for name in ("good", "poor"):
        ANSWERS[name], kept = (lambda s, name=name: asked.setdefault(name, []).append(s) or right(s)), ANSWERS[name]
        try:
            digest = section(evaluated(root, name, samples=12))["digest"]
        finally:
            ANSWERS[name] = kept
        asked.setdefault("digests", []).append(digest)
    assert asked["good"] == asked["poor"] and len(asked["good"]) == 12 and len(set(asked["digests"])) == 1
    assert section(evaluated(root, "good", samples=12, seed=1))["digest"] != asked["digests"][0]


def test_a_sample_that_fails_is_a_row_and_nothing_is_decided(root: Path, tmp_path: Path) -> None:
    report = evaluated(root, "shy", "good", samples=60, out=tmp_path / "out")
    told = section(report)
    assert report.exit_code == 4 and report.verdict.reasons[0] == "model: 6 of 60 samples failed."
    assert told["scored"] == 54 and told["systems"][1]["answered"] == 60
    assert told["failures"][0]["reason"] == "too long" and len(told["failures"]) == 6
    rows = [json.loads(line) for line in (tmp_path / "out/answers.jsonl").read_text().splitlines()]
    assert len(rows) == 60 and rows[0]["systems"]["against-1"]["text"] == rows[0]["target"]
    mute = evaluated(root, "mute")
    assert mute.exit_code == 4 and "nothing is shown" in mute.verdict.reasons[-1]
    assert content.blocks(mute) and content.blocks(report)


def test_an_endpoint_answers_beside_it_and_its_key_is_in_no_file(root: Path, tmp_path: Path) -> None:
    from deploytk.report import render

    with serving(lambda prompt, _n: completion(right(prompt.removeprefix("답: ")), usage=(20, 10))) as server:
        endpoint = Endpoint(url=server.url, model="stub", backoff_s=0.01)
        baseline = Baseline(endpoint=endpoint, cache=tmp_path / "cache", price_in=1.0, price_out=10.0)
        first = evaluated(root, "good", baseline=baseline, prompt="답: {source}", out=tmp_path / "out")
        again = evaluated(root, "good", baseline=baseline, prompt="답: {source}")
        render.write(first, tmp_path / "out")

    told = section(first)["systems"][1]
    assert first.exit_code == 0 and len(server.prompts) == 50 and server.prompts[0].startswith("답: 질문")
    assert told["tokens"] == {"prompt": 1000, "answer": 500, "answers_without": 0}
    assert told["cost"] == pytest.approx({"of_all": 0.006, "paid_now": 0.006}) and told["latency_ms"]["samples"] == 50
    cached = section(again)["systems"][1]
    assert cached["cached"] == 50 and cached["latency_ms"] == {"samples": 0} and cached["cost"]["paid_now"] == 0
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(files) > 50 and not [file for file in files if SECRET.encode() in file.read_bytes()]
    assert SECRET not in json.dumps(first.as_dict())


def test_the_report_names_the_tokenizer_with_every_number(root: Path) -> None:
    (block,) = (
        b
        for b in content.blocks(evaluated(root, "good", "poor", tokenizer="character"))
        if "answers" in b.name or b.title == "Answers"
    )
    scores, differences, costs = block.tables
    assert all("(character)" in column for column in scores.columns[2:]) and "(character)" in differences.columns[1]
    assert [row[0].text for row in costs.rows] == ["model", "against-1"]
    assert any("tokenizer character" in line for line in block.lines)


def test_what_a_model_was_trained_on_is_not_asked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = root / "run"
    model(run / "model")
    monkeypatch.setattr(
        text_samples, "_trained_on", lambda one: {f"질문{n}" for n in range(30)} if one.folder.parent == run else None
    )
    told = section(stage.evaluate(run, root / "chat.csv", against=[root / "good"]))
    assert (told["trained_on"], told["samples"], told["training_unknown"]) == (30, 30, ["against-1"])
    monkeypatch.setattr(text_samples, "_trained_on", lambda _one: {f"질문{n}" for n in range(60)})
    with pytest.raises(InputError, match="all 60 pairs are among what a model was trained on"):
        stage.evaluate(run, root / "chat.csv")


def test_the_texts_of_a_run_are_known_from_its_profile(root: Path) -> None:
    from deploytk.profile import Profile
    from deploytk.stages.run_folder import RunFolder
    from deploytk.text import pairs

    text = {"tiny": True, "config": {"model_type": "bart"}, "source": "Q", "target": "A", "validation": 0.3}
    profile = Profile.model_validate(
        {"name": "t", "backend": "seq2seq", "data": {"path": str(root / "chat.csv")}, "text": text, "train": {}}
    )
    RunFolder(root / "run").save_profile(profile)
    model(root / "run" / "model")
    told = section(stage.evaluate(root / "run", root / "chat.csv"))
    kept = pairs.read(profile)
    assert told["trained_on"] == len(kept.train) and told["samples"] == min(50, len(kept.val))
    assert told["training_unknown"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "no place"}, "every text would get the same answer"),
        ({"source": "q"}, "no column 'q'"),
        (
            {"baseline": Baseline(endpoint=Endpoint(url="http://192.0.2.1", model="m"), cache=Path("x"))},
            "readable by all",
        ),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(root: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluated(root, "good", **change)


def judged(ours: np.ndarray, theirs: np.ndarray, allowed: float = 0.02) -> Any:
    rows = tuple({"text": "a", "reason": "", "latency_s": None} for _ in ours)
    systems = [System(name=name, facts={}, rows=rows) for name in ("model", "other")]
    scores = [
        Scores(tokenizer="whitespace", each=dict.fromkeys(("rouge1", "rouge2", "rougeL"), x)) for x in (ours, theirs)
    ]
    return verdict(systems, scores, replace(scores[1], each={"rougeL": np.full(50, 0.1)}), allowed)


def test_between_shown_and_ruled_out_it_says_how_many_samples_would_tell() -> None:
    chance = np.random.default_rng(3)
    theirs = chance.uniform(0.3, 0.7, 50)
    noisy = judged(theirs + chance.normal(0, 0.2, 50), theirs)
    assert noisy.status == "inconclusive" and "samples would tell" in noisy.reasons[1]
    assert judged(theirs + chance.normal(0, 0.01, 50), theirs).status == "pass"
    assert judged(theirs - 0.1, theirs).status == "fail"
    assert judged(theirs - 0.01, theirs).status == "pass"  # worse, but within what is allowed


def test_too_few_samples_or_a_baseline_near_zero_show_nothing() -> None:
    few, low = np.full(9, 0.5), np.full(50, 0.11)
    assert "fewer than 10" in judged(few, few).reasons[1] and judged(few, few).status == "inconclusive"
    assert "so near to chance (0.100)" in judged(low, low).reasons[1] and judged(low, low).status == "inconclusive"
    assert judged(low + 0.1, low).status == "pass"  # better than such a one is still shown


def test_a_text_that_a_model_cannot_answer_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from deploytk.text import generating

    def generate(texts: list[str], *, beams: int | None = None) -> Any:  # noqa: ARG001
        if texts == ["long"]:
            raise IndexError("index out of range\nin self")
        return SimpleNamespace(texts=(texts[0].upper(),))

    monkeypatch.setattr(generating, "opened", lambda _folder: SimpleNamespace(generate=generate))
    told = text_systems.answered("m", ["a", "long", "b"])
    assert [row["text"] for row in told] == ["A", None, "B"]
    assert told[1]["reason"] == "IndexError: index out of range in self" and told[1]["latency_s"] is None
    assert told[0]["latency_s"] > 0
