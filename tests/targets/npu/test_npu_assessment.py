"""Assessments by the real Vela (under a second each): real models, hand-made ones, and what must be refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_litert

from deploytk.errors import DeploytkError, InputError, StepFailed
from deploytk.files import sha256_of
from deploytk.profile_loading import load_npu
from deploytk.targets import npu
from deploytk.targets.npu import vela
from deploytk.targets.npu.flatbuffer import normalise

IC = "mlperf_tiny/benchmark/training/image_classification/trained_models"
KWS = "mlperf_tiny/benchmark/training/keyword_spotting/trained_models"
U55 = load_npu("ethos-u55-256").model_dump()


def assessed(model: Path, out: Path, **changed: Any) -> dict[str, Any]:
    result: dict[str, Any] = npu.assess(str(model), {**U55, **changed}, str(out))
    return result


def rules(told: dict[str, Any], severity: str) -> set[str]:
    return {f["rule"] for f in told["findings"] if f["severity"] == severity}


@pytest.mark.parametrize(
    "name",
    [
        f"{IC}/pretrainedResnet_quant.tflite",
        f"{KWS}/kws_ref_model.tflite",
        "tflm/models/person_detect.tflite",
        "tflm/examples/micro_speech/models/micro_speech_quantized.tflite",
        "tflm/examples/hello_world/models/hello_world_int8.tflite",
        "coral/mobilenet_v1_0.25_128_quant.tflite",
    ],
)
def test_a_public_integer_model_is_wholly_on_the_npu(data_dir: Path, tmp_path: Path, name: str) -> None:
    told = assessed(data_dir / name, tmp_path)
    assert (told["compatibility"], told["grade"], told["segments"], told["cpu_ops"]) == (100.0, "full", 1, 0)
    assert told["ethos_score"] == told["activation_efficiency"] == 100.0  # ReLU models already
    assert told["cycles"] > 0
    assert told["time_ms"] == pytest.approx(told["cycles"] / 500_000)  # 500 MHz
    assert told["kind"] == "estimated"
    assert told["findings"] == told["improvements"] == []
    stem = Path(name).stem
    assert {p.name for p in tmp_path.iterdir()} == {
        f"{stem}_vela.tflite",
        f"{stem}_summary_Ethos_U55_High_End_Embedded.csv",
        "npu_report.json",
    }
    assert json.loads((tmp_path / "npu_report.json").read_text()) == told
    assert told["compiled_sha256"] == sha256_of(tmp_path / f"{stem}_vela.tflite")


@pytest.mark.parametrize(
    ("name", "rule", "words"),
    [
        (f"{IC}/pretrainedResnet.tflite", "NPU001", "float model"),
        ("tflm/examples/hello_world/models/hello_world_float.tflite", "NPU001", "float model"),
        (f"{KWS}/kws_ref_model_float32.tflite", "NPU002", "dynamic-range"),  # whatever its name says
    ],
)
def test_a_float_model_scores_zero_and_says_what_to_do(
    data_dir: Path, tmp_path: Path, name: str, rule: str, words: str
) -> None:
    told = assessed(data_dir / name, tmp_path)
    assert (told["ethos_score"], told["grade"], told["npu_ops"], told["sram_fits"]) == (0, "none", 0, False)
    assert (told["cycles"], told["time_ms"], told["twin_cycles"], told["activation_efficiency"]) == (None,) * 4
    (finding,) = told["findings"]
    assert (finding["rule"], finding["severity"]) == (rule, "error")
    assert words in finding["message"]
    assert "deploytk export" in finding["fix"]
    assert not list(tmp_path.glob("*_vela.tflite"))


def test_a_model_after_vela_is_already_compiled(data_dir: Path, tmp_path: Path) -> None:
    told = assessed(data_dir / "tflm/models/person_detect_vela.tflite", tmp_path)
    assert (told["ethos_score"], told["grade"], told["time_ms"]) == (0, "none", None)
    (finding,) = told["findings"]
    assert finding["rule"] == "NPU003"
    assert "already compiled by Vela" in finding["message"]
    assert finding["fix"] == "give the INT8 model from before Vela"


def test_operators_left_to_the_cpu_come_with_vela_s_reasons_and_without_a_time(data_dir: Path, tmp_path: Path) -> None:
    told = assessed(data_dir / "tflm/examples/micro_speech/models/audio_preprocessor_int8.tflite", tmp_path)
    assert (told["npu_ops"], told["cpu_ops"], told["segments"], told["grade"]) == (3, 19, 2, "partial")
    assert (told["cycles"], told["time_ms"], told["activation_efficiency"]) == (None, None, None)
    assert told["ethos_score"] == told["compatibility"] == pytest.approx(100 * 3 / 22)
    reasons = {op["name"]: op["reason"] for op in told["ops"] if op["target"] == "cpu"}
    assert reasons["signal_rfft"] == "Unsupported opType"
    assert reasons["concat"].startswith("Unsupported dataType Int32")
    assert not any(op["reason"] for op in told["ops"] if op["target"] == "npu")
    assert rules(told, "warning") == {"NPU005", "NPU008"}
    assert told["improvements"][0]["what"] == "get 4 CAST off the CPU (Unsupported opType)"
    assert told["improvements"][0]["cycles_saved"] is None


def test_float_leaky_islands_break_a_rule_and_the_repaired_model_does_not(tmp_path: Path) -> None:
    broken = tiny_litert.network(tmp_path / "broken.tflite", "island")
    told = assessed(broken, tmp_path / "broken")
    assert (told["npu_ops"], told["cpu_ops"], told["segments"]) == (3, 6, 3)
    assert told["mac_share"] == 100.0  # which is why it is never shown alone
    assert rules(told, "error") == {"NPU004"}
    assert "2 LEAKY_RELU" in told["findings"][0]["message"]

    repaired = tmp_path / "repaired.tflite"
    normalise(broken, repaired)
    told = assessed(repaired, tmp_path / "repaired")
    assert (told["compatibility"], told["segments"], told["grade"]) == (100.0, 1, "full")
    assert 0 < told["activation_efficiency"] < 100
    (advice,) = told["improvements"]
    assert advice["what"] == "train with ReLU in place of 2 LeakyReLU"
    assert advice["cycles_saved"] == told["cycles"] - told["twin_cycles"]


def test_the_twins_of_one_network_cost_what_the_relu_network_costs(tmp_path: Path) -> None:
    relu = assessed(tiny_litert.network(tmp_path / "relu.tflite", "relu"), tmp_path / "relu")
    assert relu["ethos_score"] == 100.0
    for kind in ("leaky", "silu", "hardswish"):
        told = assessed(tiny_litert.network(tmp_path / f"{kind}.tflite", kind), tmp_path / kind)
        assert told["twin_cycles"] == pytest.approx(relu["cycles"], rel=0.01), kind
        assert told["ethos_score"] < 100, kind


def test_silu_costs_more_than_leaky_relu_although_it_has_more_operators_on_the_npu(tmp_path: Path) -> None:
    silu = assessed(tiny_litert.network(tmp_path / "silu.tflite", "silu"), tmp_path / "silu")
    leaky = assessed(tiny_litert.network(tmp_path / "leaky.tflite", "leaky"), tmp_path / "leaky")
    assert silu["npu_ops"] > leaky["npu_ops"]
    assert silu["ethos_score"] < leaky["ethos_score"]


def test_too_little_sram_is_found_although_vela_says_nothing(data_dir: Path, tmp_path: Path) -> None:
    told = assessed(data_dir / "tflm/models/person_detect.tflite", tmp_path, sram_kib=64)
    assert (told["sram_fits"], told["grade"]) == (False, "partial")
    assert rules(told, "error") == {"NPU007"}


@pytest.mark.parametrize(
    "preset", ["ethos-u55-128", "ethos-u65-256", "ethos-u65-512", "ethos-u85-256", "ethos-u85-512"]
)
def test_each_preset_compiles(data_dir: Path, tmp_path: Path, preset: str) -> None:
    told = assessed(data_dir / KWS / "kws_ref_model.tflite", tmp_path, **load_npu(preset).model_dump())
    assert (told["accelerator"], told["grade"], told["cpu_ops"]) == (preset, "full", 0)
    assert told["flash_kib"] > 0


def test_a_system_of_another_family_is_refused_although_vela_takes_it(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not one of ethos-u55-256; choose one that starts with Ethos_U55_"):
        assessed(data_dir / "tflm/models/person_detect.tflite", tmp_path, system_config="Ethos_U85_SYS_DRAM_Mid")


@pytest.mark.parametrize(
    "wrong",
    [{"system_config": "Ethos_U55_Nonsense"}, {"memory_mode": "Dedicated_Sram"}, {"memory_mode": "No_Such_Mode"}],
)
def test_an_unknown_system_is_an_input_error(data_dir: Path, tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(InputError, match="Vela refuses this NPU"):
        assessed(data_dir / "tflm/models/person_detect.tflite", tmp_path, **wrong)


@pytest.mark.parametrize(
    "name", ["bad/lfs_pointer/object_detection/yolo-fastest_192_face_v4.tflite", "bad/appledouble/._vww_96_int8.tflite"]
)
def test_what_is_no_model_is_an_input_error_and_nothing_is_written(data_dir: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        assessed(data_dir / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_truncated_model_is_an_input_error(data_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes((data_dir / "tflm/models/person_detect.tflite").read_bytes()[:200_000])
    with pytest.raises(InputError, match="truncated"):
        assessed(path, tmp_path / "out")


def test_a_placement_that_vela_s_own_file_denies_is_not_believed(tmp_path: Path) -> None:
    ops = (vela.Placed(index=0, op="ADD", name="a", target="npu", cycles=1, macs=0),)
    vela._agree(ops, 0, tmp_path / "m.tflite")
    with pytest.raises(DeploytkError, match="but the file it wrote holds 1"):
        vela._agree(ops, 1, tmp_path / "m.tflite")


def test_a_crash_of_vela_is_a_failed_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vela.sys, "executable", "/bin/false")
    with pytest.raises(StepFailed, match="Vela failed on m"):
        assessed(tiny_litert.network(tmp_path / "m.tflite", "relu"), tmp_path / "out")
