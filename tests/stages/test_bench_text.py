"""`deploytk bench` of tiny text models, each batch size in its own process."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("transformers", reason="transformers is not installed")

from tiny_text import SAYINGS, tiny_text

from deploytk.cli.main import cli


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    tiny_text(folder / "bart")
    tiny_text(folder / "llama", "causal_lm")
    with (folder / "texts.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerows([["source", "q"], *([f"{text} {i}", "?"] for i in range(3) for text in SAYINGS)])
    return folder


def bench(here: Path, *args: str) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(cli, ["bench", *args, "--out", str(here / "out"), "--json"])
    return done.exit_code, json.loads(done.stdout.strip().splitlines()[-1])


@pytest.mark.e2e
def test_each_batch_size_has_reading_and_writing_apart_and_one_verdict(here: Path) -> None:
    args = (
        "--data",
        str(here / "texts.csv"),
        "--samples",
        "10",
        "--tokens",
        "4",
        "--budget",
        "20s",
        "--batches",
        "1,4",
    )
    code, told = bench(here, str(here / "bart"), *args, "--judged", "first-token")
    assert (code, told["verdict"]) == (0, "pass"), told["reasons"]
    assert told["reasons"][-1] == "Judged is the time to the first token."
    section = told["sections"]["text_bench"]
    for row, whole in zip(section["rows"], told["sections"]["bench"]["rows"], strict=True):
        assert whole["judged_ms"] == row["first_token_p95_ms"] <= whole["p95_ms"]
        assert row["first_token_p50_ms"] <= whole["p50_ms"]
    assert section["inputs"] == f"10 texts of {here / 'texts.csv'}, column source, in their order"
    assert [row["batch"] for row in section["rows"]] == [1, 4]
    for row, measured in zip(section["rows"], told["measurements"], strict=True):
        assert row["answer_tokens"] == 4
        assert row["first_token_p50_ms"] > 0 and 0 < row["per_token_p50_ms"] < row["decode_p50_ms"]
        assert row["load_s"] > 0 and row["peak_rss_mb"] > 50
        parts = [measured["parts_ms"][name] for name in ("first token", "decode", "text")]
        shares = [sum(times) / whole for *times, whole in zip(*parts, measured["samples_ms"], strict=True)]
        # The middle of them: a single call may be interrupted between its parts.
        assert median(shares) > 0.8 and max(shares) < 1.001, shares
    one, four = section["rows"]
    assert one["padding_share"] == 0 < four["padding_share"]
    assert four["tokens_per_second"] == pytest.approx(4 * four["samples_per_second"], rel=0.01)


@pytest.mark.e2e
def test_weights_that_are_no_numbers_are_a_failure_with_a_reason(here: Path) -> None:
    import torch
    from tiny_text import network

    from deploytk.text import description

    folder = here / "nan"
    tiny_text(folder)
    model = network("seq2seq")
    with torch.no_grad():
        model.model.decoder.layers[0].fc1.weight.fill_(float("nan"))
    model.save_pretrained(folder)
    description.write(folder, "seq2seq", "torch", "fp32", {"max_source": 64, "max_target": 8})
    code, told = bench(here, str(folder), "--data", str(here / "texts.csv"), "--tokens", "4")
    assert (code, told["verdict"]) == (3, "fail")
    assert "The scores of the first token hold NaN or infinity" in " ".join(told["reasons"])


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["bart"], "no texts to answer; give --data FILE"),
        (["bart", "--data", "none.csv"], "none.csv: no such file"),
        (["bart", "--data", "texts.csv", "--source-column", "sorce"], "did you mean 'source'?"),
        (["bart", "llama", "--data", "texts.csv"], "several models: add --compare"),
        (["bart", "llama", "--data", "texts.csv", "--compare"], "--compare of text models needs --tokens N"),
        (["bart", "--data", "texts.csv", "--images", "."], "--images is not for a text model"),
        (["bart", "--data", "texts.csv", "--option", "a=b"], "--option is not for a text model"),
        (["bart", "--data", "texts.csv", "--soak", "1m"], "--scenario and --soak are not for text models"),
        (["bart", "--data", "texts.csv", "--samples", "texts.csv"], "--samples of a text model is a number"),
        (["bart", "texts.csv"], "text models and others are not measured together"),
        (["texts.csv", "--tokens", "4"], "--tokens is for text models; this is none"),
        (["texts.csv", "--samples", "4"], "--samples N is for text models"),
    ],
)
def test_a_wrong_command_line_is_told_and_nothing_written(
    here: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str
) -> None:
    monkeypatch.chdir(here)
    done = CliRunner().invoke(cli, ["bench", *args, "--out", "wrong", "--json"])
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert (done.exit_code, said in " ".join(told["reasons"])) == (2, True), told["reasons"]
    assert not (here / "wrong").exists()
