"""The ReLU twin: the same weights, every activation a ReLU."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_litert

from deploytk.graphs import litert
from deploytk.runtimes.litert import open_session, random_input
from deploytk.targets.npu import twin

FUSED = [("CONV_2D", "RELU"), ("CONV_2D", "RELU"), ("CONV_2D", "NONE")]


def ops(path: Path) -> list[tuple[str, str]]:
    return [(n.op, n.activation) for n in litert.read(path).nodes]


@pytest.mark.parametrize(("kind", "name"), [("leaky", "LeakyReLU"), ("silu", "SiLU"), ("hardswish", "Hardswish")])
def test_the_twin_is_built_like_a_relu_model_and_runs(tmp_path: Path, kind: str, name: str) -> None:
    model, made = tiny_litert.network(tmp_path / "m.tflite", kind), tmp_path / "twin.tflite"
    assert twin.kinds(model) == {name: 2}
    assert twin.write_twin(model, made) == 2
    assert ops(made) == FUSED == ops(tiny_litert.network(tmp_path / "relu.tflite", "relu"))
    session = open_session(made, batch=None, threads=1)
    session.run({"image": random_input(session.inputs[0])})


def test_a_relu_model_is_its_own_twin(tmp_path: Path) -> None:
    model = tiny_litert.network(tmp_path / "m.tflite", "relu")
    assert twin.kinds(model) == {}
    assert twin.write_twin(model, tmp_path / "twin.tflite") == 0
    assert not (tmp_path / "twin.tflite").exists()


def test_a_logistic_at_the_end_is_an_output_and_stays(tmp_path: Path) -> None:
    model = tiny_litert.network(tmp_path / "m.tflite", "relu", end="LOGISTIC")
    assert twin.kinds(model) == {}
    silu = tiny_litert.network(tmp_path / "s.tflite", "silu", end="LOGISTIC")
    twin.write_twin(silu, tmp_path / "twin.tflite")
    assert ops(tmp_path / "twin.tflite") == [*FUSED, ("LOGISTIC", "NONE")]


def test_a_gate_from_elsewhere_is_not_silu(tmp_path: Path) -> None:
    """x * sigmoid(y) is attention, not an activation."""
    tiny = tiny_litert.Tiny()
    x, y, gate, out = (tiny.tensor(n) for n in ("x", "y", "gate", "out"))
    tiny.op("LOGISTIC", [y], [gate])
    tiny.op("MUL", [x, gate], [out], tiny_litert.schema.MulOptionsT())
    assert twin.kinds(tiny.write(tmp_path / "m.tflite", [x, y], [out])) == {}


def test_an_input_with_other_readers_keeps_them(tmp_path: Path) -> None:
    """The convolution cannot be clamped where somebody else reads it before the activation."""
    tiny = tiny_litert.Tiny()
    image, raw, active, total = (tiny.tensor(n) for n in ("image", "raw", "active", "total"))
    tiny.conv(image, raw)
    tiny_litert.activate(tiny, "silu", raw, active)
    tiny.op("ADD", [raw, active], [total], tiny_litert.schema.AddOptionsT())
    model, made = tiny.write(tmp_path / "m.tflite", [image], [total]), tmp_path / "twin.tflite"
    assert twin.write_twin(model, made) == 1
    assert ops(made) == [("CONV_2D", "NONE"), ("RELU", "NONE"), ("ADD", "NONE")]
    session = open_session(made, batch=None, threads=1)
    session.run({"image": random_input(session.inputs[0])})


def test_one_kind_can_be_swapped_alone(tmp_path: Path) -> None:
    tiny = tiny_litert.Tiny()
    image, raw, active, second, out = (tiny.tensor(n) for n in ("image", "raw", "active", "second", "out"))
    tiny.conv(image, raw)
    tiny_litert.activate(tiny, "silu", raw, active)
    tiny.conv(active, second)
    tiny_litert.activate(tiny, "leaky", second, out)
    model = tiny.write(tmp_path / "m.tflite", [image], [out])
    assert twin.kinds(model) == {"SiLU": 1, "LeakyReLU": 1}
    assert twin.write_twin(model, tmp_path / "twin.tflite", only=("SiLU",)) == 1
    assert [op for op, _ in ops(tmp_path / "twin.tflite")] == ["CONV_2D", "CONV_2D", "LEAKY_RELU"]
