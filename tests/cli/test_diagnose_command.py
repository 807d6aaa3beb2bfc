"""`deploytk diagnose` at the command line: exit codes, the next command, JSON on the last line, no torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEADER = "epoch,train/loss,metrics/accuracy_top1,metrics/accuracy_top5,val/loss,lr/pg0\n"
FELL = [0.2, 0.45, 0.6, 0.7, 0.75, 0.78, 0.79, 0.3, 0.01, 0.01, 0.01]


def deploytk(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "deploytk.cli.main", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_collapse_is_exit_7_and_the_next_command_is_said(tmp_path: Path) -> None:
    rows = "".join(f"{i},{1 / i:.3g},{v},1,{1 / i:.3g},0.01\n" for i, v in enumerate(FELL, start=1))
    (tmp_path / "results.csv").write_text(HEADER + rows)
    (tmp_path / "args.yaml").write_text("optimizer: AdamW\nlr0: 0.01\n")
    done = deploytk("diagnose", str(tmp_path / "results.csv"), "--patch", str(tmp_path / "next.yaml"))
    assert done.returncode == 7
    assert "collapsed: top1 fell from 0.79 (epoch 7) to 0.01" in " ".join(done.stdout.split())
    assert f"Next: deploytk train {tmp_path / 'next.yaml'}" in done.stderr
    assert (tmp_path / "next.yaml").is_file()
    for heavy in ("torch", "polars", "ultralytics", "matplotlib"):
        assert not any(line.endswith(f"| {heavy}") for line in done.stderr.splitlines())


def test_what_is_no_log_is_exit_2_in_json_too(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear all,\n")
    done = deploytk("diagnose", str(tmp_path / "letter.txt"), "--json")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert (done.returncode, told["verdict"], told["exit_code"]) == (2, "fail", 2)
    assert "letter.txt: no log of a training" in told["reasons"][0]
