"""`check` gives the right answer on real models, and one clear error on everything that is none."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_graphs import WEIGHT, model

from deploytk import profile_loading
from deploytk.artifact import Artifact
from deploytk.errors import InputError
from deploytk.report import Report
from deploytk.stages import check_placement
from deploytk.stages.check import check
from deploytk.stages.run_folder import RunFolder

NPU = profile_loading.load_npu("ethos-u55-256").model_dump(mode="json")
TINY = "mlperf_tiny/benchmark/training"
FLOAT = [
    f"{TINY}/image_classification/trained_models/pretrainedResnet.tflite",
    f"{TINY}/keyword_spotting/trained_models/kws_ref_model_float32.tflite",
    "tflm/examples/hello_world/models/hello_world_float.tflite",
]
INT8 = {
    "tflm/models/person_detect.tflite": 31,
    "coral/mobilenet_v1_0.25_128_quant.tflite": 31,
    f"{TINY}/image_classification/trained_models/pretrainedResnet_quant.tflite": 16,
    f"{TINY}/keyword_spotting/trained_models/kws_ref_model.tflite": 13,
    "tflm/examples/hello_world/models/hello_world_int8.tflite": 3,
    "tflm/examples/micro_speech/models/micro_speech_quantized.tflite": 4,
}
CONV = ("Conv", "x w", "c", {"pads": [1, 1, 1, 1]})


def verdict(report: Report) -> tuple[str, int]:
    return report.verdict.status, report.exit_code


def written(folder: Path, *nodes: Any) -> Path:
    path = folder / "m.onnx"
    onnx.save(model([CONV, *nodes], constants={"w": WEIGHT}), path)
    return path


@pytest.mark.parametrize("path", FLOAT)
def test_a_float_tflite_is_no_npu_model(data_dir: Path, path: str) -> None:
    report = check(data_dir / path)
    assert verdict(report) == ("fail", 5)
    assert "no operator would run on the NPU" in report.verdict.reasons[0]
    assert "deploytk export RUN --target npu" in report.verdict.reasons[0]
    assert report.sections["npu"]["ethos_score"] == 0
    assert report.sections["npu"]["time_ms"] is None


@pytest.mark.e2e
@pytest.mark.parametrize(("path", "ops"), INT8.items())
def test_an_int8_tflite_is_compiled_and_passes(data_dir: Path, tmp_path: Path, path: str, ops: int) -> None:
    report = check(data_dir / path, out=tmp_path)
    assert verdict(report) == ("pass", 0)
    assert (report.sections["npu"]["npu_ops"], report.sections["npu"]["cpu_ops"]) == (ops, 0)
    assert "(estimated)" in report.verdict.reasons[0]


@pytest.mark.e2e
def test_operators_that_vela_leaves_on_the_cpu_fail(data_dir: Path) -> None:
    report = check(data_dir / "tflm/examples/micro_speech/models/audio_preprocessor_int8.tflite", npu=NPU)
    assert verdict(report) == ("fail", 5)
    assert "19 of 22 operators stay on the CPU (0 allowed)" in report.verdict.reasons
    assert report.sections["npu"]["time_ms"] is None


def test_a_compiled_model_is_named_as_such(data_dir: Path) -> None:
    with pytest.raises(InputError, match="already compiled by Vela for the NPU; check the INT8 model from before Vela"):
        check(data_dir / "tflm/models/person_detect_vela.tflite")


def test_a_float_onnx_is_a_prediction_only(data_dir: Path) -> None:
    report = check(data_dir / "onnx_light/light/light_resnet50.onnx")
    assert verdict(report) == ("inconclusive", 4)
    assert "a float ONNX is not an NPU model by itself" in report.verdict.reasons[0]
    assert report.sections["contract"]["stages"][0]["sections"] == {"network": {"relu": 49}}
    assert len(report.artifact.sha256) == 64 if report.artifact else False


def test_a_qdq_onnx_is_a_prediction_too(data_dir: Path) -> None:
    report = check(data_dir / "mlperf_tiny_qdq_onnx/ic/K1_BOARD_V1.0/models/resnet.onnx")
    assert verdict(report) == ("inconclusive", 4)
    assert "an INT8 (QDQ) ONNX" in report.verdict.reasons[0]


def test_an_operator_that_no_npu_has_fails_and_is_named(data_dir: Path) -> None:
    report = check(data_dir / "onnx_light/light/light_inception_v1.onnx")
    assert verdict(report) == ("fail", 5)
    assert "LOCAL_RESPONSE_NORMALIZATION" in " ".join(report.verdict.reasons)


def test_custom_domains_are_named(data_dir: Path) -> None:
    [path] = (data_dir / "ort_examples").rglob("*superresolution*.onnx")
    assert "com.microsoft.extensions.DecodeImage" in " ".join(check(path).verdict.reasons)


def test_a_profile_makes_the_contract_decide(tmp_path: Path) -> None:
    relu, silu = profile_loading.load("npu-level4-relu"), profile_loading.load("npu-silu")
    path = written(tmp_path, ("Relu", "c", "y"))
    assert verdict(check(path, profile=relu)) == ("pass", 0)
    report = check(path, profile=silu)
    assert verdict(report) == ("fail", 5)
    assert "1 of 1 activations are relu instead of silu: Relu_1" in report.verdict.reasons[0]
    assert report.sections["contract"]["expected"] == {"backbone": "silu", "neck": "silu", "head": "silu"}
    assert report.sections["contract"]["stages"][0]["offenders"][0]["node"] == "Relu_1"


def test_with_a_profile_placement_is_asked_for_by_npu(tmp_path: Path) -> None:
    path = written(tmp_path, ("Relu", "c", "r"), ("Sin", "r", "y"))
    relu = profile_loading.load("npu-level4-relu")
    report = check(path, profile=relu)
    assert verdict(report) == ("pass", 0)
    assert {f.severity for f in report.findings} == {"warning"}
    assert verdict(check(path, profile=relu, npu=NPU)) == ("fail", 5)


def test_a_network_without_activations_fails(tmp_path: Path) -> None:
    report = check(written(tmp_path, ("Add", "c c", "y")))
    assert verdict(report) == ("fail", 5)
    assert "no activation found in 1 convolutions" in report.verdict.reasons[0]


def test_cpu_operators_and_no_time_are_judged_without_a_time() -> None:
    facts = {"npu_ops": 9, "cpu_ops": 1, "ethos_score": 90.0, "accelerator": "a", "time_ms": None, "findings": []}
    assert check_placement.judge(facts, max_cpu_ops=1, min_score=0)[0] == [
        "Ethos score 90.0 on a: 9 of 10 operators on the NPU, no time while an operator is on the CPU"
    ]
    assert "1 of 10" in check_placement.judge(facts, max_cpu_ops=0, min_score=0)[1][0]
    assert "under 95" in check_placement.judge(facts, max_cpu_ops=1, min_score=95)[1][0]
    none = {**facts, "npu_ops": 0, "cpu_ops": 10, "ethos_score": 0.0}
    assert check_placement.judge(none, max_cpu_ops=10, min_score=0)[1] == ["no operator would run on the NPU"]


def test_nothing_is_left_behind(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    check(data_dir / FLOAT[0])
    with pytest.raises(InputError):
        check(data_dir / "tflm/models/person_detect_vela.tflite")
    assert not list(tmp_path.iterdir())


def bad_files(data_dir: Path) -> list[Path]:
    found = [p for p in (data_dir / "bad").rglob("*") if p.is_file()]
    return [*found, data_dir / "coral/invalid_models/model_invoking_error.tflite", data_dir / "coral/cat.bmp"]


def test_every_bad_file_is_one_input_error(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle was loaded")

    monkeypatch.setattr(pickle, "load", never)
    monkeypatch.setattr(pickle, "loads", never)
    for path in bad_files(data_dir):
        with pytest.raises(InputError, match=r".") as caught:
            check(path, trust=True, out=tmp_path)
        assert str(path) in caught.value.message
        assert len(caught.value.message.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["picklescan/malicious0.pkl", "lfs_pointer/object_detection/yolo-fastest_192_face_v4.tflite"]
)
def test_the_command_ends_with_exit_2_and_no_traceback(data_dir: Path, tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-m", "deploytk.cli.main", "check", str(data_dir / "bad" / name), "--json", "--trust"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, check=False)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    assert (done.returncode, told["exit_code"], told["verdict"]) == (2, 2, "fail")
    assert len(done.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_run_whose_model_was_swapped_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}))
    Artifact.record(tmp_path / "model.pt", format="pt", precision="fp32", made_by="train")
    RunFolder(tmp_path).save_profile(profile_loading.load("quickstart"))
    with (tmp_path / "model.pt").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(InputError, match="changed since deploytk made it"):
        check(tmp_path)


def test_a_folder_is_told_from_a_run_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        check(tmp_path)
    (tmp_path / "profile.json").write_text(profile_loading.load("npu-silu").model_dump_json(by_alias=True))
    with pytest.raises(InputError, match="training has not finished here"):
        check(tmp_path)


def zip_bytes(folder: Path) -> bytes:
    path = folder / "z.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"format": "x"}, 2))
        archive.writestr("archive/version", "3")
    return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_prefix_of_a_model_is_an_input_error_or_an_answer(
    data: st.DataObject, data_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("prefix")
    source = data.draw(st.sampled_from(["tflite", "onnx", "zip"]))
    whole = {
        "tflite": lambda: (data_dir / FLOAT[2]).read_bytes(),
        "onnx": lambda: (data_dir / "onnx_light/light/light_squeezenet.onnx").read_bytes(),
        "zip": lambda: zip_bytes(folder),
    }[source]()
    path = folder / "model.bin"
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    try:
        report = check(path, out=folder / "out")
    except InputError as error:
        assert str(path) in error.message
    else:
        assert report.verdict.status != "pass"
