"""The bench from end to end with ONNX Runtime on tiny models, and with a runtime that misbehaves on demand.

No test depends on how fast the machine is: budgets are far above or far below anything a call can take.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_onnx

from deploytk import judge
from deploytk.artifact import Artifact
from deploytk.budget import Budget
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_OVER_BUDGET, EXIT_PASS, InputError
from deploytk.report import Report
from deploytk.stages import bench as bench_stage
from deploytk.stages import bench_point, bench_sweep, bench_threads
from deploytk.stages.bench import bench
from deploytk.stages.bench_process import BatchProcess

EASY = Budget(latency_ms=600_000)
HARD = Budget(latency_ms=1e-6)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_point, "ROUND_S", 0.0)
    # How alike neighbouring samples are depends on what else the machine does; test_judge.py is about that.
    monkeypatch.setattr(judge, "_design_effect", lambda latencies, *_, **__: np.ones(len(latencies)))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the misbehaving runtime, installed for this process and its children as another package would."""
    package = tmp_path / "site" / "fake_runtime-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: fake-runtime\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[deploytk.runtimes]\nfake = fake_runtime\n")
    monkeypatch.syspath_prepend(str(package.parent))
    monkeypatch.setenv("PYTHONPATH", f"{package.parent}:{Path(__file__).parents[1]}")
    return "fake"


def model_that(tmp_path: Path, deeds: dict[int, str]) -> Path:
    """A model for the fake runtime: real ONNX to look at, its deeds by batch size beside it."""
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    path.with_suffix(".deeds.json").write_text(json.dumps(deeds))
    return path


def run(path: Path, batches: list[int], budget: Budget = EASY, **changes: Any) -> Report:
    settings: dict[str, Any] = {"time_limit_s": 240.0, "threads": 1, "out": path.parent / "out"} | changes
    return bench(path, budget=budget, batches=batches, **settings)


def rows(report: Report) -> dict[int, dict[str, Any]]:
    return {row["batch"]: row for row in report.sections["bench"]["rows"]}


# -- verdicts


def test_within_the_budget_passes_and_names_the_largest_batch(tmp_path: Path) -> None:
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), [1, 2, 4])
    assert report.exit_code == EXIT_PASS
    assert report.verdict.status == "pass"
    assert report.verdict.reasons[0].startswith("The largest batch within the budget is 4; the best throughput")
    assert report.sections["bench"]["best_batch"] == 4
    assert [row["verdict"] for row in rows(report).values()] == ["pass"] * 3


def test_batch_1_over_budget_exits_3_and_higher_ones_are_only_looked_at(tmp_path: Path) -> None:
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), [1, 2, 4], HARD)
    assert report.exit_code == EXIT_OVER_BUDGET
    for row in rows(report).values():
        assert (row["verdict"], row["refined"]) == ("fail", False)
    assert [rows(report)[batch]["n"] for batch in (2, 4)] == [3, 3]
    assert report.sections["bench"]["best_batch"] is None
    assert report.sections["bench"]["tied"] == []
    assert report.sections["bench"]["knee_batch"] in (1, 2, 4)


def test_beyond_the_budget_a_look_that_takes_long_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_sweep, "_CURVE_SHARE", 0.0)
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), [1, 2, 4], HARD)
    for batch in (2, 4):
        row = rows(report)[batch]
        assert (row["status"], row["verdict"], row["n"]) == ("not_run", None, 0)
        assert row["reason"].startswith("not run: batch 1 already misses the budget, and a look would take about")


def test_too_little_time_is_inconclusive_and_exits_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_sweep.Sweep, "sample", lambda self: [p.look(last=True) for p in self.points])
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), [1])
    assert report.exit_code == EXIT_INCONCLUSIVE
    assert "not decided" in rows(report)[1]["reason"]


def test_a_time_limit_that_is_gone_at_once_proves_nothing(tmp_path: Path) -> None:
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), [1, 2], time_limit_s=0.001)
    assert report.exit_code == EXIT_INCONCLUSIVE
    assert rows(report)[2]["status"] == "not_run"


def test_per_item_a_missed_batch_does_not_stop_the_sweep(tmp_path: Path) -> None:
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), [1, 2], Budget(latency_ms=1e-6, per="item"))
    assert [row["status"] for row in rows(report).values()] == ["ok", "ok"]
    assert report.exit_code == EXIT_OVER_BUDGET


def test_require_all_fails_with_one_that_fails(tmp_path: Path, fake: str) -> None:
    path = model_that(tmp_path, {2: "abort"})
    assert run(path, [1, 2], runtime=fake, require="any").exit_code == EXIT_PASS
    report = run(path, [1, 2], runtime=fake, require="all")
    assert report.exit_code == EXIT_OVER_BUDGET
    assert report.verdict.reasons[0] == "Batch 2 fails, and every batch size must pass."


@pytest.mark.parametrize(("require", "goes"), [("any", True), ("all", False)])
def test_a_search_leaves_batch_sizes_open_only_where_one_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require: str, goes: bool
) -> None:
    def swept(*_: Any, may_go_between: bool, **__: Any) -> None:
        raise InputError(f"a search: {may_go_between}")

    monkeypatch.setattr(bench_stage, "swept", swept)
    with pytest.raises(InputError, match=f"a search: {goes}"):
        run(tiny_onnx.conv(tmp_path / "m.onnx"), [1, 2], may_go_between=True, require=require)


def test_a_file_or_a_memory_over_its_budget_fails(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    large = run(path, [1], EASY.model_copy(update={"max_size_mb": 1e-6}))
    assert large.exit_code == EXIT_OVER_BUDGET
    assert "over the budget of 1e-06 MB" in large.verdict.reasons[0]
    hungry = run(path, [1], EASY.model_copy(update={"max_memory_mb": 1.0}))
    assert hungry.exit_code == EXIT_OVER_BUDGET
    assert "over the budget of 1 MB" in rows(hungry)[1]["reason"]


# -- what is kept


def test_a_measurement_keeps_every_sample_in_blocks_and_the_warm_up_apart(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    (measurement,) = run(path, [2]).measurements
    assert sum(measurement.blocks) == len(measurement.samples_ms) >= 59
    assert len(measurement.blocks) >= 10
    assert measurement.warmup_ms
    assert measurement.load_ms is not None and measurement.load_ms > 0
    assert measurement.peak_rss_mb is not None and measurement.peak_rss_mb > 10
    assert measurement.details["provider"] == "CPUExecutionProvider"
    assert measurement.details["threads"] == 1
    assert "distinct drawn inputs" in measurement.details["inputs"]
    assert measurement.machine is not None


def test_the_report_is_json_without_nan(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, {1: "abort"}), [1, 2], runtime=fake)
    json.dumps(report.as_dict(), allow_nan=False)


def test_the_command_of_a_measurement_repeats_it(tmp_path: Path) -> None:
    (measurement,) = run(tiny_onnx.conv(tmp_path / "m.onnx"), [2], HARD).measurements
    done = subprocess.run(shlex.split(measurement.command), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum("samples_ms" in answer for answer in answers) == 10


def test_noise_of_a_runtime_goes_to_the_log(tmp_path: Path, fake: str, capfd: pytest.CaptureFixture[str]) -> None:
    (measurement,) = run(model_that(tmp_path, {}), [1], HARD, runtime=fake).measurements
    log = Path(measurement.log).read_text()
    assert "noise on stdout" in log
    assert "noise on stderr" in log
    assert "noise" not in "".join(capfd.readouterr())


def test_progress_is_told(tmp_path: Path) -> None:
    heard: list[dict[str, Any]] = []
    run(tiny_onnx.conv(tmp_path / "m.onnx"), [1], listen=heard.append)
    assert any("screening batch 1" in event["text"] for event in heard)
    assert any("sampling batch 1" in event["text"] for event in heard)


# -- what goes wrong is a result


@pytest.mark.parametrize(
    ("deed", "status", "told"),
    [
        ("abort", "crash", "SIGABRT"),
        ("raise", "crash", "no kernel for this shape"),
        ("memory", "oom", "MemoryError"),
        ("bad_alloc", "oom", "bad_alloc"),
        ("killed", "oom", "SIGKILL"),
        ("fixed", "fixed_batch", "cannot be run at 8"),
        ("batch 1", "bad_output", "does not begin with the batch size 8"),
        ("nan later", "bad_output", "NaN"),
        ("forgets", "bad_output", "is not what it was the first time for the same input"),
    ],
)
def test_a_failure_at_batch_8_is_a_row_and_batch_1_still_passes(
    tmp_path: Path, fake: str, deed: str, status: str, told: str
) -> None:
    report = run(model_that(tmp_path, {8: deed}), [1, 8], runtime=fake)
    row = rows(report)[8]
    assert (row["status"], row["verdict"]) == (status, "fail")
    assert told in row["reason"]
    assert rows(report)[1]["verdict"] == "pass"
    assert report.exit_code == EXIT_PASS
    failed = report.measurements[1]
    assert Path(failed.log).is_file()
    assert "bench_child" in failed.command


def test_after_running_out_of_memory_no_larger_batch_is_tried(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, {2: "memory"}), [1, 2, 4], runtime=fake)
    assert rows(report)[4]["reason"] == "not run: batch 2 already ran out of memory"


def test_after_a_crash_larger_batches_are_tried(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, {2: "abort"}), [1, 2, 4], runtime=fake)
    assert [row["verdict"] for row in rows(report).values()] == ["pass", "fail", "pass"]
    assert report.sections["bench"]["best_batch"] == 4


def test_a_model_that_hangs_is_stopped_and_proves_nothing(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, {1: "hang"}), [1, 2], runtime=fake, time_limit_s=3.0)
    assert rows(report)[1]["status"] == "timeout"
    assert rows(report)[2]["status"] == "not_run"
    assert report.exit_code == EXIT_INCONCLUSIVE


def test_a_model_slower_than_its_budget_fails(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, {1: "slow"}), [1], Budget(latency_ms=10), runtime=fake)
    assert report.exit_code == EXIT_OVER_BUDGET
    assert len(report.measurements[0].blocks) == bench_point.SCREEN_BLOCKS  # decided by the screening


def test_a_model_that_leaks_memory_fails_and_says_how_much(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, {1: "leak"}), [1], runtime=fake)
    (row,) = report.sections["bench"]["rows"]
    assert (row["status"], row["verdict"], report.exit_code) == ("ok", "fail", EXIT_OVER_BUDGET)
    assert "The memory grows by" in row["reason"]
    per_thousand = float(row["reason"].split("grows by ")[1].split(" MB")[0])
    assert per_thousand == pytest.approx(1000 * 1.049, rel=0.2)


def test_a_nap_every_50_calls_fails_the_p99_and_not_the_p50(tmp_path: Path, fake: str) -> None:
    path = model_that(tmp_path, {1: "naps 50"})
    assert run(path, [1], Budget(latency_ms=15, percentile=50), runtime=fake).exit_code == EXIT_PASS
    tail = run(path, [1], Budget(latency_ms=15, percentile=99), runtime=fake)
    assert tail.exit_code == EXIT_OVER_BUDGET
    share = sum(ms > 15 for ms in tail.measurements[0].samples_ms) / len(tail.measurements[0].samples_ms)
    assert 0.01 < share < 0.04  # as often in the samples as in truth: the lead-in hides none


def test_all_batches_failing_is_a_failure_that_names_each(tmp_path: Path, fake: str) -> None:
    report = run(model_that(tmp_path, {1: "abort", 2: "raise"}), [1, 2], runtime=fake)
    assert report.exit_code == EXIT_OVER_BUDGET
    assert any(reason.startswith("Batch 1: crash") for reason in report.verdict.reasons)
    assert any(reason.startswith("Batch 2: crash") for reason in report.verdict.reasons)


@pytest.mark.parametrize(("build", "told"), [(tiny_onnx.nan, "NaN"), (tiny_onnx.constant, "does not depend")])
def test_outputs_that_cannot_be_right_fail(tmp_path: Path, build: Any, told: str) -> None:
    report = run(build(tmp_path / "m.onnx"), [1])
    assert report.exit_code == EXIT_OVER_BUDGET
    assert rows(report)[1]["status"] == "bad_output"
    assert told in rows(report)[1]["reason"]


def test_a_fixed_batch_model_is_rebatched_or_a_row(tmp_path: Path) -> None:
    honest = run(tiny_onnx.conv(tmp_path / "a.onnx", batch=1), [1, 2])
    assert [row["status"] for row in rows(honest).values()] == ["ok", "ok"]
    assert honest.measurements[1].details["rebatched"] is True
    fixed = run(tiny_onnx.mixing(tmp_path / "b.onnx"), [1, 2])
    assert [row["status"] for row in rows(fixed).values()] == ["ok", "fixed_batch"]


def test_no_child_is_left_behind_by_an_error(tmp_path: Path, fake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = bench_point.BatchProcess

    def remember(*args: Any) -> Any:
        opened.append(original(*args))
        return opened[-1]

    monkeypatch.setattr(bench_point, "BatchProcess", remember)
    with pytest.raises(InputError, match="cannot be loaded"):
        run(model_that(tmp_path, {2: "unreadable"}), [1, 2], runtime=fake)
    assert len(opened) == 2
    assert all(process._child.poll() is not None for process in opened)


# -- threads


def test_threads_auto_measures_and_takes_one_of_those_measured(tmp_path: Path) -> None:
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), [1], threads="auto")
    told = report.sections["bench"]["threads"]
    assert told["best"] in [row["threads"] for row in told["rows"]] == bench_threads.candidates()
    assert all(row["n"] > 0 and row["p50_ms"] > 0 for row in told["rows"])
    assert report.measurements[0].details["threads"] == told["best"]
    assert report.exit_code == EXIT_PASS


def test_threads_auto_of_a_model_that_cannot_run_is_an_error(tmp_path: Path, fake: str) -> None:
    with pytest.raises(InputError, match="ran with no number of threads at batch 1"):
        run(model_that(tmp_path, {1: "abort"}), [1], runtime=fake, threads="auto")


# -- inputs


def test_real_samples_are_used_where_given(tmp_path: Path) -> None:
    samples = tmp_path / "images.npz"
    np.savez(samples, images=np.random.default_rng(1).random((5, 8, 8, 3), dtype=np.float32))  # NHWC for an NCHW model
    report = run(tiny_onnx.conv(tmp_path / "m.onnx"), [2], feeds=samples)
    assert report.sections["bench"]["inputs"] == "6 distinct feeds made of the 5 samples in images.npz"


def test_samples_that_do_not_fit_are_an_input_error(tmp_path: Path) -> None:
    samples = tmp_path / "images.npz"
    np.savez(samples, x=np.zeros((5, 3, 9, 9), np.float32))
    with pytest.raises(InputError, match="do not fit the input x"):
        run(tiny_onnx.conv(tmp_path / "m.onnx"), [1], feeds=samples)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid x\n", b"\x80\x04K\x01."])
def test_what_is_no_model_is_refused_and_nothing_is_written(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError):
        run(path, [1])
    assert list(tmp_path.iterdir()) == [path]


def test_a_runtime_that_cannot_read_the_format_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    with pytest.raises(InputError, match="the runtime litert reads tflite"):
        run(tiny_onnx.conv(tmp_path / "m.onnx"), [1], runtime="litert")


# -- Vela's estimates

#: The least that `identify` takes for a compiled model.
COMPILED = b"\x08\x00\x00\x00TFL3\x00\x00\x00\x00" + b"ethos-u" + bytes(64)
ASSESSED = {"time_ms": 12.5, "npu_ops": 9, "cpu_ops": 0, "accelerator": "ethos-u55-256", "vela_version": "5.2.0"}


def compiled(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "m_vela.tflite"
    path.write_bytes(COMPILED)
    (tmp_path / "npu_report.json").write_text(json.dumps(ASSESSED | changes))
    return path


def test_an_estimate_is_judged_and_labelled(tmp_path: Path) -> None:
    report = run(compiled(tmp_path), [1, 2], Budget(latency_ms=50))
    (row,) = report.sections["bench"]["rows"]
    assert report.exit_code == EXIT_PASS
    assert (row["kind"], row["verdict"], row["judged_ms"], row["n"]) == ("estimated", "pass", 12.5, 0)
    assert row["p95_ms"] is None
    assert "estimated" in row["reason"]
    assert "not a measurement" in report.verdict.reasons[0]
    assert report.measurements[0].share_on_target == 1.0


def test_an_estimate_over_the_budget_exits_3(tmp_path: Path) -> None:
    assert run(compiled(tmp_path), [1], Budget(latency_ms=10)).exit_code == EXIT_OVER_BUDGET


def test_an_estimate_says_nothing_about_a_budget_from_the_file_to_the_result(tmp_path: Path) -> None:
    report = run(compiled(tmp_path), [1], Budget(latency_ms=50, boundary="end_to_end"))
    assert report.exit_code == EXIT_INCONCLUSIVE
    assert "for the model alone" in report.verdict.reasons[-1]


def test_end_to_end_without_images_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give --images FOLDER"):
        run(tiny_onnx.conv(tmp_path / "m.onnx"), [1], Budget(boundary="end_to_end"))


@pytest.mark.parametrize("time_ms", [None, 0.0, -1.0, "12"])
def test_no_estimate_or_zero_ms_is_a_failure_and_never_a_pass(tmp_path: Path, time_ms: Any) -> None:
    report = run(compiled(tmp_path, time_ms=time_ms), [1])
    assert report.exit_code == EXIT_OVER_BUDGET
    assert "estimate of the time" in rows(report)[1]["reason"]


def test_operators_on_the_cpu_are_named_where_there_is_no_time(tmp_path: Path) -> None:
    report = run(compiled(tmp_path, time_ms=None, npu_ops=7, cpu_ops=2), [1])
    assert "7 operators are on the NPU and 2 on the CPU" in rows(report)[1]["reason"]


def test_a_compiled_model_without_a_report_says_what_to_do(tmp_path: Path) -> None:
    path = compiled(tmp_path)
    (tmp_path / "npu_report.json").unlink()
    with pytest.raises(InputError, match="bench the INT8 model it was compiled from"):
        run(path, [1])


def test_the_assessment_in_the_lineage_is_the_one_of_this_file(tmp_path: Path) -> None:
    path = compiled(tmp_path, time_ms=1.0)
    Artifact.record(path, format="vela-tflite", precision="int8", made_by="compile", settings={"assessment": ASSESSED})
    assert run(path, [1]).sections["bench"]["rows"][0]["judged_ms"] == 12.5
    path.write_bytes(COMPILED + b"changed")
    with pytest.raises(InputError, match="changed since deploytk made it"):
        run(path, [1])


def test_a_report_about_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is about another file"):
        run(compiled(tmp_path, sha256="0" * 64), [1])


# -- real models


@pytest.mark.e2e
@pytest.mark.parametrize(
    "name",
    [
        "ort_examples/c_cxx/MNIST/mnist.onnx",
        "mlperf_tiny_qdq_onnx/kws/K1_BOARD_V1.0/models/kws_ref_model.onnx",
        "mlperf_tiny/benchmark/training/image_classification/trained_models/pretrainedResnet_quant.tflite",
        "mlperf_tiny/benchmark/training/keyword_spotting/trained_models/kws_ref_model_float32.tflite",
    ],
)
def test_real_models_pass_a_generous_budget_at_1_and_4(data_dir: Path, tmp_path: Path, name: str) -> None:
    report = run(data_dir / name, [1, 4], out=tmp_path / "out")
    assert [row["verdict"] for row in rows(report).values()] == ["pass", "pass"]
    json.dumps(report.as_dict(), allow_nan=False)
    assert replace(report, verdict=report.verdict) == report


def test_a_child_that_waits_is_stopped_and_goes_on_when_asked(tmp_path: Path) -> None:
    spec = {"model": str(tiny_onnx.conv(tmp_path / "m.onnx")), "format": "onnx", "runtime": "onnx", "batch": 1}
    process = BatchProcess(spec, tmp_path / "logs")
    try:
        for command in ({"do": "open"}, {"do": "warm", "limit_s": 1}, {"do": "block", "calls": 2}):
            assert "status" not in process.ask(command, timeout_s=120)
            assert _waits_stopped(process.pid)
    finally:
        process.close()


def _waits_stopped(pid: int) -> bool:
    """Whether a child of this process is or soon becomes stopped (and not ended)."""
    changed = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return changed is not None and changed.si_code == os.CLD_STOPPED


def test_as_many_samples_are_taken_as_are_asked_for_though_fewer_would_decide(tmp_path: Path) -> None:
    path = tiny_onnx.conv(tmp_path / "m.onnx")
    few, many = (run(path, [1], min_samples=n).measurements[0] for n in (0, 240))
    assert len(few.samples_ms) < 240 <= len(many.samples_ms)
    assert run(path, [1], HARD, min_samples=10_000).exit_code == EXIT_OVER_BUDGET  # a failure is not drawn out
