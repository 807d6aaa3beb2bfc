"""Reading .tflite files: real ones, foreign ones, damaged ones."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_litert
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploytk.errors import InputError
from deploytk.graphs import litert

TINY = "mlperf_tiny/benchmark/training"


def test_an_int8_model_is_read_with_its_quantization(data_dir: Path) -> None:
    graph = litert.read(data_dir / "tflm/models/person_detect.tflite")
    assert len(graph.nodes) == 31
    assert graph.integer_io
    assert graph.activation_dtypes == {"int8": 31}
    assert [n.op for n in graph.nodes[-4:]] == ["AVERAGE_POOL_2D", "CONV_2D", "RESHAPE", "SOFTMAX"]
    assert {n.activation for n in graph.nodes if n.op == "DEPTHWISE_CONV_2D"} == {"RELU6"}
    assert [len(t.scales) for t in graph.inputs] == [1]
    assert not graph.compiled


def test_a_model_after_vela_is_known_as_compiled(data_dir: Path) -> None:
    graph = litert.read(data_dir / "tflm/models/person_detect_vela.tflite")
    assert graph.compiled
    assert graph.custom_ops == ("ethos-u",)


def test_a_float_model_has_only_float_nodes(data_dir: Path) -> None:
    graph = litert.read(data_dir / TINY / "image_classification/trained_models/pretrainedResnet.tflite")
    assert graph.float_nodes == graph.nodes
    assert not graph.integer_io


def test_uint8_counts_as_integer(data_dir: Path) -> None:
    assert litert.read(data_dir / "coral/mobilenet_v1_0.25_128_quant.tflite").integer_io


def test_multiply_accumulates_are_those_that_vela_counts(data_dir: Path) -> None:
    graph = litert.read(data_dir / TINY / "image_classification/trained_models/pretrainedResnet_quant.tflite")
    assert sum(node.macs for node in graph.nodes) == 12_501_632  # MLPerf Tiny gives 12.5 M


def test_an_activation_and_its_slope_are_told(tmp_path: Path) -> None:
    graph = litert.read(tiny_litert.network(tmp_path / "m.tflite", "leaky"))
    assert [n.alpha for n in graph.nodes if n.op == "LEAKY_RELU"] == pytest.approx([0.1, 0.1])
    fused = litert.read(tiny_litert.network(tmp_path / "r.tflite", "relu"))
    assert [n.activation for n in fused.nodes] == ["RELU", "RELU", "NONE"]


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x1c\0\0\0TFL3", b"version https://git-lfs.github.com/spec/v1\n"])
def test_what_is_no_model_is_refused_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"m\.tflite: (not a TFLite model|damaged or truncated)"):
        litert.read(path)


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        litert.read(tmp_path / "none.tflite")


def test_a_model_without_a_graph_is_refused(data_dir: Path) -> None:
    with pytest.raises(InputError, match="no graph"):
        litert.read(data_dir / "coral/invalid_models/model_invoking_error.tflite")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(min_value=0, max_value=299_000))
def test_a_truncated_model_is_refused_wherever_it_was_cut(data_dir: Path, tmp_path: Path, cut: int) -> None:
    whole = (data_dir / "tflm/models/person_detect.tflite").read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(whole[:cut])
    with pytest.raises(InputError):
        litert.read(path)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(min_value=8, max_value=1500), value=st.integers(min_value=0, max_value=255))
def test_a_flipped_byte_gives_a_graph_or_an_input_error_and_nothing_else(tmp_path: Path, at: int, value: int) -> None:
    path = tmp_path / "m.tflite"
    if not path.exists():
        tiny_litert.network(path, "silu")
    data = bytearray(path.read_bytes())
    data[at] = value
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(data)
    try:
        litert.read(damaged)
    except InputError as error:
        assert "damaged.tflite" in error.message


def test_a_stored_model_reads_as_it_was(tmp_path: Path) -> None:
    path = tiny_litert.network(tmp_path / "m.tflite", "silu")
    again = tmp_path / "again.tflite"
    litert.store(litert.load(path), again)
    assert litert.read(again).nodes == litert.read(path).nodes
