"""A matrix of real detectors, small: killed in the middle, run again, it ends with the table of an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deploytk.report.content_matrix import matrix_block
from deploytk.report.loading import report_from

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

SMALL = ("--epochs", "1", "--imgsz", "64", "--batch", "8", "--device", "cpu")
AXES = ("--matrix", "level=2,4", "activation=relu")


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "deploytk.cli.main", *map(str, args)]


def trained(data: Path, out: Path) -> dict[str, Any]:
    argv = command("train", "npu-silu", "--data", data, *SMALL, *AXES, "--out", out, "--json")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    # One epoch on 16 drawn images learns nothing, and must not be called a pass.
    assert done.returncode == 4, done.stdout[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def results(told: dict[str, Any]) -> Any:
    return matrix_block(report_from(told))[0].tables[0]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "data"
    subprocess.run(command("demo-data", out, "--train", "16", "--val", "8", "--imgsz", "96"), check=True)
    return out / "data.yaml"


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trained(data, tmp_path_factory.mktemp("whole") / "out")


def test_each_variant_is_audited(whole: dict[str, Any]) -> None:
    two, four = whole["sections"]["matrix"]["rows"]
    assert (two["variant"], four["variant"]) == ("npu-silu-level2-relu", "npu-silu-level4-relu")
    assert {section: list(kinds) for section, kinds in two["activations"].items()} == {
        "backbone": ["relu"], "neck": ["silu"], "head": ["silu"],
    }  # fmt: skip
    assert {kind for kinds in four["activations"].values() for kind in kinds} == {"relu"}
    assert two["weights_sha256"] != four["weights_sha256"]


def test_killed_in_the_second_and_run_again_it_gives_the_same_table(
    whole: dict[str, Any], data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    argv = command("train", "npu-silu", "--data", data, *SMALL, *AXES, "--out", out)
    running = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not list(out.glob("npu-silu-level4-relu/logs/train*.log")):
            assert running.poll() is None
            time.sleep(0.05)
        time.sleep(2)  # somewhere within it
        os.kill(running.pid, signal.SIGKILL)
    finally:
        running.kill()
        running.wait()
    first = (out / "npu-silu-level2-relu" / "model.pt").stat().st_mtime_ns
    assert results(trained(data, out)) == results(whole)
    assert (out / "npu-silu-level2-relu" / "model.pt").stat().st_mtime_ns == first
