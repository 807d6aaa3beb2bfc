"""What we call of TensorRT is there in every version that we say we support, by the lists of the real bindings."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tensorrt_contract import every, lacking, script, used

import deploytk

PACKAGE = Path(deploytk.__file__).parent
SOURCES = sorted([*PACKAGE.glob("runtimes/tensorrt*.py"), *PACKAGE.glob("targets/tensorrt/*.py")])


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_name_we_use_is_in_every_version(path: Path) -> None:
    assert lacking(path.read_text(encoding="utf-8")) == []


def test_the_sources_are_looked_at_and_use_something() -> None:
    names = {name for path in SOURCES for name in used(path.read_text(encoding="utf-8"))}
    assert {"Runtime", "ICudaEngine.get_tensor_name", "IExecutionContext.execute_async_v3", "ILogger"} <= names


def test_the_lists_are_of_the_versions_that_are_promised() -> None:
    assert [names.title for names in every()] == [
        "tensorrt 10.16.1.11", "tensorrt 10.3.0", "tensorrt 11.4.0.106", "tensorrt_rtx 1.7.1.116",
    ]  # fmt: skip
    for names in every():
        assert names.has("Builder.build_serialized_network")
        assert names.has("IConvolutionLayer.get_output")  # from ILayer
        assert not names.has("Builder.build_engine")
        assert not names.has("NoSuchClass.name")


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("config.set_flag(trt.BuilderFlag.FP16)", "BuilderFlag.FP16"),
        ("config.set_flag(trt.BuilderFlag.INT8)", "BuilderFlag.INT8"),
        ("flag = trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH", "NetworkDefinitionCreationFlag.EXPLICIT_BATCH"),
        ("class C(trt.IInt8EntropyCalibrator2): ...", "IInt8EntropyCalibrator2"),
        ("config.int8_calibrator = None", "IBuilderConfig.int8_calibrator"),
        ("builder.platform_has_fast_fp16", "Builder.platform_has_fast_fp16"),
        ("self._engine.device_memory_size", "ICudaEngine.device_memory_size"),
        ("getattr(trt, 'IInt8Calibrator')", "IInt8Calibrator"),
        ("made = builder.create_builder_config(); made.algorithm_selector", "IBuilderConfig.algorithm_selector"),
        ("made = trt.Builder(log); made.platform_has_tf32", "Builder.platform_has_tf32"),
        ("network.get_layer(0).precision", "ILayer.precision"),
        ("def f(engine: Any, trt: ModuleType): engine.has_implicit_batch_dimension", "has_implicit_batch_dimension"),
        ("engine = must(runtime.deserialize_cuda_engine(plan), path); engine.no_such", "ICudaEngine.no_such"),
        ("class C:\n  def __init__(self, engine: Any): self._engine = engine\n  def f(self): self._engine.odd", "odd"),
        ("held.runtime.get_engine_validity(plan)", "Runtime.get_engine_validity"),
    ],
)  # fmt: skip
def test_a_name_that_some_version_lacks_is_caught(line: str, name: str) -> None:
    [told] = lacking(f"import tensorrt as trt; trt.Logger\n{line}")
    assert told.startswith("line ")
    assert name in told


@pytest.mark.parametrize(
    "line",
    [
        "getattr(trt.BuilderFlag, 'FP16', None)",
        "f = lambda: 0\ndef f(profile: Profile): return profile.latency_budget",
        "try: ...\nexcept OSError as error: error.strerror",
        "config: Settings = read(); config.folder",
        "config = read(); trt.Builder(log).create_network(0).num_layers",
        "trt.__version__.startswith('10.')",
        "cache = Path(timings); cache = cache if cache.suffix else path_for(cache, trt); cache.suffix",
        "class C:\n  def __init__(self, engine: Loaded): self._engine = engine\n  def f(self): self._engine.path",
    ],
)
def test_a_guarded_name_and_a_thing_of_our_own_are_left_alone(line: str) -> None:
    assert lacking(f"trt.Logger\n{line}") == []


@pytest.mark.e2e
def test_a_list_made_again_is_the_one_that_is_kept() -> None:
    names = script()
    version = "11.4.0.106"
    try:
        made = names.names_of(version)
    except FileNotFoundError as error:
        pytest.skip(f"{error} is not there to compile the stand-in libraries")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no bindings of TensorRT {version} for this Python: {str(error.stderr)[-200:]}")
    assert made == next(n._own for n in every() if n.title == f"tensorrt {version}")


def test_the_list_of_the_tensorrt_that_is_installed_is_the_one_that_is_kept() -> None:
    pytest.importorskip("tensorrt_rtx")
    version, made = script().installed()
    kept = {n.title: n._own for n in every()}
    if f"tensorrt_rtx {version}" not in kept:
        pytest.skip(f"TensorRT-RTX {version} is installed, and no list of it is kept")
    assert made == kept[f"tensorrt_rtx {version}"]
