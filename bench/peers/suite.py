"""A shipped suite as `deploytk bench --suite` runs it, its table kept.

python bench/peers/suite.py [--suite cpu]        # writes bench/results/suite.{json,md} and runs/bench-suite-NAME
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results import keep, parser

from deploytk.report import Report, render
from deploytk.stages import bench_suite

#: What a row of the suite is called in the table here, and to how many digits it is told.
COLUMNS = {
    "artifact": "model",
    "runtime": "runtime",
    "precision": "computes in",
    "batch": "batch",
    "p50_ms": "p50 ms",
    "p95_ms": "p95 ms",
    "items_per_second": "items/s",
    "peak_rss_mb": "peak MB",
    "verdict": "verdict",
}


def rows(report: Report) -> list[dict[str, Any]]:
    """A row for each measured batch size of each model on each runtime; a batch size never tried has none."""
    told: list[Mapping[str, Any]] = report.sections["bench"]["rows"]
    tried = [row for row in told if row["status"] != "not_run"]
    return [{title: row.get(name) for name, title in COLUMNS.items()} for row in tried]


def main() -> None:
    """Bench the suite, write its report, keep the table."""
    asked = parser("A shipped suite, its table kept.", "suite")
    asked.add_argument("--suite", default="cpu", help="its name, or a YAML file")
    asked.add_argument("--runs", type=Path, default=Path("runs"), help="folder for the report and the logs")
    given = asked.parse_args()
    wanted = bench_suite.load(given.suite)
    folder = (given.runs / f"bench-suite-{Path(given.suite).stem}").absolute()
    report = bench_suite.suite(wanted, folder, say=print)
    render.write(report, folder)
    verdicts = [told["verdict"] for told in report.sections["bench"]["verdicts"]]
    failed = [f"{finding.where}: {finding.message}" for finding in report.findings if finding.severity == "error"]
    keep(
        given.out,
        "suite",
        sentence=f"{verdicts.count('pass')} of {len(verdicts)} pairs of model and runtime have a batch size whose "
        f"p{wanted.budget.percentile:g} is within {wanted.budget.latency_ms:g} ms."
        + "".join(f" Not measured: {told}." for told in failed),
        how=f"`deploytk bench --suite {given.suite}`: {wanted.title}; batch sizes {wanted.batches}, threads "
        f"{wanted.threads}, at most {wanted.time_limit_s:g} s for each model on each runtime.",
        rows=rows(report),
        versions=report.versions,
        failed=failed,
    )


if __name__ == "__main__":
    main()
