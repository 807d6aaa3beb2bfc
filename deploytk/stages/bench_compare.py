"""Two or more models or runtimes side by side: interleaved in one run, with a ratio and its interval.

Whatever slows the machine down meets all of them: each round takes one block of each, and what is compared is the
ratio within the rounds. The first one named is what the others are compared with.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from deploytk import ratio
from deploytk.artifact import Artifact
from deploytk.budget import Budget, Status, Verdict
from deploytk.measurement import Machine
from deploytk.report import Report
from deploytk.stages import bench_table
from deploytk.stages.bench import CLOSED_LOOP, findings, nothing_left_of_bad_input
from deploytk.stages.bench_point import Point, in_turn
from deploytk.stages.bench_stability import stability
from deploytk.worker import Listener

#: After how many rounds the ratios are judged; each look has an equal part of the error allowed.
LOOKS = (20, 40, 80, 160)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One of the things compared: a model on a runtime."""

    artifact: Artifact
    spec: dict[str, Any]

    @property
    def name(self) -> str:
        """`model.onnx openvino`."""
        return f"{self.artifact.path.name} {self.spec['runtime']}"


def compare(
    contenders: Sequence[Contender],
    *,
    budget: Budget,
    batches: Sequence[int],
    tolerance: float,
    time_limit_s: float,
    out: Path,
    listen: Listener | None = None,
) -> Report:
    """PASS where none is slower than the first by more than `tolerance` (0.05 is 5 %), FAIL where one is.

    Raises:
        DeploytkError: one of the models cannot be used at all.
    """
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    all_points: list[tuple[Contender, Point]] = []
    with nothing_left_of_bad_input(out):
        for done, batch in enumerate(batches):
            left_s = (time_limit_s - (time.monotonic() - began)) / (len(batches) - done)
            points = _measured(contenders, batch, budget, tolerance, left_s, out / "logs", listen)
            all_points += zip(contenders, points, strict=True)
            rows += _ratios(contenders, points, budget.confidence, tolerance)
    verdict = _verdict(rows, tolerance)
    machine = Machine.this()
    steady = stability([p.used for _, p in all_points])
    artifacts = list({c.artifact.sha256: c.artifact for c in contenders}.values())
    judged = [(c, p.measurement(c.artifact, machine), p.verdict or Verdict(status="fail")) for c, p in all_points]
    return Report(
        command="bench --compare",
        title=" : ".join(c.name for c in contenders),
        verdict=verdict,
        exit_code=verdict.exit_code,
        artifact=artifacts[0],
        chain=tuple(artifacts),
        findings=findings(steady),
        measurements=tuple(m for _, m, _ in judged),
        budget=budget,
        machine=machine,
        versions={k: v for _, m, _ in judged for k, v in m.details.get("versions", {}).items()},
        sections={
            "ratio": {"tolerance": tolerance, "rows": rows},
            "bench": {
                "rows": [{"artifact": c.artifact.path.name, **bench_table.row(m, v, budget)} for c, m, v in judged],
                "boundary": budget.boundary,
                "arrival": CLOSED_LOOP,
                "stability": steady,
                "search": {"time_s": round(time.monotonic() - began, 3)},
            },
        },
    )


def _measured(
    contenders: Sequence[Contender],
    batch: int,
    budget: Budget,
    tolerance: float,
    time_limit_s: float,
    logs: Path,
    listen: Listener | None,
) -> list[Point]:
    """A point for each contender: as many rounds as the ratios take, or as the time allows."""
    until = time.monotonic() + time_limit_s
    points = [
        Point(spec={**c.spec, "name": f"{number}"}, batch=batch, budget=budget, began_s=time.monotonic())
        for number, c in enumerate(contenders)
    ]
    try:
        for point in points:
            point.start(logs, timeout_s=max(1.0, until - time.monotonic()), warm_s=time_limit_s / 12)
        for done in range(LOOKS[-1]):
            running = [p for p in points if p.open]
            if len(running) < 2 or not points[0].open or time.monotonic() > until:
                break
            if listen:
                listen({"done": done, "total": LOOKS[-1], "text": f"comparing at batch {batch}"})
            if done in LOOKS and _decided(contenders, points, budget.confidence, tolerance):
                break
            for point in in_turn(running, done, until=until):
                point.block(timeout_s=until - time.monotonic())
        for point in points:
            point.look(last=True)
    finally:
        for point in points:
            point.close()
    return points


def _decided(contenders: Sequence[Contender], points: Sequence[Point], confidence: float, tolerance: float) -> bool:
    told = _ratios(contenders, points, confidence, tolerance)
    return all(row["verdict"] != "undecided" for row in told)


def _ratios(
    contenders: Sequence[Contender], points: Sequence[Point], confidence: float, tolerance: float
) -> list[dict[str, Any]]:
    """One row for each contender but the first: its latency over the first one's, within the rounds."""
    first = points[0]
    rows = []
    for contender, point in zip(contenders[1:], points[1:], strict=True):
        row: dict[str, Any] = {"a": contenders[0].name, "b": contender.name, "batch": point.batch}
        rounds = min(len(first.blocks), len(point.blocks))
        if first.status != "ok" or point.status != "ok" or not rounds:
            wrong = point if point.status != "ok" else first
            rows.append(row | {"verdict": wrong.status, "reason": wrong.reason})
            continue
        a, b = ([median(block) for block in p.in_blocks[:rounds]] for p in (first, point))
        found = ratio.paired(a, b, 1 - (1 - confidence) / len(LOOKS))
        rows.append(row | {"ratio": found.value, **asdict(found), "rounds": rounds, "verdict": _word(found, tolerance)})
    return rows


def _word(found: ratio.Ratio, tolerance: float) -> str:
    if found.low > 1 + tolerance:
        return "slower"
    if found.high < 1 / (1 + tolerance):
        return "faster"
    if found.low >= 1 / (1 + tolerance) and found.high <= 1 + tolerance:
        return "same"
    return "undecided"


def _verdict(rows: Sequence[dict[str, Any]], tolerance: float) -> Verdict:
    return Verdict(status=status_of(rows, tolerance), reasons=tuple(_sentence(row) for row in rows))


def status_of(rows: Sequence[Mapping[str, Any]], tolerance: float) -> Status:
    """What the ratios say: "fail" where one is slower or could not be measured, "inconclusive" where one may be."""
    words = {row["verdict"] for row in rows}
    if words - {"slower", "faster", "same", "undecided"} or "slower" in words:
        return "fail"
    maybe = any(row["verdict"] == "undecided" and row["high"] > 1 + tolerance for row in rows)
    return "inconclusive" if maybe else "pass"


def _sentence(row: dict[str, Any]) -> str:
    where = f"{row['b']} against {row['a']} at batch {row['batch']}"
    if "ratio" not in row:
        return f"{where}: {row['verdict'].replace('_', ' ')}: {row['reason']}"
    return (
        f"{where}: {row['ratio']:.3f} times as long ({row['low']:.3f} to {row['high']:.3f}, {row['rounds']} rounds): "
        f"{row['verdict']}."
    )
