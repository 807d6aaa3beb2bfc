"""The passes that repair what the quantizer leaves, and the proof that they change nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_litert

from deploytk.errors import ParityFailed
from deploytk.graphs import litert
from deploytk.runtimes.litert import open_session
from deploytk.targets.npu.flatbuffer import Normalised, normalise
from deploytk.targets.npu.proof import leaky_steps, prove


def ops(path: Path) -> list[str]:
    return [n.op for n in litert.read(path).nodes]


def feeds(count: int = 3) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.random(tiny_litert.SHAPE, dtype=np.float32) for _ in range(count)]


def test_a_float_leaky_island_becomes_one_int8_operator(tmp_path: Path) -> None:
    before = tiny_litert.network(tmp_path / "before.tflite", "island")
    after = tmp_path / "after.tflite"
    assert normalise(before, after) == Normalised(collapsed=2)
    assert ops(after) == ["CONV_2D", "LEAKY_RELU", "CONV_2D", "LEAKY_RELU", "CONV_2D"]
    assert litert.read(after).float_nodes == ()
    proof = prove(before, after, feeds())
    assert (proof["leaky_ops"], proof["op_max_steps"] <= 1, proof["images"]) == (2, True, 3)
    assert proof["mean_steps"] < 1


def test_the_passes_are_idempotent_to_the_byte(tmp_path: Path) -> None:
    before = tiny_litert.network(tmp_path / "before.tflite", "island")
    once, twice = tmp_path / "once.tflite", tmp_path / "twice.tflite"
    normalise(before, once)
    assert not normalise(once, twice).changed
    assert once.read_bytes() == twice.read_bytes()


@pytest.mark.parametrize("kind", ["relu", "leaky", "silu", "hardswish"])
def test_a_normal_model_stays_as_it_is(tmp_path: Path, kind: str) -> None:
    model = tiny_litert.network(tmp_path / "m.tflite", kind)
    assert not normalise(model, tmp_path / "n.tflite").changed
    assert (tmp_path / "n.tflite").read_bytes() == model.read_bytes()


def two_readers(path: Path, second_scale: float) -> Path:
    """One island whose result is quantized twice: for a convolution, and for a pooling with a scale of its own."""
    tiny = tiny_litert.Tiny()
    image = tiny.tensor("image", scale=1 / 255, zero=-128)
    for_conv, for_pool = tiny.tensor("a", scale=0.02), tiny.tensor("b", scale=second_scale)
    leaky = tiny_litert.island(tiny, image, for_conv)
    tiny.op("QUANTIZE", [leaky], [for_pool])
    head, pooled = tiny.tensor("head"), tiny.tensor("pooled", (1, 4, 4, 16), scale=second_scale)
    tiny.conv(for_conv, head)
    options = tiny_litert.schema.Pool2DOptionsT()
    options.strideW = options.strideH = options.filterWidth = options.filterHeight = 2
    tiny.op("MAX_POOL_2D", [for_pool], [pooled], options)
    return tiny.write(path, [image], [head, pooled])


def test_a_second_quantize_of_another_scale_becomes_int8_to_int8(tmp_path: Path) -> None:
    before, after = two_readers(tmp_path / "before.tflite", 0.03), tmp_path / "after.tflite"
    assert normalise(before, after) == Normalised(collapsed=1, requantized=1)
    assert ops(after) == ["LEAKY_RELU", "QUANTIZE", "CONV_2D", "MAX_POOL_2D"]
    assert prove(before, after, feeds())["max_steps"] <= 2


def test_a_second_quantize_of_nearly_the_same_scale_goes(tmp_path: Path) -> None:
    before, after = two_readers(tmp_path / "before.tflite", 0.02 * 1.0005), tmp_path / "after.tflite"
    assert normalise(before, after) == Normalised(collapsed=1, merged=1)
    assert ops(after) == ["LEAKY_RELU", "CONV_2D", "MAX_POOL_2D"]
    assert prove(before, after, feeds())["max_steps"] <= 2


def test_an_island_that_is_an_output_of_the_model_is_left_and_seen(tmp_path: Path) -> None:
    tiny = tiny_litert.Tiny()
    image, result = tiny.tensor("image"), tiny.tensor("result")
    leaky = tiny_litert.island(tiny, image, result)
    before = tiny.write(tmp_path / "m.tflite", [image], [result, leaky])
    assert normalise(before, tmp_path / "n.tflite").collapsed == 0
    assert {n.op for n in litert.read(tmp_path / "n.tflite").float_nodes} == {"DEQUANTIZE", "LEAKY_RELU", "QUANTIZE"}


def with_slope(model: Path, slope: float, out: Path) -> Path:
    loaded = litert.load(model)
    for operator in loaded.subgraphs[0].operators:
        if litert.op_name(loaded, operator) == "LEAKY_RELU":
            operator.builtinOptions.alpha = slope
    litert.store(loaded, out)
    return out


def test_a_slope_that_changed_a_little_is_caught_on_some_of_the_256_values(tmp_path: Path) -> None:
    before, after = tiny_litert.network(tmp_path / "before.tflite", "island"), tmp_path / "after.tflite"
    normalise(before, after)
    assert max(leaky_steps(before, after).values()) <= 1
    wrong = with_slope(after, 0.12, tmp_path / "wrong.tflite")
    with pytest.raises(ParityFailed, match=r"LEAKY_RELU 'act\d' is off by \d steps"):
        prove(before, wrong, feeds())


def test_a_wrong_wire_is_caught_on_real_feeds(tmp_path: Path) -> None:
    before, after = tiny_litert.network(tmp_path / "before.tflite", "island"), tmp_path / "after.tflite"
    normalise(before, after)
    wrong = litert.load(after)
    last = wrong.subgraphs[0].operators[-1]
    last.inputs = [wrong.subgraphs[0].operators[1].outputs[0], *list(last.inputs)[1:]]
    litert.store(wrong, tmp_path / "wrong.tflite")
    with pytest.raises(ParityFailed, match="output 'head' is off by"):
        prove(before, tmp_path / "wrong.tflite", feeds())


def test_an_activation_that_came_from_nowhere_is_caught(tmp_path: Path) -> None:
    plain = tiny_litert.network(tmp_path / "plain.tflite", "hardswish")
    other = tiny_litert.network(tmp_path / "other.tflite", "leaky")
    with pytest.raises(ParityFailed, match="no counterpart"):
        prove(plain, other, feeds())


def external(model: Path, out: Path) -> Path:
    """The same model with its constants behind the flatbuffer, as the quantizer leaves large ones."""
    loaded = litert.load(model)
    payload = b""
    for buffer in loaded.buffers:
        if buffer.data is not None and len(buffer.data):
            payload += b"\0" * (-len(payload) % 16)
            buffer.offset, buffer.size = 2 + len(payload), len(buffer.data)
            payload += bytes(bytearray(buffer.data))
            buffer.data = None
    litert.store(loaded, out)
    start = out.stat().st_size + (-out.stat().st_size % 16)
    for buffer in loaded.buffers:
        if buffer.offset:
            buffer.offset += start - 2
    litert.store(loaded, out)
    out.write_bytes(out.read_bytes().ljust(start, b"\0") + payload)
    return out


def test_constants_behind_the_flatbuffer_are_moved_into_it(tmp_path: Path) -> None:
    plain = tiny_litert.network(tmp_path / "plain.tflite", "relu")
    outside = external(plain, tmp_path / "outside.tflite")
    assert litert.read(outside).external_buffers == 6
    inside = tmp_path / "inside.tflite"
    assert normalise(outside, inside) == Normalised(inlined=6)
    assert litert.read(inside).external_buffers == 0
    values = np.random.default_rng(0).integers(-128, 128, tiny_litert.SHAPE, dtype=np.int8)
    results = [open_session(p, batch=None, threads=1).run({"image": values})["head"] for p in (plain, outside, inside)]
    np.testing.assert_array_equal(results[0], results[2])
    np.testing.assert_array_equal(results[1], results[2])


def test_a_cut_off_constant_is_an_input_error(tmp_path: Path) -> None:
    plain = tiny_litert.network(tmp_path / "plain.tflite", "relu")
    outside = external(plain, tmp_path / "outside.tflite")
    outside.write_bytes(outside.read_bytes()[:-10])
    with pytest.raises(litert.InputError, match="behind the end of the file"):
        normalise(outside, tmp_path / "out.tflite")
    assert not (tmp_path / "out.tflite").exists()
