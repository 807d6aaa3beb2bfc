"""Writes bench/results/bccd.{json,md}: the README's table, with the sha256 of every file a number was measured on.

python bench/suites/bccd/results.py runs/bccd-silu runs/bccd-relu runs/bccd-leaky
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from deploytk.report.loading import report_in
from deploytk.stages.compare import compare, markdown

RESULTS = Path(__file__).parents[2] / "results"
_NPU = (
    "accelerator",
    "system_config",
    "memory_mode",
    "vela_version",
    "ethos_score",
    "cycles",
    "twin_cycles",
    "sram_kib",
)


def told(run: Path) -> dict[str, Any]:
    """What one run measured and on which files; no paths."""
    report = report_in(run)
    chain = [{"file": Path(a["path"]).name, "sha256": a["sha256"], "metrics": a["metrics"]} for a in report["chain"]]
    return {
        "run": run.name,
        "verdict": report["verdict"],
        "reasons": report["reasons"],
        "chain": chain,
        "npu (estimated)": {key: report["sections"]["npu"][key] for key in _NPU},
        "bench": report["sections"]["bench"]["rows"],
        "machine": report["machine"],
        "versions": report["versions"],
    }


def main() -> None:
    """Write both files for the run folders on the command line."""
    runs = [Path(name) for name in sys.argv[1:]]
    section = compare(runs).sections["compare"]
    (RESULTS / "bccd.md").write_text(markdown(section["rows"], section["columns"]), encoding="utf-8")
    (RESULTS / "bccd.json").write_text(json.dumps([told(run) for run in runs], indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
