"""The reports of several runs side by side, from their report.json alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk.budget import Status, Verdict
from deploytk.errors import EXIT_INPUT, InputError
from deploytk.report import Finding, Report
from deploytk.report.loading import report_in
from deploytk.stages.twins import same_metrics

#: Of detectors, then of classifiers; of each the one that decides comes first.
METRICS = ("mAP50", "mAP50_95", "top1", "top5")


def compare(runs: list[Path]) -> Report:
    """One report whose section "compare" has a row for each run folder.

    Raises:
        InputError: a folder has no report.
    """
    told = [report_in(run) for run in runs]
    rows = [_row(run, report) for run, report in zip(runs, told, strict=True)]
    twins = same_metrics((row["run"], tuple(row[f"{m} float"] for m in METRICS)) for row in rows)
    findings = [*twins, *_mixed(told)]
    reasons = tuple(f"{r['run']}: {r['verdict']}" for r in rows)
    code = max((report["exit_code"] for report in told), default=EXIT_INPUT)
    verdicts = {row["verdict"] for row in rows}
    status: Status = "fail" if "fail" in verdicts else "inconclusive" if "inconclusive" in verdicts else "pass"
    if not rows:
        raise InputError("compare needs at least one run folder")
    return Report(
        command="compare",
        title="comparison",
        verdict=Verdict(status=status, reasons=reasons),
        exit_code=code,
        findings=tuple(findings),
        sections={"compare": {"columns": _columns(rows), "rows": rows}},
    )


def _row(run: Path, report: dict[str, Any]) -> dict[str, Any]:
    npu = report["sections"].get("npu", {})
    row: dict[str, Any] = {"run": run.name, "profile": report["title"], "verdict": report["verdict"]}
    row |= {
        f"{m} {where}": _metric(report, end, m)
        for m in METRICS
        for where, end in (("float", ".pt"), ("INT8", "int8.tflite"))
    }
    both = ((row[f"{m} float"], row[f"{m} INT8"]) for m in METRICS)
    row["INT8 drop"] = next((before - after for before, after in both if None not in (before, after)), None)
    row["Ethos score"] = npu.get("ethos_score")
    row["Mcycles (est.)"] = npu["cycles"] / 1e6 if npu.get("cycles") else None
    row["NPU ms (est.)"] = npu.get("time_ms")
    for point in report["sections"].get("bench", {}).get("rows", ()):
        if point["artifact"] == "model.onnx":
            row[f"CPU p95 ms @{point['batch']}"] = point["p95_ms"] if point["status"] == "ok" else point["status"]
    return row


def _metric(report: dict[str, Any], end: str, metric: str) -> float | None:
    return next((a["metrics"].get(metric) for a in report["chain"] if a["path"].endswith(end)), None)


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    """Every key, once; of detectors' and of classifiers' metrics those that one of the runs has."""
    keys = dict.fromkeys(key for row in rows for key in row)
    tasks = [[f"{m} {where}" for m in of for where in ("float", "INT8")] for of in (METRICS[:2], METRICS[2:])]
    used = [of for of in tasks if any(row[key] is not None for row in rows for key in of)] or tasks[:1]
    unused = {key for of in tasks if of not in used for key in of}
    return [key for key in keys if key not in unused]


def _mixed(reports: list[dict[str, Any]]) -> list[Finding]:
    machines = {(r["machine"] or {}).get("cpu") for r in reports}
    if len(machines) < 2:
        return []
    return [
        Finding(
            rule="CMP002",
            severity="warning",
            where="compare",
            message=f"measured on different machines: {', '.join(map(str, machines))}",
            fix="bench all of them on one machine before comparing latencies",
        )
    ]


def markdown(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """The rows as a Markdown table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row.get(c)) for c in columns) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return (
        f"{value:.3f}"
        if isinstance(value, float) and abs(value) < 2
        else f"{value:.2f}"
        if isinstance(value, float)
        else str(value)
    )
