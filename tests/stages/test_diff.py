"""What got slower between two runs: caught when it is there, never cried when it is not, refused where it cannot be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_onnx
from bench_pairs import MACHINE, SLOW, VERSIONS, Neighbour, Nobody, artifact, bench, written

from deploytk.budget import Budget
from deploytk.errors import InputError
from deploytk.files import sha256_of
from deploytk.measurement import Measurement
from deploytk.report import Report
from deploytk.stages import diff_again
from deploytk.stages.diff import diff

TRIES = 20


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def compared(folder: Path, old: Report, new: Report, **options: Any) -> Report:
    return diff(written(old, folder / "old"), written(new, folder / "new"), **options)


def rows(report: Report) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = report.sections["diff"]["rows"]
    return found


def tried(folder: Path, slower: float, machine: Callable[[np.random.Generator], Neighbour]) -> Counter[int]:
    """The exit codes of 20 re-runs four hundred seconds later, each 1 to 2 % off its first run, slower or faster."""
    codes: Counter[int] = Counter()
    for seed in range(TRIES):
        random = rng(1000 * round(100 * slower) + seed)
        neighbour, level = machine(random), 1 + random.choice([-1, 1]) * random.uniform(0.01, 0.02)
        old = bench(random, neighbour=neighbour)
        new = bench(random, neighbour=neighbour, begins_s=400.0, slower=slower, level=level)
        codes[compared(folder / f"{seed}", old, new).exit_code] += 1
    return codes


MACHINES = {
    "quiet": lambda _: Nobody(),
    "a neighbour for some seconds at a time": lambda random: Neighbour(random, quiet_s=12, busy_s=3),
}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=list(MACHINES))
def test_a_slowdown_of_ten_per_cent_is_caught_every_time(tmp_path: Path, machine: Any) -> None:
    assert tried(tmp_path, 1.1, machine) == {3: TRIES}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=list(MACHINES))
def test_an_unchanged_model_is_never_called_slower(tmp_path: Path, machine: Any) -> None:
    found = tried(tmp_path, 1.0, machine)
    assert found[3] == 0
    assert found[0] >= 0.95 * TRIES  # the rest is undecided


def test_a_neighbour_for_minutes_leaves_some_undecided_and_never_raises_a_false_alarm(tmp_path: Path) -> None:
    def minutes(random: np.random.Generator) -> Neighbour:
        return Neighbour(random, quiet_s=300, busy_s=75)

    unchanged, slowed = tried(tmp_path / "a", 1.0, minutes), tried(tmp_path / "b", 1.1, minutes)
    assert (unchanged[3], slowed[0]) == (0, 0)
    assert unchanged[4] > 0  # otherwise this test would not see what it is about
    assert slowed[3] >= 0.5 * TRIES


def test_without_knowing_who_waited_a_neighbour_would_be_a_slowdown(tmp_path: Path) -> None:
    """The simulation is hard enough: what the run delay settles is wrong without it."""
    busy = Neighbour(rng(0), quiet_s=1e-9, busy_s=1e9)
    old, new = bench(rng(1), told=False), bench(rng(2), told=False, neighbour=busy)
    assert compared(tmp_path / "blind", old, new).exit_code == 3
    told = compared(tmp_path / "seeing", bench(rng(1)), bench(rng(2), neighbour=busy))
    assert told.exit_code == 4
    assert rows(told)[0]["raw_ratio"] == pytest.approx(SLOW, rel=0.04)
    assert "too many blocks waited for a core (0 % and 100 %)" in " ".join(told.verdict.reasons)


def waiting(report: Report, share: float) -> Report:
    """The same with threads that waited for so much of every block, all of which took longer by it."""

    def slowed(m: Measurement) -> Measurement:
        samples = tuple(s / (1 - share) for s in m.samples_ms)
        waited = tuple(share * sum(samples[5 * n : 5 * n + 5]) for n in range(len(m.blocks)))
        return replace(m, samples_ms=samples, block_waited_ms=waited)

    return replace(report, measurements=tuple(map(slowed, report.measurements)))


def test_what_little_waits_explain_is_not_blamed_on_the_model(tmp_path: Path) -> None:
    told = compared(tmp_path / "same", waiting(bench(rng(1)), 0.0), waiting(bench(rng(2)), 0.09))
    assert told.exit_code == 4
    assert "its threads waited for a core for 9 % of the time" in " ".join(told.verdict.reasons)
    slower = compared(tmp_path / "slower", waiting(bench(rng(1)), 0.0), waiting(bench(rng(2), slower=1.2), 0.09))
    assert slower.exit_code == 3


def test_what_got_faster_is_said_and_passes(tmp_path: Path) -> None:
    told = compared(tmp_path, bench(rng(1)), bench(rng(2), slower=0.8))
    assert (told.exit_code, told.verdict.status) == (0, "pass")
    assert {r["verdict"] for r in rows(told) if r["what"] == "p50"} == {"faster"}
    assert any("is faster" in reason for reason in told.verdict.reasons)


def test_a_slow_tail_is_seen_where_the_median_is_the_same(tmp_path: Path) -> None:
    def stalled(m: Measurement) -> Measurement:
        return replace(m, samples_ms=tuple(3 * s if n % 8 == 0 else s for n, s in enumerate(m.samples_ms)))

    old, new = bench(rng(1), rounds=240), bench(rng(2), rounds=240)
    told = compared(tmp_path, old, replace(new, measurements=tuple(map(stalled, new.measurements))))
    assert told.exit_code == 3
    assert {r["verdict"] for r in rows(told) if r["what"] == "p95"} == {"slower"}
    assert {r["verdict"] for r in rows(told) if r["what"] == "p50"} == {"same"}


def hindered(report: Report, share: float, seed: int) -> Report:
    """The same beside somebody on the other half of its cores, who takes 15 to 40 % of the speed of some calls.

    Nothing tells of him: no thread waits. For seconds at a time he hinders `share` of the calls, more or less.
    """

    def slowed(m: Measurement, random: np.random.Generator) -> Measurement:
        shares = np.clip(share * random.lognormal(0, 0.5, 1 + len(m.samples_ms) // 30), 0, 0.85).repeat(30)
        much = 1 + random.uniform(0.15, 0.4, len(m.samples_ms)) * (
            random.random(len(m.samples_ms)) < shares[: len(m.samples_ms)]
        )
        return replace(m, samples_ms=tuple((much * m.samples_ms).tolist()))

    random = rng(seed)
    return replace(report, measurements=tuple(slowed(m, random) for m in report.measurements))


def test_a_busy_sibling_of_the_core_moves_the_median_and_raises_no_alarm(tmp_path: Path) -> None:
    codes: Counter[int] = Counter()
    moved = []
    for seed in range(TRIES):
        old, new = hindered(bench(rng(seed)), 0.2, seed), hindered(bench(rng(100 + seed)), 0.4, 100 + seed)
        told = compared(tmp_path / f"{seed}", old, new)
        moved += [r["ratio"] for r in rows(told) if r["what"] == "p50"]
        codes[told.exit_code] += 1
    assert codes[3] == 0
    assert max(moved) > 1.05  # the median alone would have raised it


def test_beside_a_busy_sibling_a_slowdown_of_ten_per_cent_is_caught(tmp_path: Path) -> None:
    for seed in range(TRIES):
        old, new = hindered(bench(rng(seed)), 0.4, seed), hindered(bench(rng(100 + seed), slower=1.1), 0.2, 100 + seed)
        assert compared(tmp_path / f"{seed}", old, new).exit_code == 3


def test_a_median_that_moved_alone_is_undecided_and_says_what_tells(tmp_path: Path) -> None:
    def every_second(m: Measurement) -> Measurement:
        return replace(m, samples_ms=tuple(s * (1.2 if n % 5 > 1 else 1) for n, s in enumerate(m.samples_ms)))

    old, new = bench(rng(1), rounds=240), bench(rng(2), rounds=240, slower=0.9)
    told = compared(tmp_path, old, replace(new, measurements=tuple(map(every_second, new.measurements))))
    by_what = {r["what"]: r for r in rows(told) if r["batch"] == 1}
    assert by_what["p50"]["verdict"] == "undecided"
    assert "--remeasure" in by_what["p50"]["note"]


def test_fastest_calls_that_moved_alone_raise_no_alarm(tmp_path: Path) -> None:
    """How often a fast mode of the machine comes changes the p10 and not the median."""

    def lucky(m: Measurement) -> Measurement:
        return replace(m, samples_ms=tuple(s * (0.9 if n % 5 == 0 else 1) for n, s in enumerate(m.samples_ms)))

    old, new = bench(rng(1), rounds=240), bench(rng(2), rounds=240)
    told = compared(tmp_path, replace(old, measurements=tuple(map(lucky, old.measurements))), new)
    assert told.exit_code != 3
    assert max(r["ratio"] for r in rows(told) if r["what"] == "p10") > 1.05


def side_by_side(monkeypatch: pytest.MonkeyPatch, ratio: float, verdict: str) -> list[dict[str, Any]]:
    """What is measured again gives this ratio, and the list of what was asked for."""
    asked: list[dict[str, Any]] = []

    def compare(contenders: Any, **how: Any) -> Report:
        asked.append({"models": [c.artifact.path.name for c in contenders], **how})
        row = {"ratio": ratio, "low": ratio - 0.01, "high": ratio + 0.01, "rounds": 40, "verdict": verdict}
        return bench(rng(0), sections={"ratio": {"rows": [row]}})

    monkeypatch.setattr(diff_again, "compare", compare)
    return asked


def of_a_file(report: Report, path: Path) -> Report:
    """The same report of a model that is really there."""
    made = replace(report.artifact or artifact(), path=path, sha256=sha256_of(path))
    again = tuple(replace(m, artifact_sha256=made.sha256) for m in report.measurements)
    return replace(report, artifact=made, measurements=again)


@pytest.mark.parametrize(("ratio", "verdict", "code"), [(1.1, "slower", 3), (1.0, "same", 0), (1.05, "undecided", 4)])
def test_measured_again_side_by_side_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratio: float, verdict: str, code: int
) -> None:
    asked = side_by_side(monkeypatch, ratio, verdict)
    model = tiny_onnx.conv(tmp_path / "model.onnx")
    old, new = (of_a_file(bench(rng(seed)), model) for seed in (1, 2))
    told = compared(tmp_path, old, new, remeasure=tmp_path / "again")
    assert told.exit_code == code
    assert [a["batches"] for a in asked] == [[1], [2], [4]]
    assert "measured again side by side" in told.verdict.reasons[0]
    assert "From the two runs alone:" in told.verdict.reasons


def test_a_model_that_has_changed_since_cannot_be_measured_again(tmp_path: Path) -> None:
    model = tiny_onnx.conv(tmp_path / "model.onnx")
    old, new = (of_a_file(bench(rng(seed)), model) for seed in (1, 2))
    model.write_bytes(b"another")
    with pytest.raises(InputError, match="not there any more as it was measured"):
        compared(tmp_path, old, new, remeasure=tmp_path / "again")


def test_tolerance_is_what_counts_as_the_same(tmp_path: Path) -> None:
    old, new = bench(rng(1), rounds=240), bench(rng(2), rounds=240, slower=1.1)
    assert compared(tmp_path / "strict", old, new, tolerance=0.05).exit_code == 3
    assert compared(tmp_path / "wide", old, new, tolerance=0.2).exit_code == 0


def test_few_samples_are_undecided(tmp_path: Path) -> None:
    told = compared(tmp_path, bench(rng(1), rounds=3), bench(rng(2), rounds=3))
    assert (told.exit_code, told.verdict.status) == (4, "inconclusive")
    assert "too few independent samples" in " ".join(told.verdict.reasons)


def test_a_disturbed_run_is_not_blamed_on_the_model(tmp_path: Path) -> None:
    new = bench(rng(2), slower=1.3, told=False)
    new.sections["bench"]["stability"] = {"disturbed": 0.6, "sentence": "unstable"}
    told = compared(tmp_path, bench(rng(1)), new)
    assert told.exit_code == 4
    assert "would be slower, but 60 % of the blocks were disturbed" in " ".join(told.verdict.reasons)


def busy(report: Report, share: float) -> Report:
    """The same with so many of its blocks at the end twice as long, because the threads waited for a core."""

    def slowed(m: Measurement) -> Measurement:
        first = round((1 - share) * len(m.blocks))
        samples = tuple(s * (2 if n // 5 >= first else 1) for n, s in enumerate(m.samples_ms))
        waited = [sum(samples[5 * n : 5 * n + 5]) / 2 if n >= first else 0.0 for n in range(len(m.blocks))]
        return replace(m, samples_ms=samples, block_waited_ms=tuple(waited))

    return replace(report, measurements=tuple(map(slowed, report.measurements)))


def test_blocks_that_waited_for_a_core_are_left_out_of_the_ratio_and_it_says_so(tmp_path: Path) -> None:
    found = rows(compared(tmp_path, busy(bench(rng(1)), 0.0), busy(bench(rng(2)), 0.4)))
    told = next(r for r in found if r["what"] == "p50")
    assert told["verdict"] == "same"
    assert told["ratio"] == pytest.approx(1.0, abs=0.03)
    assert told["raw_ratio"] > 1.01
    assert told["note"] == "without the blocks that waited for a core (0 % and 40 %)"


def test_a_slowdown_is_caught_among_disturbed_blocks(tmp_path: Path) -> None:
    assert compared(tmp_path, busy(bench(rng(1)), 0.4), busy(bench(rng(2), slower=1.1), 0.2)).exit_code == 3


def test_too_many_disturbed_blocks_decide_nothing(tmp_path: Path) -> None:
    told = compared(tmp_path, busy(bench(rng(1)), 0.0), busy(bench(rng(2), slower=1.3), 0.7))
    assert told.exit_code == 4
    assert "too many blocks waited for a core (0 % and 70 %)" in " ".join(told.verdict.reasons)
    assert rows(told)[0]["ratio"] == pytest.approx(rows(told)[0]["raw_ratio"], rel=0.1)  # of all blocks, then


def test_points_that_were_only_screened_do_not_hold_up_the_rest(tmp_path: Path) -> None:
    def screened(report: Report) -> Report:
        cut = replace(report.measurements[2], samples_ms=report.measurements[2].samples_ms[:15], blocks=(5, 5, 5))
        told = [{"runtime": "onnx", "batch": 4, "refined": False}]
        report.sections["bench"]["rows"] = told
        return replace(report, measurements=(*report.measurements[:2], replace(cut, block_at_s=(0.0, 1.0, 2.0))))

    told = compared(tmp_path, screened(bench(rng(1))), screened(bench(rng(5))))
    assert {r["verdict"] for r in rows(told) if r["batch"] == 4} == {"undecided"}
    assert told.exit_code == 0
    assert "model.onnx batch 4 p50" in told.verdict.reasons[-1]


def test_a_batch_that_crashes_now_fails_with_its_reason(tmp_path: Path) -> None:
    old, new = bench(rng(1)), bench(rng(2))
    broken = replace(new.measurements[2], status="crash", samples_ms=(), blocks=(), reason="died of SIGSEGV")
    told = compared(tmp_path, old, replace(new, measurements=(*new.measurements[:2], broken)))
    assert told.exit_code == 3
    assert "model.onnx batch 4: ok before, crash now: died of SIGSEGV" in told.verdict.reasons


def test_a_batch_that_was_not_measured_again_is_said_and_does_not_fail(tmp_path: Path) -> None:
    old, new = bench(rng(1)), bench(rng(2))
    told = compared(tmp_path, old, replace(new, measurements=new.measurements[:2]))
    changes = told.sections["diff"]["changes"]
    assert [(c["point"], c["old"], c["new"]) for c in changes] == [("model.onnx batch 4", "ok", "not measured")]
    assert told.exit_code == 0


def test_another_file_name_is_the_same_role_where_each_run_has_one(tmp_path: Path) -> None:
    new = bench(rng(2), slower=1.5, artifact=artifact("model-v2.onnx"))
    assert compared(tmp_path, bench(rng(1)), new).exit_code == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"machine": replace(MACHINE, cpu="Other CPU")}, r"the processor \(Some CPU then Other CPU\)"),
        ({"machine": replace(MACHINE, cores=8)}, r"the number of cores \(2 then 8\)"),
        ({"machine": None}, "the second report does not say on which machine"),
    ],
)
def test_another_machine_is_refused_and_named(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        compared(tmp_path, bench(rng(1)), bench(rng(2), **change))


@pytest.mark.parametrize(
    ("details", "named"),
    [
        ({"threads": 2, "versions": VERSIONS | {"onnxruntime": "1.32.0"}}, r"onnxruntime \(1.31.1 then 1.32.0\)"),
        ({"threads": 1, "versions": VERSIONS}, r"the number of threads \(2 then 1\)"),
        ({"threads": 2}, "the first report names the versions"),
    ],
)
def test_other_versions_or_threads_are_refused_and_named(tmp_path: Path, details: Any, named: str) -> None:
    new = bench(rng(2), versions={})
    changed = replace(new, measurements=tuple(replace(m, details=details) for m in new.measurements))
    with pytest.raises(InputError, match=named):
        compared(tmp_path, bench(rng(1)), changed)


@pytest.mark.parametrize(("key", "value"), [("boundary", "end_to_end"), ("arrival", "20 requests a second")])
def test_another_boundary_or_scenario_is_refused(tmp_path: Path, key: str, value: str) -> None:
    new = bench(rng(2))
    new.sections["bench"][key] = value
    with pytest.raises(InputError, match=f"then {value}"):
        compared(tmp_path, bench(rng(1)), new)


def test_force_compares_all_the_same_and_says_so(tmp_path: Path) -> None:
    new = bench(rng(2), machine=replace(MACHINE, cpu="Other CPU"))
    told = compared(tmp_path, bench(rng(1)), new, force=True)
    assert told.exit_code == 0
    assert "Compared with --force, although these differ: the processor" in told.verdict.reasons[-1]


def test_another_budget_or_governor_is_a_warning(tmp_path: Path) -> None:
    new = bench(rng(2), budget=Budget(latency_ms=20), machine=replace(MACHINE, governor="powersave"))
    old = bench(rng(1), machine=replace(MACHINE, governor="performance"))
    told = " ".join(f.message for f in compared(tmp_path, old, new).findings)
    assert "p95 under 50 ms per batch then p95 under 20 ms per batch" in told
    assert "performance then powersave" in told


def test_an_estimate_has_no_noise(tmp_path: Path) -> None:
    def estimated(ms: float) -> Report:
        m = Measurement(artifact_sha256="b" * 64, runtime="vela", batch=1, kind="estimated", samples_ms=(ms,))
        return bench(rng(1), measurements=(m,), versions={})

    assert compared(tmp_path / "a", estimated(4.0), estimated(4.4)).exit_code == 3
    assert compared(tmp_path / "b", estimated(4.0), estimated(4.1)).exit_code == 0


def test_memory_load_and_file_size_are_told(tmp_path: Path) -> None:
    new = bench(rng(2))
    heavier = replace(new, measurements=tuple(replace(m, peak_rss_mb=150.0) for m in new.measurements))
    told = compared(tmp_path, bench(rng(1)), heavier).sections["diff"]["values"]
    assert ("peak memory, MB", 100.0, 150.0, 1.5) in [(v["what"], v["old"], v["new"], v["ratio"]) for v in told]
    assert "load, ms" in {v["what"] for v in told}


def test_runs_with_nothing_in_common_are_refused(tmp_path: Path) -> None:
    new = bench(rng(2))
    with pytest.raises(InputError, match="no measured point in common"):
        compared(
            tmp_path,
            bench(rng(1)),
            replace(new, measurements=tuple(replace(m, batch=64) for m in new.measurements[:1])),
        )


def test_a_report_file_will_do_and_a_missing_or_damaged_one_is_said(tmp_path: Path) -> None:
    run = written(bench(rng(1)), tmp_path / "run")
    assert diff(run / "report.json", run).exit_code == 0
    with pytest.raises(InputError, match="no report here"):
        diff(tmp_path / "nowhere", run)
    (tmp_path / "other.json").write_text('{"verdict": "pass", "sections": {}, "chain": []}', encoding="utf-8")
    with pytest.raises(InputError, match="not a report that this version"):
        diff(tmp_path / "other.json", run)


def test_rows_without_samples_are_undecided(tmp_path: Path) -> None:
    def bare() -> Report:
        told = {"rows": [{"batch": 1, "runtime": "onnx", "p50_ms": 10.0, "status": "ok"}]}
        return bench(rng(1), measurements=(), sections={"bench": told})

    told = compared(tmp_path, bare(), bare())
    assert told.exit_code == 4
    assert not math.isnan(rows(told)[0]["ratio"])
