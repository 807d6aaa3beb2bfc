"""Several text models by one command, two of them sound and the others each wrong in their own way."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("transformers", reason="transformers is not installed")

from deploytk.cli.main import cli
from deploytk.stages.export_text import export
from deploytk.stages.run_folder import RunFolder
from deploytk.text import generating

pytestmark = pytest.mark.e2e

_COMMON = """
text:
  tiny: true
  {text}
  max_source: 16
  max_target: 8
  score: 4
train: {{epochs: {epochs}, batch: 8, lr0: 0.02, optimizer: AdamW, device: cpu, precision: {precision}}}
limits: {{load_s: {load_s}}}
export: {{target: {target}, precision: {exported}}}
bench: {{batches: "1", tokens: 4, samples: 8, judged: token, time_limit_s: 60}}
budget: {{latency_ms: 60000}}
"""
_BART = "config: {model_type: bart, d_model: 64, encoder_layers: 2, decoder_layers: 2}"
_LLAMA = "config: {model_type: llama, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 4}"
#: A table of positions of 16 TB: no machine has it.
_HUGE = "config: {model_type: t5, d_model: 64, num_layers: 2, relative_attention_num_buckets: 1000000000000}"


def profile(folder: Path, name: str, backend: str, text: str, **settings: Any) -> str:
    values = {"epochs": 3, "precision": "fp32", "target": "onnx", "exported": "int8", "load_s": 900, **settings}
    head = f"schema: 1\nname: {name}\nbackend: {backend}\n"
    path = folder / f"{name}.yaml"
    path.write_text(head + _COMMON.format(text=text, **values), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("several")
    words, draw = ["red", "blue", "green", "small", "large"], random.Random(0)
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [[f"{a} {b} {i}", f"{b} {a}"] for i in range(60) for a, b in [draw.sample(words, 2)]]
        csv.writer(file).writerows([["source", "target"], *rows])
    profiles = [
        profile(folder, "sound", "seq2seq", _BART),
        "no-such-model",
        profile(folder, "scaled", "seq2seq", f"dtype: bfloat16\n  {_BART}", precision="fp16"),
        profile(folder, "hanging", "seq2seq", _BART, load_s=0.5),
        profile(folder, "huge", "seq2seq", _HUGE),
        profile(folder, "other", "causal_lm", _LLAMA, target="openvino", exported="fp32"),
    ]
    args = ["run", *profiles, "--data", str(folder / "pairs.csv"), "--ensemble", "mbr", "--out", str(folder / "out")]
    done = CliRunner().invoke(cli, [*args, "--json"])
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found | {"code": done.exit_code, "out": folder / "out", "stderr": done.stderr}


def row(told: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in told["sections"]["several"]["rows"] if row["name"] == name)


@pytest.mark.parametrize("name", ["sound", "other"])
def test_the_sound_ones_come_to_the_end_before_and_after_the_others(told: dict[str, Any], name: str) -> None:
    found = row(told, name)
    assert (found["stage"], found["verdict"]) == ("done", "pass"), found["reason"]
    assert found["exports"]["fp32"]["identical"] >= 0.98
    assert found["bench"]["per_token_p50_ms"] > 0
    made = "onnx/int8" if name == "sound" else "openvino/fp32"
    assert (told["out"] / name / "export" / made / "text.json").is_file()


def test_an_export_is_smaller_answers_the_same_and_is_not_made_twice(told: dict[str, Any]) -> None:
    run = RunFolder(told["out"] / "sound")
    rows = row(told, "sound")["exports"]
    assert rows["int8"]["sizes"]["of_float"] < 0.6
    assert rows["fp32"]["apart"] < 1e-3 < rows["int8"]["apart"] < 0.5
    answers = [
        generating.opened(run.path / part).generate(["red blue 3"]).texts for part in ("model", "export/onnx/fp32")
    ]
    assert answers[0] == answers[1]
    wanted = run.profile()
    fp32 = wanted.model_copy(update={"export": wanted.export.model_copy(update={"precision": "fp32"})})
    assert export(run, fp32).sections["skipped"] == {"text fp32": True}


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("no-such-model", "profile", "no-such-model"),
        ("scaled", "precision", "fp16 scales the loss, and the trainable parameters are bfloat16"),
        ("hanging", "timeout", "0.5 s"),
        ("huge", "memory", "batch 8 of 16 tokens is estimated to need"),
    ],
)
def test_what_went_wrong_with_one_is_its_row(told: dict[str, Any], name: str, kind: str, said: str) -> None:
    found = row(told, name)
    assert (found["stage"], found["why"], found["verdict"]) == ("train", kind, "fail")
    assert said in found["reason"]
    assert (told["out"] / "errors" / f"{name}.log").is_file()


def test_the_report_counts_them_and_combines_the_others(told: dict[str, Any]) -> None:
    assert told["reasons"][0] == "2 of 6 models were trained, exported and benched"
    assert told["code"] == 7  # the training that hung
    assert len(told["sections"]["ensemble"]["systems"]) == 2
    assert (told["out"] / "report.html").is_file()
