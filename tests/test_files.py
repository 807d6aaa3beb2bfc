"""Files are written whole or not at all; artifacts notice a change."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploytk.artifact import Artifact, TensorSpec, finished, sidecar, stage_key
from deploytk.errors import InputError
from deploytk.files import sha256_of, write_json, written_whole


def recorded(path: Path, key: str = "k") -> Artifact:
    path.write_bytes(b"model")
    spec = TensorSpec(name="images", shape=("batch", 3, 32, 32), dtype="float32")
    return Artifact.record(path, format="onnx", precision="fp32", made_by="export", key=key, inputs=[spec])


def test_an_error_while_writing_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), written_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with written_whole(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / "f").write_text(text)
    assert (tmp_path / "folder" / "f").read_text() == "two"


def test_nan_never_gets_into_a_json_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"latency_ms": float("nan")})
    assert not list(tmp_path.iterdir())


def test_artifact_comes_back_as_it_was_recorded(tmp_path: Path) -> None:
    made = recorded(tmp_path / "m.onnx")
    assert Artifact.load(tmp_path / "m.onnx") == made
    assert made.sha256 == sha256_of(tmp_path / "m.onnx")


def test_a_changed_file_is_refused_and_made_again(tmp_path: Path) -> None:
    recorded(tmp_path / "m.onnx")
    (tmp_path / "m.onnx").write_bytes(b"other")
    with pytest.raises(InputError, match="changed since deploytk made it"):
        Artifact.load(tmp_path / "m.onnx")
    assert finished(tmp_path / "m.onnx", "k") is None


def test_finished_needs_the_same_key_and_a_whole_lineage(tmp_path: Path) -> None:
    recorded(tmp_path / "m.onnx")
    assert finished(tmp_path / "m.onnx", "k") is not None
    assert finished(tmp_path / "m.onnx", "other") is None
    sidecar(tmp_path / "m.onnx").write_text('{"half')
    assert finished(tmp_path / "m.onnx", "k") is None


def test_stage_key_changes_with_input_settings_and_versions() -> None:
    def key(source: str = "a", opset: int = 17, version: str = "1") -> str:
        return stage_key("export", [source], {"opset": opset}, {"onnx": version})

    assert key() == key()
    assert len({key(), key(source="b"), key(opset=18), key(version="2")}) == 4


def test_what_a_killed_process_left_is_cleared_by_the_next_writer(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".a.{dead.pid}.tmp.json").write_text("half")
    (tmp_path / f".a.{os.getppid()}.tmp.json").write_text("being written by another")
    write_json(tmp_path / "a.json", {})
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".a.{os.getppid()}.tmp.json", "a.json"]
