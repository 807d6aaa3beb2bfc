"""`deploytk bench` on the command line: durations, batches, exit codes, one JSON document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest
import tiny_onnx
from click.testing import CliRunner, Result

from deploytk.cli.bench import bench
from deploytk.cli.main import cli
from deploytk.cli.options import milliseconds
from deploytk.stages import bench_point


def read(text: str) -> float:
    return milliseconds(click.Context(bench), bench.params[0], text)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("50ms", 50), ("0.05s", 50), ("50", 50), (" 2.5 MS ", 2.5), (".5s", 500), ("800us", 0.8), ("1e3", None)],
)
def test_a_budget_is_read_in_the_units_people_write(text: str, ms: float | None) -> None:
    if ms is None:
        with pytest.raises(click.BadParameter, match="write 50ms"):
            read(text)
    else:
        assert read(text) == pytest.approx(ms)


@pytest.mark.parametrize("text", ["", "fast", "50 minutes", "-5ms", "0", "0ms", "5,0ms", "nan", "inf"])
def test_what_is_no_budget_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        read(text)


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, ["bench", *args])


def last_json(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return document


def test_a_verdict_is_the_exit_code_and_the_last_line_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_point, "ROUND_S", 0.0)
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    out = tmp_path / "out"
    passed = run(str(path), "--batches", "1,2", "--budget", "600s", "--json", "--out", str(out))
    assert passed.exit_code == 0, passed.output
    document = last_json(passed)
    assert document["verdict"] == "pass"
    assert len(document["artifact"]["sha256"]) == 64
    assert {"report.json", "report.md", "report.html"} <= {p.name for p in out.iterdir()}
    failed = run(str(path), "--batches", "1", "--budget", "0.001us", "--json", "--out", str(out))
    assert (failed.exit_code, last_json(failed)["exit_code"]) == (3, 3)


@pytest.mark.parametrize("option", [["--batches", "64..1"], ["--budget", "soon"], ["--percentile", "100"]])
def test_a_wrong_option_is_exit_2_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    assert run(str(path), *option).exit_code == 2
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_model_is_one_sentence_and_exit_2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("nowhere.onnx", "--json")
    assert result.exit_code == 2
    assert "no such file" in last_json(result)["reasons"][0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.e2e
def test_every_bad_model_is_refused_with_exit_2_and_writes_nothing(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = [p for p in (data_dir / "bad").rglob("*") if p.is_file() and p.suffix not in (".txt", ".md")]
    bad += list((data_dir / "coral" / "invalid_models").glob("*.tflite"))
    assert bad
    for path in bad:
        result = run(str(path), "--batches", "1", "--time-limit", "20")
        assert result.exit_code == 2, f"{path}: {result.output}"
        assert "Traceback" not in result.output
        assert list(tmp_path.iterdir()) == [], path
