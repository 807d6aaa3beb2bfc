"""LiteRT on the CPU: what a session promises, and what it refuses."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tiny_litert

from deploytk.errors import InputError
from deploytk.runtimes import FixedBatch, litert

RESNET = "mlperf_tiny/benchmark/training/image_classification/trained_models/pretrainedResnet_quant.tflite"


def test_a_session_says_what_it_runs_on_and_gives_outputs_by_name(data_dir: Path) -> None:
    session = litert.open_session(data_dir / RESNET, batch=None, threads=1)
    told = {key: session.details[key] for key in ("provider", "threads", "rebatched")}
    assert told == {"provider": "XNNPACK", "threads": 1, "rebatched": False}
    assert session.details["version"].startswith("2.")
    (entry,), (result,) = session.inputs, session.outputs
    assert (entry.dtype, entry.shape, result.shape) == ("int8", (1, 32, 32, 3), (1, 10))
    assert entry.scale is not None
    outputs = session.run({entry.name: litert.random_input(entry)})
    assert outputs[result.name].dtype == np.int8


def test_all_cores_are_the_default(tmp_path: Path) -> None:
    path = tiny_litert.network(tmp_path / "m.tflite", "relu")
    assert litert.open_session(path, batch=None, threads=None).details["threads"] >= 1


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("image_classification/trained_models/pretrainedResnet_quant.tflite", "int8"),
        ("image_classification/trained_models/pretrainedResnet.tflite", "float32"),
        # Named float32, and its convolutions hold int8 weights.
        (
            "keyword_spotting/trained_models/kws_ref_model_float32.tflite",
            "dynamic int8 (5 of 10 weighted operators), float32 (5)",
        ),
    ],
)
def test_precision_is_counted_in_the_graph(data_dir: Path, name: str, precision: str) -> None:
    session = litert.open_session(data_dir / "mlperf_tiny/benchmark/training" / name, batch=None, threads=1)
    assert session.details["precision"] == precision


def test_without_xnnpack_the_results_are_the_same(data_dir: Path) -> None:
    fast = litert.open_session(data_dir / RESNET, batch=1, threads=1)
    plain = litert.open_session(data_dir / RESNET, batch=1, threads=1, options={"xnnpack": "off"})
    assert (fast.details["provider"], plain.details["provider"]) == ("XNNPACK", "reference")
    feed = {fast.inputs[0].name: litert.random_input(fast.inputs[0])}
    np.testing.assert_allclose(*(next(iter(s.run(feed).values())).astype(int) for s in (fast, plain)), atol=1)


def test_wrong_options_are_refused_with_the_nearest(data_dir: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'xnnpack'"):
        litert.open_session(data_dir / RESNET, batch=1, threads=1, options={"xnpack": "on"})
    with pytest.raises(InputError, match="xnnpack cannot be 'no'"):
        litert.open_session(data_dir / RESNET, batch=1, threads=1, options={"xnnpack": "no"})


@pytest.mark.parametrize("batch", [1, 4])
def test_a_second_request_runs_beside_the_first(data_dir: Path, batch: int) -> None:
    first = litert.open_session(data_dir / RESNET, batch=batch, threads=1)
    second = first.another()
    assert second.details == first.details
    feeds = [{first.inputs[0].name: litert.random_input(first.inputs[0], seed=seed)} for seed in (1, 2)]
    alone = [next(iter(first.run(feed).values())) for feed in feeds]
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(lambda s=s, f=f: [next(iter(s.run(f).values())) for _ in range(20)])
            for s, f in zip((first, second), feeds, strict=True)
        ]
    for expected, job in zip(alone, jobs, strict=True):
        np.testing.assert_array_equal(job.result(), [expected] * 20)


def test_a_batch_gives_each_item_what_it_gives_alone(data_dir: Path) -> None:
    one = litert.open_session(data_dir / RESNET, batch=1, threads=1)
    four = litert.open_session(data_dir / RESNET, batch=4, threads=1)
    assert four.details["rebatched"]
    assert four.inputs[0].shape == (4, 32, 32, 3)
    values = litert.random_input(four.inputs[0], seed=7)
    together = four.run({four.inputs[0].name: values})[four.outputs[0].name]
    alone = [one.run({one.inputs[0].name: values[i : i + 1]})[one.outputs[0].name] for i in range(4)]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1)


def test_a_batch_held_in_a_constant_is_really_changed(data_dir: Path) -> None:
    """This one's last RESHAPE is to [1, 1001], which LiteRT cannot resize."""
    path = data_dir / "coral/mobilenet_v1_0.25_128_quant.tflite"
    two = litert.open_session(path, batch=2, threads=1)
    assert (two.outputs[0].shape, two.details["rebatched"]) == ((2, 1001), True)
    assert litert.open_session(path, batch=None, threads=1).details["rebatched"] is False


def sliced(path: Path, begin: tuple[int, ...], size: tuple[int, ...]) -> Path:
    """A SLICE with constant begin and size, as C2f's split is written, and a RELU."""
    tiny = tiny_litert.Tiny()
    image, half, out = tiny.tensor("image"), tiny.tensor("half", (1, 8, 8, 8)), tiny.tensor("out", (1, 8, 8, 8))
    starts, sizes = (tiny.tensor(n, (4,), "INT32", None, data=np.array(v, np.int32)) for n, v in
                     (("begin", begin), ("size", size)))  # fmt: skip
    tiny.op("SLICE", [image, starts, sizes], [half], tiny_litert.schema.SliceOptionsT())
    tiny.op("RELU", [half], [out])
    return tiny.write(path, [image], [out])


def test_a_slice_that_holds_the_batch_is_really_changed(tmp_path: Path) -> None:
    path = sliced(tmp_path / "m.tflite", (0, 0, 0, 8), (1, 8, 8, 8))
    session = litert.open_session(path, batch=3, threads=1)
    values = litert.random_input(session.inputs[0])
    np.testing.assert_array_equal(session.run({"image": values})["out"], np.maximum(values[..., 8:], 0))


def test_a_batch_that_is_not_the_files_own_is_refused(tmp_path: Path) -> None:
    tiny = tiny_litert.Tiny()
    pair, out = tiny.tensor("pair", (2, 4)), tiny.tensor("out", (2, 4))
    tiny.op("RELU", [pair], [out])
    path = tiny.write(tmp_path / "m.tflite", [pair], [out])
    assert litert.open_session(path, batch=2, threads=1).inputs[0].shape == (2, 4)
    with pytest.raises(FixedBatch, match="has batch size 2 and cannot be run at 4"):
        litert.open_session(path, batch=4, threads=1)


def test_a_model_whose_outputs_do_not_grow_is_refused_and_not_run_at_one(tmp_path: Path) -> None:
    """The mean over the batch has one item whatever goes in."""
    tiny = tiny_litert.Tiny()
    image = tiny.tensor("image", dtype="FLOAT32", scale=None)
    axis = tiny.tensor("axis", (1,), "INT32", None, data=np.zeros(1, np.int32))
    mean = tiny.tensor("mean", dtype="FLOAT32", scale=None)
    reducer = tiny_litert.schema.ReducerOptionsT()
    reducer.keepDims = True
    tiny.op("MEAN", [image, axis], [mean], reducer)
    with pytest.raises(FixedBatch, match="do not grow with the batch"):
        litert.open_session(tiny.write(tmp_path / "m.tflite", [image], [mean]), batch=2, threads=1)


def test_a_graph_that_mixes_its_items_is_refused(tmp_path: Path) -> None:
    """SUM over the batch keeps the output's shape honest by name only: its items depend on each other."""
    tiny = tiny_litert.Tiny()
    image = tiny.tensor("image", dtype="FLOAT32", scale=None)
    axis = tiny.tensor("axis", (1,), "INT32", None, data=np.zeros(1, np.int32))
    total = tiny.tensor("total", dtype="FLOAT32", scale=None)
    mixed = tiny.tensor("mixed", dtype="FLOAT32", scale=None)
    reducer = tiny_litert.schema.ReducerOptionsT()
    reducer.keepDims = True
    tiny.op("SUM", [image, axis], [total], reducer)
    tiny.op("ADD", [image, total], [mixed], tiny_litert.schema.AddOptionsT())
    path = tiny.write(tmp_path / "m.tflite", [image], [mixed])
    with pytest.raises(FixedBatch, match="does not come out as it does alone"):
        litert.open_session(path, batch=3, threads=1)


def test_a_wrong_feed_is_named(tmp_path: Path) -> None:
    session = litert.open_session(tiny_litert.network(tmp_path / "m.tflite", "relu"), batch=None, threads=1)
    with pytest.raises(InputError, match="'image' is missing"):
        session.run({})
    with pytest.raises(InputError, match="must be int8"):
        session.run({"image": np.zeros(tiny_litert.SHAPE, np.float32)})


def test_a_file_compiled_for_the_npu_cannot_run_on_a_host(data_dir: Path) -> None:
    with pytest.raises(InputError, match="give the INT8 model from before Vela"):
        litert.open_session(data_dir / "tflm/models/person_detect_vela.tflite", batch=None, threads=1)


def test_unknown_custom_operators_are_named(data_dir: Path) -> None:
    path = data_dir / "tflm/examples/micro_speech/models/audio_preprocessor_int8.tflite"
    with pytest.raises(InputError, match=r"custom operators .*SignalFftAutoScale"):
        litert.open_session(path, batch=None, threads=1)
