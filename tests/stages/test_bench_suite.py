"""Suites: strict files, one table, and what cannot be run is a row that fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_onnx

from deploytk.errors import EXIT_OVER_BUDGET, EXIT_PASS, InputError
from deploytk.stages import bench_point, bench_suite


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "s.yaml"
    path.write_text(text)
    return str(path)


def test_every_model_on_every_runtime_is_in_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_point, "ROUND_S", 0.0)
    a, b = tiny_onnx.conv(tmp_path / "a.onnx"), tiny_onnx.conv(tmp_path / "b.onnx", batch=1)
    wanted = bench_suite.load(
        written(
            tmp_path,
            f"title: two\nbudget: {{latency_ms: 60000, percentile: 50}}\nbatches: 1,2\n"
            f"entries: [{{model: {a}, runtimes: [onnx]}}, {{model: {b}}}]\n",
        )
    )
    said: list[str] = []
    report = bench_suite.suite(wanted, tmp_path / "out", say=said.append)
    assert [(r["artifact"], r["runtime"], r["batch"]) for r in report.sections["bench"]["rows"]] == [
        ("a.onnx", "onnx", 1),
        ("a.onnx", "onnx", 2),
        ("b.onnx", "onnx", 1),
        ("b.onnx", "onnx", 2),
    ]
    assert report.exit_code == EXIT_PASS
    assert said == ["bench a.onnx onnx", "bench b.onnx"]
    assert len({m.artifact_sha256 for m in report.measurements}) == 2


def test_an_entry_that_cannot_be_run_fails_the_suite_and_the_others_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_point, "ROUND_S", 0.0)
    a = tiny_onnx.conv(tmp_path / "a.onnx")
    entries = f"[{{model: {tmp_path / 'nowhere.onnx'}}}, {{model: {a}}}]"
    text = f"title: t\nbudget: {{latency_ms: 60000, percentile: 50}}\nentries: {entries}\n"
    report = bench_suite.suite(bench_suite.load(written(tmp_path, text)), tmp_path / "out", say=lambda _: None)
    assert report.exit_code == EXIT_OVER_BUDGET
    assert [r["verdict"] for r in report.sections["bench"]["rows"]] == ["pass"]
    assert "nowhere.onnx: could not be measured" in report.verdict.reasons[-1]
    assert report.findings[0].rule == "BEN002"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: t\nentires: []\n", r"s\.yaml:2: unknown key entires; did you mean 'entries'\?"),
        ("title: t\nentries: [{model: a.onnx, runtime: onnx}]\n", "did you mean 'runtimes'"),
        ("title: t\nentries: []\n", "entries: Tuple should have at least 1 item"),
        ("title: t\nbatches: 64..1\nentries: [{model: a.onnx}]\n", "the range runs backwards"),
        ("title: [\n", "no readable YAML"),
    ],
)
def test_a_wrong_suite_is_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        bench_suite.load(written(tmp_path, text))


def test_a_suite_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="there is no suite 'nothing'"):
        bench_suite.load("nothing")
