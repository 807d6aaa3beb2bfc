"""`deploytk report diff` from the command line: exit codes, one JSON document, one sentence for wrong input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploytk.budget import Budget, Verdict
from deploytk.measurement import Machine, Measurement
from deploytk.report import Report
from deploytk.report.render import write

MACHINE = Machine(cpu="Some CPU", cores=2, memory_gib=8, system="Linux", python="3.11")


def deploytk(*args: str | Path) -> tuple[int, dict[str, Any], str]:
    argv = [sys.executable, "-m", "deploytk.cli.main", "report", *map(str, args), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, json.loads(done.stdout.strip().splitlines()[-1]), done.stderr


def run(folder: Path, ms: float, machine: Machine = MACHINE) -> Path:
    """A run folder with one measurement of 60 blocks."""
    samples = tuple(ms * (1 + 0.002 * ((7 * n) % 11)) for n in range(300))
    measured = Measurement(artifact_sha256="a" * 64, runtime="onnx", batch=1, samples_ms=samples, blocks=(5,) * 60)
    told = Verdict(status="pass")
    write(
        Report(
            command="bench",
            title="m.onnx",
            verdict=told,
            exit_code=0,
            measurements=(measured,),
            machine=machine,
            budget=Budget(),
            versions={"onnxruntime": "1"},
            sections={"bench": {"rows": []}},
        ),
        folder,
    )
    return folder


@pytest.mark.parametrize(("ms", "code", "verdict"), [(10.0, 0, "pass"), (11.5, 3, "fail"), (8.0, 0, "pass")])
def test_exit_code_and_verdict_say_whether_something_is_slower(
    tmp_path: Path, ms: float, code: int, verdict: str
) -> None:
    told = deploytk("diff", run(tmp_path / "old", 10.0), run(tmp_path / "new", ms))
    assert (told[0], told[1]["exit_code"], told[1]["verdict"]) == (code, code, verdict)
    assert told[1]["sections"]["diff"]["rows"][0]["ratio"] == pytest.approx(ms / 10)


def test_people_get_a_table_with_the_word(tmp_path: Path) -> None:
    old, new = run(tmp_path / "old", 10.0), run(tmp_path / "new", 12.0)
    argv = [sys.executable, "-m", "deploytk.cli.main", "report", "diff", str(old), str(new)]
    told = subprocess.run(argv, capture_output=True, text=True, check=False).stdout
    assert "slower" in told
    assert "1.200" in told
    assert "exit code 3" in told


def test_another_machine_is_exit_2_and_one_sentence_and_force_compares(tmp_path: Path) -> None:
    old = run(tmp_path / "old", 10.0)
    new = run(tmp_path / "new", 10.0, Machine(cpu="Other", cores=2, memory_gib=8, system="Linux", python="3.11"))
    code, told, _ = deploytk("diff", old, new)
    assert code == 2
    assert "the processor (Some CPU then Other)" in told["reasons"][0]
    assert deploytk("diff", old, new, "--force")[0] == 0


@pytest.mark.parametrize(("tolerance", "said"), [("5", "did you mean 5%?"), ("much", "write 5% or 0.05")])
def test_a_wrong_tolerance_says_how_to_write_it(tmp_path: Path, tolerance: str, said: str) -> None:
    code, told, _ = deploytk("diff", tmp_path, tmp_path, "--tolerance", tolerance)
    assert code == 2
    assert said in told["reasons"][0]


def test_a_missing_report_is_exit_2(tmp_path: Path) -> None:
    code, told, errors = deploytk("diff", tmp_path / "nowhere", tmp_path)
    assert code == 2
    assert "no report here" in told["reasons"][0]
    assert "Traceback" not in errors
