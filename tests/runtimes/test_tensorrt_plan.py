"""Engines that cannot run here: explained by their lineage before TensorRT is asked, by TensorRT's words where not."""

from __future__ import annotations

import json
import types
from pathlib import Path
from typing import Any

import fake_tensorrt
import pytest
import tiny_onnx
from fake_tensorrt import FakeTensorRt, engine_file

from deploytk.artifact import Artifact, sidecar
from deploytk.errors import InputError
from deploytk.graphs import identify
from deploytk.runtimes import tensorrt, tensorrt_library, tensorrt_plan
from deploytk.runtimes.tensorrt_lineage import Built, Here, built, require_runs_here
from deploytk.runtimes.tensorrt_words import explained

ENGINE = {
    "library": "tensorrt",
    "version": "10.16.1.11",
    "gpu": "NVIDIA H200",
    "compute_capability": "9.0",
    "driver": "580.95.05",
    "onnx_sha256": "ab" * 32,
    "host_code": False,
    "profiles": [{"min": 1, "opt": 1, "max": 1}],
}
HERE = Here(library="tensorrt", version="10.16.1.11", compute_capability="9.0")


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRt:
    return fake_tensorrt.install(monkeypatch)


def with_lineage(path: Path, plan: dict[str, Any] | None = None, **differs: Any) -> Path:
    engine_file(path, **(plan or {}))
    settings = {"engine": {**ENGINE, **differs}}
    Artifact.record(path, format="tensorrt-engine", precision="fp16", made_by="export", settings=settings)
    return path


def opened(path: Path, **options: str) -> tensorrt.TensorRtSession:
    return tensorrt.open_session(path, batch=1, threads=None, options=options)


# ---- by its lineage -----------------------------------------------------------------------------------------------


def test_what_was_written_down_is_read_back(tmp_path: Path) -> None:
    told = built(with_lineage(tmp_path / "m.engine", host_code=True))
    assert told == Built(
        library="tensorrt", version="10.16.1.11", compute_capability="9.0", gpu="NVIDIA H200", driver="580.95.05",
        onnx_sha256="ab" * 32, host_code=True, precision="fp16",
    )  # fmt: skip


def test_an_engine_without_lineage_or_of_another_step_is_a_foreign_one(tmp_path: Path) -> None:
    path = engine_file(tmp_path / "m.engine")
    assert built(path) is None
    Artifact.record(path, format="tensorrt-engine", precision="unknown", made_by="given")
    assert built(path) is None


@pytest.mark.parametrize(
    "engine", [{"library": "tensorrt"}, {**ENGINE, "library": "onnx"}, {**ENGINE, "version": "x"}, 3]
)
def test_a_damaged_lineage_is_one_sentence(tmp_path: Path, engine: Any) -> None:
    path = with_lineage(tmp_path / "m.engine")
    told = json.loads(sidecar(path).read_text())
    sidecar(path).write_text(json.dumps({**told, "settings": {"engine": engine}}))
    with pytest.raises(InputError, match=r"m\.engine\.json: damaged lineage .*; build the engine again"):
        built(path)


def test_another_version_or_gpu_is_told_before_tensorrt_is_asked(tmp_path: Path, trt: FakeTensorRt) -> None:
    path = with_lineage(tmp_path / "m.engine", version="10.3.0", compute_capability="8.6")
    with pytest.raises(InputError) as caught:
        opened(path)
    assert trt.asked == 0
    assert caught.value.message == (
        f"{path}: built by TensorRT 10.3.0 for compute capability 8.6; this machine has TensorRT 10.16.1 and 9.0; "
        "build it here: deploytk export RUN --target tensorrt"
    )


def test_an_engine_of_the_other_library_is_told_with_both_names(tmp_path: Path, trt: FakeTensorRt) -> None:
    path = with_lineage(tmp_path / "m.engine", library="tensorrt_rtx", version="1.7.1.116", compute_capability=None)
    with pytest.raises(InputError, match=r"built by TensorRT-RTX 1\.7\.1; this machine has TensorRT 10\.16\.1; build"):
        opened(path)
    assert trt.asked == 0


def test_an_engine_that_was_built_here_runs_and_says_its_precision(tmp_path: Path, trt: FakeTensorRt) -> None:
    told = opened(with_lineage(tmp_path / "m.engine")).details
    assert trt.asked == 1 and told["precision"] == "fp16 (as it was built)"


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"precision": "float16 (62 of 65 weighted operators), float32 (3)", "tf32": False}, "float32 (3)"),
        ({"precision": "float32", "tf32": True}, "float32, in TF32 where that is faster"),
        ({"precision": "float16", "tf32": True}, "float16"),
    ],
)
def test_the_precision_is_the_one_that_was_counted_when_it_was_built(
    tmp_path: Path, engine: dict[str, Any], words: str
) -> None:
    told = built(with_lineage(tmp_path / "m.engine", **engine))
    assert told and told.computes_in.endswith(f"{words} (as it was built)")


@pytest.mark.parametrize(
    ("engine", "runs"),
    [
        ({"version": "10.16.1.12"}, True),  # another build of the same version
        ({"version": "10.16.2.11"}, False),
        ({"version": "10.3.0", "host_code": True}, True),  # version-compatible: TensorRT decides
        ({"version": "11.0.0", "host_code": True}, False),  # none runs on an older major
        ({"version": "10.16.1.11", "compute_capability": None}, True),
        ({"version": "10.16.1.11", "compute_capability": "8.9"}, False),
        ({"version": "10.3.0", "host_code": True, "compute_capability": "8.9"}, False),
    ],
)
def test_which_engines_are_left_to_tensorrt(engine: dict[str, Any], runs: bool) -> None:
    told = Built(**{"library": "tensorrt", "compute_capability": "9.0", **engine})
    if runs:
        require_runs_here(Path("m.engine"), told, HERE)
    else:
        with pytest.raises(InputError, match="build it here"):
            require_runs_here(Path("m.engine"), told, HERE)


# ---- host code ----------------------------------------------------------------------------------------------------


def test_host_code_is_refused_by_the_lineage_and_runs_when_it_is_trusted(tmp_path: Path, trt: FakeTensorRt) -> None:
    path = with_lineage(tmp_path / "m.engine", {"host_code": True}, host_code=True)
    with pytest.raises(InputError, match=r"m\.engine: holds host code .*; give --trust"):
        opened(path)
    assert trt.asked == 0
    assert opened(path, trust="yes").details["provider"] == "tensorrt"


def test_host_code_of_a_foreign_engine_is_refused_in_the_same_words(tmp_path: Path, trt: FakeTensorRt) -> None:
    path = engine_file(tmp_path / "m.engine", host_code=True)
    with pytest.raises(InputError, match=r"m\.engine: holds host code .*; give --trust"):
        opened(path)
    assert trt.asked == 1
    opened(path, trust="yes")


# ---- in TensorRT's words ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("complaint", "said"),
    [
        (
            "IRuntime::deserializeCudaEngine: Error Code 6: API Usage Error (The engine plan file is not compatible "
            "with this version of TensorRT, expecting library version 10.16.1.11 got 10.3.0.30, please rebuild.)",
            "built by TensorRT 10.3.0.30, and this machine has 10.16.1.11; build it here",
        ),
        (
            "The engine plan file is not compatible with this version of TensorRT, expecting library version "
            "10.12.0.36 got ., please rebuild.",
            "no plan that TensorRT 10.12.0.36 knows; build it here",
        ),
        (
            "The engine plan file is generated on an incompatible device, expecting compute 7.5 got compute 8.6, "
            "please rebuild.",
            "built for compute capability 8.6, and this GPU has 7.5; build it here",
        ),
        (
            "Version tag does not match. Note: Current Version: 239, Serialized Engine Version: 236",
            "built by another version of TensorRT (its format is 236, this machine's is 239); build it here",
        ),
        ("Unexpected call to stub loadRunner", "the lean one, which reads version-compatible engines only"),
        ("TensorRT-RTX does not support this compute capability", "built for another kind of GPU"),
        ("cudaError 35: CUDA driver version is insufficient for CUDA runtime version", "the NVIDIA driver is too old"),
        ("Assertion !mPlan failed.", "TensorRT cannot read it (Assertion !mPlan failed.); build it here"),
    ],
)
def test_a_complaint_becomes_a_sentence(complaint: str, said: str) -> None:
    told = explained(["something before", complaint])
    assert said in told and "{" not in told


def test_a_silent_failure_says_so() -> None:
    assert "(it does not say why)" in explained([])


def test_a_foreign_engine_that_cannot_be_read_is_one_sentence(tmp_path: Path, trt: FakeTensorRt) -> None:
    path = engine_file(tmp_path / "m.engine", says="expecting compute 7.5 got compute 8.6, please rebuild.")
    with pytest.raises(InputError, match=r"m\.engine: built for compute capability 8\.6, and this GPU has 7\.5"):
        opened(path)
    assert trt.asked == 1 and tensorrt_library.complaints() == []


def test_an_engine_of_tensorrt_rtx_is_not_given_to_tensorrt(tmp_path: Path, trt: FakeTensorRt) -> None:
    path = tmp_path / "m.engine"
    path.write_bytes(b"vtrt" + bytes(60))
    with pytest.raises(InputError, match=r"an engine of TensorRT-RTX; this machine has TensorRT 10\.16\.1\.11; build"):
        opened(path)
    assert trt.asked == 0


# ---- the real library, which reads headers without a GPU ----------------------------------------------------------


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")


@pytest.fixture(scope="module")
def rtx_plan(rtx: Any, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A plan of the real library, with two profiles."""
    model = tiny_onnx.conv(tmp_path_factory.mktemp("rtx") / "m.onnx")
    says = tensorrt_library.logger(rtx)
    builder = rtx.Builder(says)
    network = builder.create_network(0)
    parser = rtx.OnnxParser(network, says)
    assert parser.parse_from_file(str(model))
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    profile.set_shape("x", (1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))
    config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))


def test_a_real_plan_is_known_by_its_first_bytes_and_so_is_its_library(rtx: Any, rtx_plan: bytes) -> None:
    other: Any = types.ModuleType("tensorrt")
    assert tensorrt_plan._kind(Path("m.engine"), rtx_plan, [other, rtx]) is rtx
    assert identify.engine_start(rtx_plan) == 0


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda plan: plan[:200], "cut short: its plan is longer than the file"),
        (lambda plan: b"ftrt" + plan[4:], "built by another kind or version of TensorRT"),
    ],
)
def test_the_real_librarys_complaint_about_a_damaged_plan_is_understood(
    rtx: Any, rtx_plan: bytes, damage: Any, said: str
) -> None:
    with pytest.raises(InputError, match=f"m.engine: {said}"):
        tensorrt_plan._read(Path("m.engine"), damage(rtx_plan), rtx, trust=False, known=None)


def test_the_fake_has_nothing_that_the_real_library_does_not_have(rtx: Any) -> None:
    for fake, real in ((fake_tensorrt.Engine, rtx.ICudaEngine), (fake_tensorrt.Context, rtx.IExecutionContext)):
        public = [name for name in vars(fake) if not name.startswith("_")]
        assert public and [name for name in public if not hasattr(real, name)] == []
    assert rtx.TensorLocation.DEVICE and rtx.TensorIOMode.INPUT and rtx.nptype(rtx.float16)
    assert rtx.Runtime(tensorrt_library.logger(rtx)).engine_host_code_allowed is False
    with pytest.raises(TypeError):
        rtx.nptype(rtx.bfloat16)
