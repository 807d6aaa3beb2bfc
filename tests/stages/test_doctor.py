"""Doctor says what is there, and what to type where something is not."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata, util
from typing import Any

import pytest
from click.testing import CliRunner

from deploytk import plugins
from deploytk.cli.doctor import doctor as command
from deploytk.errors import InputError
from deploytk.stages import doctor as stage
from deploytk.stages.doctor import doctor

ON_A_GPU = ["onnx-cuda", "onnx-tensorrt", "torch-cuda", "torch-compile-cuda", "tensorrt"]


def row(report: Any, section: str, key: str, value: str) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in report.sections[section] if r[key] == value)
    return found


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No library can be found and no distribution has a version."""
    monkeypatch.setattr(util, "find_spec", lambda _name: None)

    def no_version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", no_version)


def test_an_installation_is_told_with_exit_0_whatever_is_missing(nothing_installed: None) -> None:  # noqa: ARG001
    report = doctor()
    assert (report.verdict.status, report.exit_code) == ("pass", 0)
    assert row(report, "extras", "extra", "npu")["install"] == "pip install 'deploytk[npu]'"
    assert row(report, "distributions", "distribution", "onnxruntime")["installed"] == "not installed"


@pytest.mark.parametrize(("target", "extra"), [("onnx", "onnx"), ("npu", "npu")])
def test_a_target_whose_libraries_are_missing_is_exit_6_with_the_line_to_type(
    nothing_installed: None,  # noqa: ARG001
    target: str,
    extra: str,
) -> None:
    report = doctor(target)
    assert (report.verdict.status, report.exit_code) == ("fail", 6)
    assert f"pip install 'deploytk[{extra}]'" in report.verdict.reasons[0]


def test_every_runtime_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda _library: True)
    monkeypatch.setattr(stage, "_gpu", lambda: "")
    monkeypatch.setattr(stage.shutil, "which", lambda _name: "/somewhere")
    told = {r["runtime"]: r["usable"] for r in doctor().sections["runtimes of the bench"]}
    assert set(plugins.TABLES["runtimes"]) <= set(told)
    assert {name for name in plugins.TABLES["runtimes"] if not told[name]} == set(ON_A_GPU)


@pytest.mark.parametrize("name", ON_A_GPU)
def test_a_runtime_of_the_gpu_without_one_is_exit_6(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda _library: True)
    monkeypatch.setattr(stage, "_gpu", lambda: "")
    report = doctor(name)
    assert report.exit_code == 6
    assert report.verdict.reasons == (f"{name}: cannot run: no NVIDIA GPU or driver on this machine",)


def test_a_gpu_is_not_enough_for_an_onnx_runtime_without_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda _library: True)
    monkeypatch.setattr(stage, "_gpu", lambda: "NVIDIA H200")
    monkeypatch.setattr(stage, "versions_of", lambda *names: dict.fromkeys(names, "not installed"))
    for name in ("onnx-cuda", "onnx-tensorrt"):
        assert "has no CUDA provider; pip uninstall" in doctor(name).verdict.reasons[0]
    assert doctor("torch-cuda").verdict.reasons == ("torch-cuda: runs on NVIDIA H200",)


@pytest.mark.parametrize(("name", "extra"), [("openvino", "openvino"), ("tensorrt", "tensorrt"), ("torch", "yolo")])
def test_a_runtime_whose_library_is_missing_is_exit_6_with_the_line_to_type(
    nothing_installed: None,  # noqa: ARG001
    name: str,
    extra: str,
) -> None:
    report = doctor(name)
    assert report.exit_code == 6
    assert f"pip install 'deploytk[{extra}]'" in report.verdict.reasons[0]


def test_a_name_of_a_target_and_a_runtime_needs_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda _library: True)
    for gpu, code in (("", 6), ("NVIDIA H200", 0)):
        monkeypatch.setattr(stage, "_gpu", lambda gpu=gpu: gpu)
        report = doctor("tensorrt")
        rows = (
            row(report, "targets", "target", "tensorrt"),
            row(report, "runtimes of the bench", "runtime", "tensorrt"),
        )
        assert (report.exit_code, [r["usable"] for r in rows]) == (code, [True, bool(gpu)])


def test_compiling_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda _library: True)
    monkeypatch.setattr(stage.shutil, "which", lambda _name: None)
    assert doctor("torch-compile").verdict.reasons == (
        "torch-compile: cannot run: no C++ compiler on the PATH; install g++ or clang++",
    )


def test_an_unknown_target_is_an_input_error_with_a_suggestion() -> None:
    with pytest.raises(InputError, match="did you mean 'npu'"):
        doctor("npuu")


def test_npu_is_never_said_to_run_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda _library: True)
    monkeypatch.setattr(stage, "_clashing", lambda: False)
    report = doctor("npu")
    assert report.exit_code == 0
    assert "estimates only" in report.verdict.reasons[0]


def test_two_onnxruntime_wheels_are_an_error_and_no_target_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda _library: True)
    monkeypatch.setattr(metadata, "version", lambda _name: "1.0")
    report = doctor("onnx")
    assert report.exit_code == 6
    assert [f.rule for f in report.findings if f.severity == "error"] == ["DOC001"]
    assert "pip uninstall" in report.findings[0].fix


def test_an_extra_has_what_the_extras_inside_it_have(monkeypatch: pytest.MonkeyPatch) -> None:
    told = ["click>=8.2", 'onnx>=1.18; extra == "onnx"', 'deploytk[litert,onnx]; extra == "npu"', "!! an odd line"]
    told += ["ai-edge-litert==2.3.*; extra == 'litert'", 'torch<2.15 ; extra == "npu"', 'deploytk[npu]; extra == "all"']
    monkeypatch.setattr(metadata, "requires", lambda _name: told)
    assert stage._extras()["npu"] == {"torch": "<2.15", "ai-edge-litert": "==2.3.*", "onnx": ">=1.18"}
    assert "all" not in stage._extras()
    assert stage._base() == ["click"]


def test_a_busy_machine_and_a_lazy_governor_are_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_load", lambda: (64.0, 1.0, 1.0))
    machine = stage.Machine(cpu="x", cores=2, memory_gib=8, system="s", python="3", governor="powersave")
    assert {"DOC002", "DOC003"} <= {f.rule for f in stage._findings(machine)}


def test_a_gpu_driver_that_does_not_answer_is_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.shutil, "which", lambda _name: "/nowhere/nvidia-smi")
    assert stage._nvidia_smi() == "nvidia-smi is there but does not answer"


def test_nothing_heavy_is_imported_to_find_out() -> None:
    heavy = ("torch", "onnx", "onnxruntime", "ultralytics", "ethosu", "litert_torch", "matplotlib")
    code = "import sys; from deploytk.stages.doctor import doctor; doctor()"
    code += f"; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_ends_with_the_exit_code_and_one_json_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_importable", lambda _library: False)
    done = CliRunner().invoke(command, ["--target", "tensorrt", "--json"])
    told = json.loads(done.stdout.splitlines()[-1])
    assert (done.exit_code, told["exit_code"], told["verdict"]) == (6, 6, "fail")


def test_the_command_for_people_names_targets_and_machine() -> None:
    done = CliRunner().invoke(command, [])
    assert done.exit_code == 0
    assert "npu" in done.stdout
    assert "disk free here" in done.stdout
