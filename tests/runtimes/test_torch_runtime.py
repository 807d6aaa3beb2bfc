"""PyTorch behind the Session protocol, eager and compiled; what it would unpickle is refused."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch as library

from deploytk.errors import InputError, MissingDependency
from deploytk.graphs.identify import identify
from deploytk.runtimes import FixedBatch, onnx, openvino, torch, torch_compile, torch_cuda

BATCH = library.export.Dim("batch", min=1, max=8)


class Tiny(library.nn.Module):
    """Conv and ReLU, with a second output."""

    def __init__(self) -> None:
        super().__init__()
        library.manual_seed(0)
        self.conv = library.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: library.Tensor) -> tuple[library.Tensor, library.Tensor]:
        y = self.conv(x).relu()
        return y, y.mean((2, 3))


class Mixing(library.nn.Module):
    def forward(self, x: library.Tensor) -> library.Tensor:
        return x + x.sum(0, keepdim=True)


def images(batch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, 3, 8, 8), dtype=np.float32)


def program(path: Path, *, free: bool = True, module: library.nn.Module | None = None) -> Path:
    shapes = ({0: BATCH},) if free else None
    exported = library.export.export((module or Tiny()).eval(), (library.zeros(2, 3, 8, 8),), dynamic_shapes=shapes)
    library.export.save(exported, path)
    return path


def script(path: Path, module: library.nn.Module) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library.jit.save(library.jit.trace(module.eval(), library.zeros(1, 3, 8, 8)), path)
    return path


def expected(batch: int) -> list[np.ndarray]:
    with library.inference_mode():
        return [t.numpy() for t in Tiny().eval()(library.from_numpy(images(batch)))]


@pytest.mark.parametrize("batch", [1, 5])
def test_a_program_with_a_free_batch_gives_what_the_module_gives(tmp_path: Path, batch: int) -> None:
    session = torch.open_session(program(tmp_path / "m.pt2"), batch=batch, threads=1)
    assert [s.shape for s in (*session.inputs, *session.outputs)] == [(batch, 3, 8, 8), (batch, 4, 8, 8), (batch, 4)]
    for got, wanted in zip(session.run({"x": images(batch)}).values(), expected(batch), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_batches_outside_of_what_was_exported_are_a_fixed_batch(tmp_path: Path) -> None:
    with pytest.raises(FixedBatch, match="exported for batches from 1 to 8, not for 9"):
        torch.open_session(program(tmp_path / "m.pt2"), batch=9, threads=1)
    fixed = program(tmp_path / "f.pt2", free=False)
    assert torch.open_session(fixed, batch=None, threads=1).inputs[0].shape == (2, 3, 8, 8)
    with pytest.raises(FixedBatch, match="exported for batch 2 alone"):
        torch.open_session(fixed, batch=1, threads=1)


def test_details_say_what_was_really_got(tmp_path: Path) -> None:
    path = program(tmp_path / "m.pt2")
    session = torch.open_session(path, batch=1, threads=2)
    told = {key: session.details[key] for key in ("provider", "precision", "threads", "compiled", "rebatched")}
    assert told == {
        "provider": "cpu", "precision": "float32", "threads": 2, "compiled": False, "rebatched": False,
    }  # fmt: skip
    assert torch.open_session(path, batch=1, threads=1).details["threads"] == 1


def test_half_precision_is_read_from_the_weights(tmp_path: Path) -> None:
    exported = library.export.export(Tiny().eval().bfloat16(), (library.zeros(2, 3, 8, 8, dtype=library.bfloat16),))
    library.export.save(exported, tmp_path / "m.pt2")
    assert torch.load(tmp_path / "m.pt2").precision == "bfloat16"


def test_a_second_request_in_another_thread_has_the_same_threads_and_results(tmp_path: Path) -> None:
    session = torch.open_session(program(tmp_path / "m.pt2"), batch=2, threads=1)
    feeds = [{"x": images(2, seed=seed)} for seed in (1, 2)]
    alone = [next(iter(session.run(feed).values())) for feed in feeds]
    with ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(lambda s=s, f=f: [next(iter(s.run(f).values())) for _ in range(20)])
            for s, f in zip((session, session.another()), feeds, strict=True)
        ]
        assert pool.submit(library.get_num_threads).result() == 1
    for wanted, job in zip(alone, jobs, strict=True):
        np.testing.assert_array_equal(job.result(), [wanted] * 20)


def test_outputs_stay_as_they_were_when_the_next_run_comes(tmp_path: Path) -> None:
    session = torch.open_session(program(tmp_path / "m.pt2"), batch=1, threads=1)
    first = next(iter(session.run({"x": images(1, seed=1)}).values()))
    kept = first.copy()
    session.run({"x": images(1, seed=2)})
    np.testing.assert_array_equal(first, kept)


def test_a_torchscript_is_run_once_its_shape_is_said(tmp_path: Path) -> None:
    path = script(tmp_path / "m.pt", Tiny())
    assert identify(path).name == "torchscript"
    session = torch.open_session(path, batch=3, threads=1, options={"shape": "3x8x8"})
    for got, wanted in zip(session.run({"x": images(3)}).values(), expected(3), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", ["", "3x8", "3x8x8,10", "3xax8", "3x0x8"])
def test_a_torchscript_without_its_shape_says_how_to_give_it(tmp_path: Path, shape: str) -> None:
    options = {"shape": shape} if shape else {}
    with pytest.raises(InputError, match=r"shape=3x640x640|does not run with this shape: RuntimeError: .*4-dim"):
        torch.open_session(script(tmp_path / "m.pt", Tiny()), batch=1, threads=1, options=options)


def test_a_trace_whose_items_depend_on_one_another_is_a_fixed_batch(tmp_path: Path) -> None:
    path = script(tmp_path / "m.pt", Mixing())
    with pytest.raises(FixedBatch, match="output0 differs from the file's own results"):
        torch.open_session(path, batch=4, threads=1, options={"shape": "3x8x8"})


def test_a_wrong_feed_and_wrong_options_are_named(tmp_path: Path) -> None:
    path = program(tmp_path / "m.pt2")
    with pytest.raises(InputError, match=r"'x' must be float32 \[1, 3, 8, 8\], not float32 \[2, 3, 8, 8\]"):
        torch.open_session(path, batch=1, threads=1).run({"x": images(2)})
    with pytest.raises(InputError, match="did you mean 'shape'"):
        torch.open_session(path, batch=1, threads=1, options={"shapes": "3x8x8"})
    with pytest.raises(InputError, match="leave the option shape out"):
        torch.open_session(path, batch=1, threads=1, options={"shape": "3x8x8"})


class Deed:
    """What a hostile file would do when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (self.place,)  # type: ignore[return-value]


def replaced(source: Path, to: Path, member: str, content: bytes) -> Path:
    """A copy of an archive with another content of one member, or with a member more."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(to, "w") as new:
        root = old.namelist()[0].split("/")[0]
        for name in old.namelist():
            if not name.endswith(member):
                new.writestr(name, old.read(name))
        new.writestr(f"{root}/{member}", content)
    return to


def test_a_hostile_program_is_refused_and_nothing_in_it_is_run(tmp_path: Path) -> None:
    """torch.export.load alone unpickles the sample inputs of this file."""
    deed = io.BytesIO()
    library.save(Deed(tmp_path / "done"), deed)
    path = replaced(program(tmp_path / "m.pt2"), tmp_path / "bad.pt2", "data/sample_inputs/model.pt", deed.getvalue())
    assert identify(path).name == "torch-program"
    with pytest.raises(InputError, match="PyTorch cannot load it"):
        torch.open_session(path, batch=1, threads=1)
    assert not (tmp_path / "done").exists()


def test_pickled_objects_in_a_program_are_refused(tmp_path: Path) -> None:
    content = pickle.dumps(Deed(tmp_path / "done"))
    path = replaced(program(tmp_path / "m.pt2"), tmp_path / "bad.pt2", "data/constants/opaque_obj_0", content)
    with pytest.raises(InputError, match="holds pickled objects"):
        torch.open_session(path, batch=1, threads=1)
    assert not (tmp_path / "done").exists()


def test_a_damaged_program_is_one_sentence(tmp_path: Path) -> None:
    path = program(tmp_path / "m.pt2")
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="not a readable archive"):
        torch.open_session(path, batch=1, threads=1)


def test_compiling_without_a_compiler_is_a_missing_dependency(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match=r"needs a C\+\+ compiler") as caught:
        torch_compile.open_session(program(tmp_path / "m.pt2"), batch=1, threads=1)
    assert caught.value.exit_code == 6


@pytest.mark.e2e
def test_a_compiled_program_gives_the_same_and_says_that_it_is_compiled(tmp_path: Path) -> None:
    session = torch_compile.open_session(program(tmp_path / "m.pt2"), batch=3, threads=1)
    assert (session.details["compiled"], session.details["threads"]) == (True, 1)
    for got, wanted in zip(session.run({"x": images(3)}).values(), expected(3), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.e2e
def test_what_is_said_to_be_compiled_and_is_not_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_compile.library, "compile", lambda module, **_options: module)
    with pytest.raises(InputError, match="compiled nothing of it"):
        torch_compile.open_session(program(tmp_path / "m.pt2"), batch=3, threads=1)


@pytest.mark.skipif(library.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_cuda_is_one_sentence_and_exit_6(tmp_path: Path) -> None:
    with pytest.raises(MissingDependency, match="torch-cuda needs an NVIDIA GPU, and") as caught:
        torch_cuda.open_session(program(tmp_path / "m.pt2"), batch=1, threads=1)
    assert (caught.value.exit_code, "\n" in caught.value.message) == (6, False)


@pytest.mark.e2e
def test_resnet18_gives_the_same_in_every_runtime(tmp_path: Path) -> None:
    torchvision = pytest.importorskip("torchvision")
    library.manual_seed(0)
    model = torchvision.models.resnet18(weights=None).eval()
    example, batch = library.rand(2, 3, 64, 64), library.export.Dim("batch", min=1, max=8)
    library.export.save(library.export.export(model, (example,), dynamic_shapes=({0: batch},)), tmp_path / "m.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library.onnx.export(
            model, (example,), tmp_path / "m.onnx", dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}}
        )
    feed = {"x": np.random.default_rng(0).random((3, 3, 64, 64), dtype=np.float32)}
    results = [
        next(iter(session.run(feed).values()))
        for session in (
            torch.open_session(tmp_path / "m.pt2", batch=3, threads=1),
            onnx.open_session(tmp_path / "m.onnx", batch=3, threads=1),
            openvino.open_session(tmp_path / "m.onnx", batch=3, threads=1, options={"precision": "f32"}),
        )
    ]
    assert results[0].std() > 0.1
    for other in results[1:]:
        np.testing.assert_allclose(other, results[0], rtol=1e-3, atol=1e-4)
