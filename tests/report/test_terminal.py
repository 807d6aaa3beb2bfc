"""The terminal form: what people ask first, as it is, and nothing heavy imported for it."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from report_fakes import full, measured, sections
from rich.console import Console

from deploytk.budget import Verdict
from deploytk.measurement import Measurement
from deploytk.report import Finding, Report
from deploytk.report.terminal import show


def shown(report: Report, width: int = 140) -> str:
    out = io.StringIO()
    show(report, Console(file=out, width=width))
    return out.getvalue()


def test_the_verdict_and_its_reasons_stand_last() -> None:
    told = shown(full())
    assert told.index("Ethos score") < told.index("PASS quickstart: exit code 0")
    assert told.rstrip().endswith("under 20 ms.")


@pytest.mark.parametrize(
    "part", ["p95 ms", "4.21 est.", "crash", "relu ×27", "57 LEAKY_RELU to RELU", "ACT001", "cccccccccccc", "0.801"]
)
def test_the_tables_that_people_ask_for_are_there(part: str) -> None:
    assert part in shown(full())


def test_a_narrow_terminal_keeps_the_verdicts_and_the_judged_percentile() -> None:
    told = shown(full(), width=80)
    table = told[told.index("Latency by batch size") : told.index("NPU placement")]
    assert "verdict" in table
    assert "inconclusive" in table
    assert "35.68" in table
    assert "p90" not in table
    assert "cccccccccccc" in told


def test_what_the_clock_holds_stands_above_the_latencies() -> None:
    told = shown(full(), width=80)
    assert told.index("Latency by batch size") < told.index("The clock holds") < told.index("p95 ms")


def test_the_parts_of_an_end_to_end_call_are_a_line_of_a_table() -> None:
    told = shown(
        Report(command="bench", verdict=Verdict(status="pass"), exit_code=0, measurements=(split(),)), width=80
    )
    line = next(row for row in told[told.index("Where the time goes") :].splitlines() if "7.49" in row)
    assert line.split() == ["1", "0.23", "7.49"]


def split() -> Measurement:
    return measured("b", 1, 8.0, parts_ms={"decode": (0.23,) * 4, "infer": (7.49,) * 4})


def test_a_finding_is_a_paragraph_with_what_to_do_below() -> None:
    message = " ".join(f"word{n}" for n in range(40))
    finding = Finding(rule="BEN001", severity="warning", where="bench", message=message, fix="repeat it")
    told = shown(Report(command="bench", verdict=Verdict(status="pass"), exit_code=0, findings=(finding,)), width=80)
    lines = [line.rstrip() for line in told[told.index("Findings") :].splitlines()]
    assert lines[1].startswith("  • warning BEN001 bench: word0 word1")
    assert len(lines[1]) > 70  # the whole width, not a column of it
    assert lines[2].startswith("    word")
    assert "    what to do: repeat it" in lines


def test_operators_on_the_cpu_are_counted_by_reason() -> None:
    told = shown(full(sections=sections(cpu=25)))
    line = next(row for row in told.splitlines() if "LEAKY_RELU" in row and "float32" in row)
    assert "25" in line
    assert told.count("float32 is not a supported type") == 1


def test_markup_in_a_file_is_shown_as_it_is() -> None:
    finding = Finding(rule="X", severity="error", where="[bold]a[/bold]", message="[/nonsense]")
    told = shown(Report(command="check", verdict=Verdict(status="fail"), exit_code=5, findings=(finding,)))
    assert "[bold]a[/bold]" in told
    assert "[/nonsense]" in told


def test_many_reasons_are_counted() -> None:
    reasons = tuple(f"reason {n}" for n in range(12))
    told = shown(Report(command="bench", verdict=Verdict(status="fail", reasons=reasons), exit_code=3))
    assert "and 4 more" in told
    assert "reason 11" not in told


def test_matplotlib_is_not_imported_for_it() -> None:
    code = "import sys, deploytk.report.terminal; print([m for m in ('matplotlib', 'jinja2') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
