"""`deploytk ensemble` of tiny text models: what is chosen, what it says of one model, of two, of the same one twice."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("transformers", reason="transformers is not installed")

from tiny_text import SAYINGS, tiny_text

from deploytk.cli.main import cli
from deploytk.stages import ensemble, ensemble_text


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ensemble")
    for seed in range(2):
        tiny_text(folder / f"bart{seed}", seed=seed)
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([["source", "target"], *([f"{text} {i}", text] for i in range(6) for text in SAYINGS)])
    return folder


def told(here: Path, *args: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli, ["ensemble", *args, "--data", str(here / "pairs.csv"), "--json"])
    return done.exit_code, json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.e2e
def test_two_models_are_scored_alone_and_as_one_on_the_same_samples(here: Path) -> None:
    models = [str(here / f"bart{seed}") for seed in range(2)]
    code, found = told(here, *models, "--strategy", "stacking", "--samples", "24", "--out", str(here / "out"))
    section = found["sections"]["ensemble"]
    assert code == {"better": 0, "worse": 8, "not told apart": 4}[section["difference"]["told"]]
    assert [row["name"] for row in section["systems"]] == ["bart0", "bart1"]
    assert sum(row["chosen"] for row in section["systems"]) == section["samples"] == 24
    lines = [json.loads(line) for line in (here / "out" / "answers.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 24
    for line in lines:
        assert line["answer"] == line["candidates"][line["chosen"]]
    kept = json.loads((here / "out" / "ensemble.json").read_text(encoding="utf-8"))
    assert kept["learnt"]["features"][-2:] == ["is bart0", "is bart1"]


@pytest.mark.e2e
def test_one_model_named_twice_is_one_and_is_passed_through(here: Path) -> None:
    code, found = told(here, str(here / "bart0"), str(here / "bart0"), "--strategy", "mbr", "--samples", "10")
    section = found["sections"]["ensemble"]
    assert (code, section["passthrough"], section["difference"]["mean"]) == (4, True, 0.0)
    assert "passed through unchanged, nothing was combined" in found["reasons"][0]
    assert "is the same model as" in " ".join(found["reasons"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["bart0", "--strategy", "wbf"], "--strategy wbf is for images; of texts: stacking, vote, mbr"),
        (["bart0", "--strategy", "mbr", "--weights", "1,2"], "--weights is for images"),
        (["bart0", "bart1", "--strategy", "stacking", "--samples", "5"], "20 are needed, 5 are there"),
        (["bart0", "none", "--strategy", "mbr"], "none: no such model or run folder"),
        (["bart0", "pairs.csv", "--strategy", "mbr"], "text models and others are no ensemble"),
    ],
)
def test_a_wrong_command_line_is_told(here: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str) -> None:
    monkeypatch.chdir(here)
    code, found = told(here, *args)
    assert (code, said in found["reasons"][0]) == (2, True), found["reasons"]


@pytest.mark.parametrize(
    ("apart", "status"), [("better", "pass"), ("worse", "fail"), ("not told apart", "inconclusive")]
)
def test_what_the_difference_says_is_the_verdict(apart: str, status: str) -> None:
    one = {"name": "a", "score": 0.4, "ms_per_sample": 10.0}
    found = {
        "systems": [one, {**one, "name": "b", "score": 0.3}],
        "ensemble": {"score": 0.45, "ms_per_sample": 25.0},
        "difference": {"mean": 0.05, "low": 0.01, "high": 0.09, "told": apart, "to": "a"},
        "samples": 50,
        "metric": "ROUGE-L (whitespace)",
        "passthrough": False,
        "notes": ["a note"],
    }
    report = ensemble.report_of(found, "ab", None)
    assert report.verdict.status == status
    assert "2.50 times what a takes alone" in report.verdict.reasons[1]
    few = ensemble.report_of({**found, "samples": 9}, "ab", None)
    assert few.verdict.status == "inconclusive" and "fewer than 10" in few.verdict.reasons[0]


def test_what_is_chosen_comes_from_the_candidates() -> None:
    rows = [["a b", "a b c d", "a b c"], ["p", "p q", "p"]]
    found = ensemble_text.chosen("", "whitespace", "vote", ["s", "t"], ["a b", "p"], rows, ["one", "two", "three"], 0)
    assert found["chosen"] == [2, 0]
    assert found["best"] == 0 and found["members"][0]["rouge1"] == 1.0
