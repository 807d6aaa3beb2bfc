"""A file is what its content says it is, and the message says what to do."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytk import plugins
from deploytk.errors import InputError
from deploytk.graphs.identify import MODELS, RUNNABLE, identify, require_model

ROOT = Path(__file__).parents[2]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"


def zipped(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members.items():
            archive.writestr(re.sub(r"_(pkl|json)$", r".\1", name.replace("__", "/")), data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "empty"),
        (LFS, "lfs-pointer"),
        (b"\x00\x05\x16\x07" + bytes(100), "appledouble"),
        (struct.pack("<I", 8) + b"TFL3" + bytes(64), "tflite"),
        (struct.pack("<I", 8) + b"TFL3" + bytes(64) + b"ethos-u", "vela-tflite"),
        (struct.pack("<I", 800) + b"TFL3" + bytes(64), "truncated-tflite"),
        (zipped(a__data_pkl=b"x"), "torch"),
        (zipped(a__data_pkl=b"x", a__constants_pkl=b"x", a__code__m=b"x"), "torchscript"),
        (zipped(readme=b"x"), "zip"),
        (zipped(a__data_pkl=b"x")[:40], "truncated-zip"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "torch-legacy"),
        (pickle.dumps({"a": 1}), "pickle"),
        (pickle.dumps({"a": 1}, protocol=0), "pickle"),
        (b"cos\nsystem\n(S'true'\ntR.", "pickle"),
        (b"<!DOCTYPE html><html>404</html>", "html"),
        (b'<?xml version="1.0"?><net name="m" version="11"></net>', "openvino-xml"),
        (b'<?xml version="1.0"?><a/>', "xml"),
        (b"(c) Copyright\nsome text\n", "text"),
        (b"ptrt" + bytes(40), "tensorrt-engine"),
        (b"vtrt" + bytes(40), "tensorrt-engine"),
        (struct.pack("<I", 12) + b'{"stride":8}' + b"ftrt" + bytes(40), "tensorrt-engine"),
        (struct.pack("<I", 12) + b'{"stride":8}' + bytes(40), "unknown"),
        (zipped(m__archive_format=b"pt2", m__models__model_json=b"{}"), "torch-program"),
        (zipped(serialized_exported_program_json=b"{}"), "torch-program"),
        (zipped(m__archive_format=b"pt2", m__data__aotinductor__m_so=b"x"), "zip"),
        (struct.pack("<Q", 2) + b"{}" + bytes(8), "safetensors"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"\x01\x02\x03\x04", "unknown"),
    ],
)  # fmt: skip
def test_a_file_is_what_its_content_says(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / "model.onnx"  # the name says nothing
    path.write_bytes(content)
    assert identify(path).name == name


def test_a_missing_file_and_folders_are_named(tmp_path: Path) -> None:
    assert identify(tmp_path / "no.onnx").name == "missing"
    assert identify(tmp_path).name == "folder"
    (tmp_path / "model.pt").write_bytes(b"x")
    assert identify(tmp_path).name == "run"


def test_a_pipe_and_a_device_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert [identify(path).name for path in (tmp_path / "pipe", Path(os.devnull))] == ["special", "special"]


def test_what_is_only_run_is_no_model_to_look_into(tmp_path: Path) -> None:
    path = tmp_path / "m.plan"
    path.write_bytes(b"ftrt" + bytes(40))
    assert require_model(path, RUNNABLE).name == "tensorrt-engine"
    with pytest.raises(InputError, match="a TensorRT engine; deploytk bench runs it; to have it checked"):
        require_model(path)


def test_every_runtime_that_a_kind_names_exists_and_reads_it() -> None:
    for kind, runtime in RUNNABLE.items():
        path = plugins.TABLES["runtimes"][runtime].replace(".", "/") + ".py"
        (formats,) = re.findall(r"^FORMATS = (.*)$", (ROOT / path).read_text(), re.MULTILINE)
        assert f'"{kind}"' in formats


def test_an_lfs_pointer_is_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(LFS)
    with pytest.raises(
        InputError, match=rf"git-LFS pointer \({len(LFS)} bytes of text\), not a model; run: git lfs pull"
    ):
        require_model(path)


def test_a_pickle_is_refused_and_what_it_would_run_is_named(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match=r"would run os\.system"):
        require_model(path)


def test_an_onnx_file_is_told_without_the_onnx_library(data_dir: Path) -> None:
    models = [*data_dir.glob("onnx_light/**/*.onnx"), *data_dir.glob("ort_examples/**/*.onnx")]
    assert models
    assert {identify(path).name for path in models} == {"onnx"}


def test_real_bad_files_are_no_models(data_dir: Path) -> None:
    bad = [p for p in (data_dir / "bad").rglob("*") if p.is_file() and "hf_torch" not in str(p)]
    kinds = {p.name: identify(p).name for p in bad}
    assert kinds["yolo-fastest_192_face_v4.tflite"] == "lfs-pointer"
    assert kinds["._vww_96_int8.tflite"] == "appledouble"
    assert kinds["bad_pytorch.pt"] == "image"
    # A ZIP with a data.pkl is what PyTorch writes; pickles.py refuses what is in it.
    assert [name for name, kind in kinds.items() if kind in MODELS] == ["malicious1.zip"]


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=300),
    start=st.sampled_from([b"", b"PK\x03\x04", b"\x08\x08", b"\x80\x02", LFS, b"\x1c\0\0\0TFL3"]),
)
def test_any_bytes_are_identified_without_an_error(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes
) -> None:
    path = tmp_path_factory.mktemp("any") / "m"
    path.write_bytes(start + content)
    assert str(identify(path))
