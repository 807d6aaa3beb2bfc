"""The files of a report: whole, self-contained, honest about what was estimated, and safe to open."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_fakes import artifact, broken, full, measured, sections

from deploytk.budget import Budget, Verdict
from deploytk.measurement import Measurement
from deploytk.report import Finding, Report
from deploytk.report.loading import report_from
from deploytk.report.markdown import escaped
from deploytk.report.render import as_json, write

EVIL = "<script>alert('x')</script> & | [a](javascript:x) `b`"


def bare(**changes: object) -> Report:
    """A report with nothing but a verdict."""
    values = {"command": "bench", "verdict": Verdict(status="inconclusive", reasons=("Too little.",)), "exit_code": 4}
    return Report(**{**values, **changes})  # type: ignore[arg-type]


class Page(HTMLParser):
    """The tags, attributes and visible text of a page."""

    def __init__(self, told: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside = ""
        self.feed(told)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("style", "script"):
            self.text += data


def page(report: Report, tmp_path: Path) -> Page:
    return Page(write(report, tmp_path)["html"].read_text(encoding="utf-8"))


def test_three_files_are_written_and_nothing_else(tmp_path: Path) -> None:
    paths = write(full(), tmp_path / "new")
    assert {kind: path.name for kind, path in paths.items()} == {
        "json": "report.json",
        "md": "report.md",
        "html": "report.html",
    }
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["report.html", "report.json", "report.md"]


def test_the_json_reads_back_as_the_same_report() -> None:
    assert report_from(json.loads(as_json(full()))).measurements == full().measurements


def test_samples_stand_on_one_line_of_the_json() -> None:
    told = as_json(full())
    line = next(row for row in told.splitlines() if '"samples_ms"' in row)
    assert line.count(",") > 100


def test_nan_becomes_null_in_the_json() -> None:
    told = json.loads(as_json(bare(sections={"x": {"a": math.nan, "b": [1.0, math.inf]}})))
    assert told["sections"]["x"] == {"a": None, "b": [1.0, None]}


def test_the_page_loads_nothing_from_anywhere(tmp_path: Path) -> None:
    told = write(full(), tmp_path)["html"].read_text(encoding="utf-8")
    for tag, attributes in Page(told).tags:
        assert tag not in ("link", "img", "iframe", "object", "base")
        for name in ("src", "href", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert not re.search(r"url\((?!#)|@import", told)


def test_the_same_report_gives_the_same_page(tmp_path: Path) -> None:
    first = write(full(), tmp_path / "a")["html"].read_text(encoding="utf-8")
    assert write(full(), tmp_path / "b")["html"].read_text(encoding="utf-8") == first


def test_the_verdict_comes_before_everything_else(tmp_path: Path) -> None:
    failed = full(verdict=Verdict(status="fail", reasons=("No batch size is within the budget.",)), exit_code=3)
    told = page(failed, tmp_path).text
    assert told.index("fail") < told.index("No batch size is within the budget.") < told.index("Budget")
    assert "over budget" in told
    assert (tmp_path / "report.md").read_text(encoding="utf-8").startswith("# FAIL: quickstart")


def test_what_comes_from_files_is_escaped(tmp_path: Path) -> None:
    finding = Finding(rule="X001", severity="error", where=EVIL, message=EVIL, fix=EVIL)
    report = bare(
        title=EVIL,
        verdict=Verdict(status="fail", reasons=(EVIL,) * 9),
        findings=(finding,),
        artifact=artifact(EVIL, EVIL, "a", made_by=EVIL),
        versions={EVIL: EVIL},
        sections={EVIL: {EVIL: EVIL}, "train": {"epochs": [{"loss" + EVIL: 1.0}, {"loss" + EVIL: 2.0}]}},
        measurements=(replace(measured("a", 1, 2.0), command=EVIL, log=EVIL, runtime=EVIL),),
    )
    seen = page(report, tmp_path)
    assert [tag for tag, _ in seen.tags].count("script") == 1  # our own
    assert EVIL in seen.text
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in re.sub("`[^`\n]*`", "", markdown)  # a code span shows it as it is


def test_markdown_cells_cannot_break_out_of_their_table() -> None:
    assert "|" not in escaped("a|b").replace("\\|", "")
    assert "\n" not in escaped("a\nb")


@pytest.mark.parametrize("report", [bare(), bare(sections={"npu": {}, "contract": {}, "parity": [], "bench": {}})])
def test_a_report_with_nothing_in_it_is_still_a_page(report: Report, tmp_path: Path) -> None:
    told = page(report, tmp_path).text
    assert "inconclusive" in told
    assert "Latency by batch size" not in told
    assert "NPU placement" not in told


def test_unknown_sections_are_shown(tmp_path: Path) -> None:
    odd = {
        "weather": {"wind": {"gust": {"speed": 3.5}}, "days": [{"day": "Mon", "rain": True}]},
        "note": "by hand",
        "n": [1, 2],
    }
    told = page(bare(sections=odd), tmp_path).text
    for part in ("weather", "wind", "gust.speed", "3.50", "Mon", "yes", "by hand", "1, 2"):
        assert part in told


def test_estimates_are_marked_wherever_they_stand(tmp_path: Path) -> None:
    seen = page(full(), tmp_path)
    assert "4.21 est." in seen.text
    assert "model_int8_vela.tflite (estimated)" in seen.text  # in the figure
    assert "NPU placement on ethos-u55-256 (estimated)" in seen.text


def test_no_time_is_shown_while_operators_are_on_the_cpu(tmp_path: Path) -> None:
    told = page(full(sections=sections(cpu=25), measurements=()), tmp_path).text
    assert "No time is quoted" in told
    assert "unknown while operators are on the CPU" in told
    assert "float32 is not a supported type" in told
    assert "4.21 ms" not in told.split("NPU placement")[-1]


def test_a_crash_is_a_row_with_its_reason(tmp_path: Path) -> None:
    told = page(full(), tmp_path).text
    assert "crash" in told
    assert "The process died of SIGSEGV" in told


def test_only_failures_give_a_table_and_no_figures(tmp_path: Path) -> None:
    points = (broken("b", 1, "oom", "killed"), broken("b", 2, "not_run", "not run: batch 1 ran out of memory"))
    seen = page(bare(measurements=points), tmp_path)
    assert "killed" in seen.text
    assert "svg" not in [tag for tag, _ in seen.tags]


def test_every_sha256_can_be_read_in_full(tmp_path: Path) -> None:
    seen = page(full(), tmp_path)
    copied = {attributes.get("data-copy") for _, attributes in seen.tags}
    markdown = (tmp_path / "report.md").read_text(encoding="utf-8")
    for one in full().chain:
        assert one.sha256 in copied
        assert one.sha256 in markdown


def test_a_flat_contract_is_read_too(tmp_path: Path) -> None:
    told = page(bare(sections={"contract": {"backbone": {"relu": 27}, "head": {"silu": 3}}}), tmp_path).text
    assert "relu ×27" in told
    assert "silu ×3" in told


def test_rows_without_measurements_are_enough_for_the_table(tmp_path: Path) -> None:
    rows = [{"batch": 4, "verdict": "fail", "status": "ok", "p95_ms": 61.25, "artifact": "m.onnx", "n": 90}]
    told = page(bare(sections={"bench": {"rows": rows}}, budget=Budget()), tmp_path).text
    assert "61.25" in told


def test_budget_per_item_is_said_and_drawn_per_item(tmp_path: Path) -> None:
    told = page(full(budget=Budget(latency_ms=5, per="item")), tmp_path).text
    assert "for each item of a batch" in told
    assert "ms per item" in told


def test_zero_and_single_samples_do_not_break_the_figures(tmp_path: Path) -> None:
    one = Measurement(artifact_sha256="b" * 64, runtime="onnx", batch=1, samples_ms=(3.0,))
    assert "3.00" in page(bare(measurements=(one,)), tmp_path).text


def test_comparison_stands_first(tmp_path: Path) -> None:
    rows = [{"run": "silu", "mAP50": 0.81, "p95": 12.0}, {"run": "relu", "mAP50": None, "p95": "crash"}]
    told = page(bare(sections={"compare": {"columns": ["run", "mAP50", "p95"], "rows": rows}}), tmp_path).text
    assert "Comparison" in told
    assert "crash" in told
