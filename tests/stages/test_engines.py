"""Engines found again under their key, tuned for what a sweep finds on a GPU, and judged there: on fakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploytk.artifact import Artifact, sidecar
from deploytk.errors import MissingDependency
from deploytk.profile import Profile
from deploytk.runtimes.gpu import Gpu
from deploytk.stages import bench_engine, engines, export_tensorrt

H100 = Gpu(name="NVIDIA H100", compute_capability="9.0", memory_bytes=1, driver="570")


def artifact(path: Path, format: str = "onnx", precision: str = "fp16", **facts: Any) -> Artifact:
    path.write_bytes(b"x")
    return Artifact.record(path, format=format, precision=precision, made_by="test", key=path.name, **facts)


class Builder:
    """Notes what it is asked to build, and builds best for that or for 8."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def __call__(self, **what: Any) -> dict[str, Any]:
        self.asked.append(what)
        Path(what["out"]).write_bytes(b"vtrt")
        most = max(what["batches"])
        return {
            "library": "tensorrt", "version": "10.16", "build_s": 1.0, "precision": "float16",
            "profiles": [[1, 1, 1], [2, what["best"] or 8, most]],
        }  # fmt: skip


WANTED = engines.Wanted(precision="fp16", batches=(1, 2, 64))


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> list[Gpu | None]:
    """The GPU of this machine, in a list of one to be changed."""
    here: list[Gpu | None] = [H100]
    monkeypatch.setattr("deploytk.runtimes.gpu.found", lambda: here[0])
    monkeypatch.setattr("deploytk.runtimes.gpu.lacking", lambda: "" if here[0] else "there is no NVIDIA driver here")
    return here


def test_an_engine_is_built_again_for_the_batch_that_a_sweep_finds_best(
    tmp_path: Path, device: list[Gpu | None]
) -> None:
    build, out = Builder(), artifact(tmp_path / "m.engine", "tensorrt-engine").path  # one of an earlier export

    def sweep(engine: Path) -> int:
        assert not sidecar(engine).exists()  # it would say that the file was changed
        return 32

    made, skipped = engines.engine_of(artifact(tmp_path / "m.onnx"), out, WANTED, build, sweep)
    assert [what["best"] for what in build.asked] == [None, 32]
    assert made.settings["engine"]["profiles"][-1] == [2, 32, 64]
    assert (made.settings["engine"]["best_by"], made.settings["gpu"], skipped) == ("sweep", device[0].name, False)  # type: ignore[union-attr]


@pytest.mark.parametrize("found", [None, 1, 8])
def test_it_stays_where_the_sweep_finds_nothing_better(
    tmp_path: Path, device: list[Gpu | None], found: int | None
) -> None:
    build = Builder()
    engines.engine_of(artifact(tmp_path / "m.onnx"), tmp_path / "m.engine", WANTED, build, lambda _: found)
    assert len(build.asked) == len(device)


def test_a_batch_that_is_named_and_a_machine_without_a_gpu_need_no_sweep(
    tmp_path: Path, device: list[Gpu | None]
) -> None:
    def never(_engine: Path) -> int:
        pytest.fail("there is nothing to sweep")

    named = engines.Wanted(precision="fp16", batches=(1, 64), best=16)
    engines.engine_of(artifact(tmp_path / "m.onnx"), tmp_path / "a.engine", named, Builder(), never)
    device[0] = None
    engines.engine_of(artifact(tmp_path / "m.onnx"), tmp_path / "b.engine", WANTED, Builder(), never)


def test_an_unchanged_engine_is_found_again_and_on_another_gpu_built_anew(
    tmp_path: Path, device: list[Gpu | None]
) -> None:
    onnx, out, build = artifact(tmp_path / "m.onnx"), tmp_path / "m.engine", Builder()
    first, _ = engines.engine_of(onnx, out, WANTED, build)
    again, skipped = engines.engine_of(onnx, out, WANTED, build)
    assert (again.sha256, skipped, len(build.asked)) == (first.sha256, True, 1)
    device[0] = None
    assert engines.engine_of(onnx, out, WANTED, build)[1] is False


def test_a_profile_says_how_an_engine_is_built(tmp_path: Path) -> None:
    asked = {"batches": "1..8", "best_batch": 4, "workspace_gib": 0.5, "level": 5, "timing_cache": tmp_path / "t"}
    profile = Profile.model_validate({"schema": 1, "name": "p", "export": {"tensorrt": asked}})
    how = engines.wanted(profile, "int8", [1, 8])
    assert (how.best, how.workspace_bytes, how.level, how.timing_cache) == (4, 2**29, 5, str(tmp_path / "t"))
    assert "timing_cache" not in how.as_dict()  # it shapes how long a build takes, not what comes of it


def test_only_an_onnx_for_tensorrt_is_built_before_a_bench(tmp_path: Path) -> None:
    onnx, engine = artifact(tmp_path / "m.onnx"), artifact(tmp_path / "m.engine", "tensorrt-engine")
    assert bench_engine.runnable(onnx, "onnx-cuda", [1], tmp_path) is onnx
    assert bench_engine.runnable(engine, "tensorrt", [1], tmp_path) is engine


def test_a_bench_without_a_gpu_says_what_was_built_all_the_same(
    tmp_path: Path, device: list[Gpu | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    build, device[0] = Builder(), None
    monkeypatch.setattr("deploytk.worker.call", lambda _function, what, **_how: build(**what))
    onnx = artifact(tmp_path / "m.onnx")
    (tmp_path / "out" / "engines").mkdir(parents=True)
    with pytest.raises(MissingDependency, match=r"built with TensorRT 10.16 in 1.0 s .*; not executed: the runtime"):
        bench_engine.runnable(onnx, "tensorrt", [1, 8], tmp_path / "out")
    assert build.asked[0]["precision"] == "fp16"


# ---- the export on a GPU ------------------------------------------------------------------------------------------


class Steps:
    """The steps of an export whose every model has the same metric, and an engine the given one."""

    def __init__(self, folder: Path, precision: str, engine_metric: float) -> None:
        self.profile = Profile.model_validate(
            {"schema": 1, "name": "p", "export": {"target": "tensorrt", "precision": precision}}
        )
        self.run = SimpleNamespace(tensorrt=folder, logs=folder / "logs")
        self.source = artifact(folder / "model.pt", "pt", "fp32", metrics={"mAP50": 0.8})
        self.skipped: dict[str, bool] = {}
        self.listen, self.engine_metric, self.build = None, engine_metric, Builder()

    def proved(self, made: Artifact, runtime: str) -> Artifact:
        assert runtime == "tensorrt"
        metric = self.engine_metric if made.format == "tensorrt-engine" else 0.8
        return with_metric(made, metric)

    def call(self, _function: str, _name: str, **what: Any) -> dict[str, Any]:
        return self.build(**what)


def with_metric(made: Artifact, metric: float) -> Artifact:
    return replace(made, metrics={"mAP50": metric}, settings={**made.settings, "agreement": {}})


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Contract and agreement hold; the ONNX of each precision is there."""
    checks = export_tensorrt.proof.Checks
    monkeypatch.setattr(checks, "contract", lambda *_given: None)
    monkeypatch.setattr(checks, "agreement", lambda *_given: None)
    monkeypatch.setattr(export_tensorrt, "exported_onnx", lambda s: with_metric(artifact(s.run.tensorrt / "o"), 0.8))
    monkeypatch.setattr(export_tensorrt, "_typed", lambda s, *_: with_metric(artifact(s.run.tensorrt / "h"), 0.8))
    monkeypatch.setattr(export_tensorrt, "_swept", lambda *_given: None)
    monkeypatch.setattr(export_tensorrt, "real_inputs", lambda *_given: Path("inputs.npz"))
    int8 = lambda s, *_given: (with_metric(artifact(s.run.tensorrt / "int8.onnx", "onnx", "int8"), 0.8),)  # noqa: E731
    monkeypatch.setattr(export_tensorrt, "quantized", int8)


@pytest.mark.usefixtures("proofs")
@pytest.mark.parametrize(("metric", "code"), [(0.8, 0), (0.5, 8)])
def test_on_a_gpu_the_engine_itself_must_keep_the_accuracy(
    tmp_path: Path, device: list[Gpu | None], metric: float, code: int
) -> None:
    report = export_tensorrt.export_tensorrt(Steps(tmp_path, "fp16", metric))  # type: ignore[arg-type]
    assert (report.exit_code, report.artifact and report.artifact.format) == (code, "tensorrt-engine")
    assert device[0] is not None


@pytest.mark.usefixtures("proofs", "device")
@pytest.mark.parametrize(("verdict", "code"), [("faster", 0), ("undecided", 0), ("slower", 8)])
def test_int8_that_is_slower_than_float16_on_the_gpu_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str, code: int
) -> None:
    told = {"verdict": verdict, "ratio": 1.3}
    monkeypatch.setattr(export_tensorrt.speed, "beside_float", lambda *_given: told)
    report = export_tensorrt.export_tensorrt(Steps(tmp_path, "int8", 0.8))  # type: ignore[arg-type]
    assert report.exit_code == code
    assert ("1.30 times as long as float16" in " ".join(report.verdict.reasons)) is (verdict == "slower")


@pytest.mark.usefixtures("proofs")
def test_without_a_gpu_what_was_built_is_said_not_to_have_run(tmp_path: Path, device: list[Gpu | None]) -> None:
    device[0] = None
    report = export_tensorrt.export_tensorrt(Steps(tmp_path, "fp16", 0.8))  # type: ignore[arg-type]
    assert (report.exit_code, report.verdict.status) == (6, "inconclusive")
    assert report.verdict.reasons[0].endswith("not executed: there is no NVIDIA driver here")
