"""What the bench does for runtimes of a GPU: the sentence where there is none, the GPU's own time, trust."""

from __future__ import annotations

from pathlib import Path

import fake_tensorrt
import pytest
import tiny_onnx
import torch
from click.testing import CliRunner
from fake_tensorrt import engine_file
from test_bench import EASY, fake, hurried, model_that, rows, run  # noqa: F401

from deploytk import plugins
from deploytk.cli.main import cli
from deploytk.errors import EXIT_MISSING, MissingDependency
from deploytk.report.content_bench import bench_block
from deploytk.report.plots_bench import parts
from deploytk.stages import bench as stage
from deploytk.stages import bench_point
from deploytk.stages.bench_child import Child

NO_GPU = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
ON_A_GPU = [name for name in plugins.TABLES["runtimes"] if name.endswith(("cuda", "tensorrt"))]


def model_for(runtime: str, folder: Path) -> Path:
    if runtime == "tensorrt":
        return engine_file(folder / "m.engine")
    if runtime.startswith("onnx"):
        return tiny_onnx.conv(folder / "m.onnx")
    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(2, 3),), dynamic_shapes=({0: torch.export.Dim("b")},))
    torch.export.save(program, folder / "m.pt2")
    return folder / "m.pt2"


@NO_GPU
@pytest.mark.parametrize("runtime", ON_A_GPU)
def test_without_a_gpu_a_bench_is_one_sentence_and_exit_6_with_nothing_written(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_point, "BatchProcess", lambda *_: pytest.fail("a child was started"))
    out = tmp_path / "made" / "out"
    arguments = ["bench", str(model_for(runtime, tmp_path)), "--runtime", runtime, "--batches", "1..64:1"]
    done = CliRunner().invoke(cli, [*arguments, "--budget", "50ms", "--out", str(out)])
    assert done.exit_code == EXIT_MISSING and not out.parent.exists()
    assert done.output.count(f"the runtime {runtime} needs an NVIDIA GPU") == 1 and "Traceback" not in done.output


@NO_GPU
def test_a_comparison_and_a_load_say_it_too(tmp_path: Path) -> None:
    model = str(tiny_onnx.conv(tmp_path / "m.onnx"))
    for more in (["--runtime", "onnx", "--compare"], ["--scenario", "single-stream"]):
        out = tmp_path / "out"
        done = CliRunner().invoke(cli, ["bench", model, "--runtime", "onnx-cuda", *more, "--out", str(out)])
        assert done.exit_code == EXIT_MISSING and not out.exists(), done.output
        assert "the runtime onnx-cuda needs an NVIDIA GPU" in done.output


@pytest.mark.usefixtures("fake", "hurried")
def test_what_is_missing_in_the_child_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="the device that this needs is not here"):
        run(model_that(tmp_path, {1: "missing"}), [1, 2], runtime="fake")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("fake", "hurried")
def test_the_gpus_own_time_is_a_part_of_each_sample(tmp_path: Path) -> None:
    report = run(model_that(tmp_path, {1: "device"}), [1, 2], runtime="fake")
    with_clock, without = report.measurements
    device_ms = with_clock.parts_ms["device"]
    assert len(device_ms) == len(with_clock.samples_ms) and list(device_ms) == sorted(set(device_ms))
    assert without.parts_ms == {}
    assert set(rows(report)[1]["parts"]) == {"device"} and rows(report)[2]["parts"] == {}


@pytest.mark.parametrize("graph", ["off", "on"])
def test_an_engine_is_measured_with_the_gpus_own_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, graph: str
) -> None:
    """What the child does, in this process, on the fake TensorRT."""
    fake_tensorrt.install(monkeypatch)
    model = str(engine_file(tmp_path / "m.engine", profiles=[[1, 1, 1], [2, 8, 64]]))
    spec = {"model": model, "format": "tensorrt-engine", "runtime": "tensorrt", "batch": 4, "options": {"graph": graph}}
    child = Child(spec)
    assert child.open()["details"]["profile_batches"] == "2 to 64"
    child.warm(limit_s=0.1)
    said = child.block(calls=5)
    assert len(said["samples_ms"]) == 5 and said["parts_ms"] == {"device": [1.5] * 5}


@pytest.mark.usefixtures("fake", "hurried")
def test_the_report_has_a_table_of_it_and_no_figure_of_one_bar(tmp_path: Path) -> None:
    report = run(model_that(tmp_path, {1: "device"}), [1], runtime="fake")
    tables = [table for block in bench_block(report) for table in block.tables]
    shown = next(table for table in tables if "device ms" in table.columns)
    assert shown.columns == ("batch", "device ms") and len(shown.rows) == 1
    assert parts(report) is None


@pytest.mark.usefixtures("fake", "hurried")
def test_trust_reaches_a_runtime_that_knows_of_it_and_no_other(tmp_path: Path) -> None:
    path = model_that(tmp_path, {})
    for trust, options in ((True, {"trust": "yes"}), (False, {})):
        report = run(path, [1], runtime="fake", trust=trust)
        assert report.measurements[0].details["options"] == options
    assert stage.spec_of(stage.artifact_of(path), runtime="onnx", trust=True)["options"] == {}


def test_trust_is_an_option_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []

    def bench(*_model: object, **told: object) -> None:
        heard.append(told["trust"])
        raise MissingDependency("enough")

    monkeypatch.setattr(stage, "bench", bench)
    model = str(tiny_onnx.conv(tmp_path / "m.onnx"))
    for more in (["--trust"], []):
        CliRunner().invoke(cli, ["bench", model, *more, "--out", str(tmp_path / "out")])
    assert heard == [True, False]
