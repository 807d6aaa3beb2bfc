"""What a model is fed: distinct, in its dtype and range, and the same every time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.stages.bench_inputs import COUNT, feeds_for

IMAGE = TensorSpec(name="x", shape=(2, 8, 8, 3), dtype="float32")
INT8 = TensorSpec(name="x", shape=(2, 8, 8, 3), dtype="int8", scale=1 / 255, zero_point=-128)
TOKENS = TensorSpec(name="ids", shape=(2, 16), dtype="int64")
MASK = TensorSpec(name="mask", shape=(2, 16), dtype="bool")


@pytest.mark.parametrize("spec", [IMAGE, INT8, TOKENS, MASK])
def test_drawn_feeds_are_distinct_of_the_right_kind_and_repeatable(spec: TensorSpec) -> None:
    feeds, said = feeds_for([spec], None)
    again, _ = feeds_for([spec], None)
    values = [feed[spec.name] for feed in feeds]
    assert len(values) == COUNT
    assert all(v.shape == spec.shape and v.dtype.name == spec.dtype for v in values)
    assert all((a[spec.name] == v).all() for a, v in zip(again, values, strict=True))
    assert len({v.tobytes() for v in values}) == COUNT
    assert f"{spec.name} {spec.dtype}" in said


def test_a_large_batch_repeats_its_first_items_and_says_so() -> None:
    feeds, said = feeds_for([TensorSpec(name="x", shape=(20, 8, 8, 3), dtype="float32")], None)
    held = feeds[0]["x"]
    assert held.shape == (20, 8, 8, 3) and (held[8:16] == held[:8]).all() and (held[16:] == held[:4]).all()
    assert len({item.tobytes() for item in held}) == 8
    assert "x float32 0..1, 8 items repeated" in said
    assert "repeated" not in feeds_for([IMAGE], None)[1]


def test_strings_cannot_be_drawn_and_are_asked_for() -> None:
    with pytest.raises(InputError, match=r"the input words takes str, .* --samples FILE\.npz"):
        feeds_for([TensorSpec(name="words", shape=(1,), dtype="str")], None)


def test_floats_are_in_0_to_1_and_int8_uses_its_whole_range() -> None:
    floats = np.stack([feed["x"] for feed in feeds_for([IMAGE], None)[0]])
    assert 0 <= floats.min() < 0.01
    assert 0.99 < floats.max() <= 1
    int8 = np.stack([feed["x"] for feed in feeds_for([INT8], None)[0]])
    assert int8.min() <= -127
    assert int8.max() == 127


def test_token_ids_are_small_and_not_zero() -> None:
    ids = np.stack([feed["ids"] for feed in feeds_for([TOKENS], None)[0]])
    assert (ids >= 1).all()
    assert (ids < 100).all()


def npz(tmp_path: Path, **arrays: np.ndarray) -> Path:
    path = tmp_path / "samples.npz"
    np.savez(path, **arrays)
    return path


def test_samples_are_rotated_and_repeated_to_fill_a_batch(tmp_path: Path) -> None:
    images = np.arange(3, dtype=np.float32).reshape(3, 1, 1, 1) * np.ones((3, 8, 8, 3), np.float32)
    feeds, said = feeds_for([IMAGE], npz(tmp_path, anything=images))
    assert [feed["x"][:, 0, 0, 0].tolist() for feed in feeds[:3]] == [[0, 1], [1, 2], [2, 0]]
    assert "the 3 samples in samples.npz" in said


def test_float_samples_are_quantized_with_the_scale_of_the_input(tmp_path: Path) -> None:
    images = np.stack([np.zeros((8, 8, 3)), np.ones((8, 8, 3))]).astype(np.float32)
    feeds, _ = feeds_for([INT8], npz(tmp_path, x=images))
    assert feeds[0]["x"].dtype == np.int8
    assert [feeds[0]["x"][i].max() for i in (0, 1)] == [-128, 127]


def test_nchw_samples_are_turned_for_an_nhwc_model(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((2, 3, 8, 8), dtype=np.float32)
    feeds, _ = feeds_for([IMAGE], npz(tmp_path, x=images))
    np.testing.assert_array_equal(feeds[0]["x"], images.transpose(0, 2, 3, 1))


def test_an_input_without_samples_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no samples for the inputs mask; it holds ids"):
        feeds_for([TOKENS, MASK], npz(tmp_path, ids=np.ones((3, 16), np.int64)))


def test_a_file_that_holds_objects_or_is_no_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match=r"no readable \.npz"):
        feeds_for([IMAGE], path)
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InputError, match=r"no readable \.npz"):
        feeds_for([IMAGE], path)
