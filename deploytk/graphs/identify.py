"""What a file really is: told by its content, not by its name, without any heavy import."""

from __future__ import annotations

import mmap
import re
import struct
import zipfile
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deploytk.errors import InputError

Name = Literal[
    "missing", "empty", "unreadable", "special", "folder", "run", "lfs-pointer", "appledouble", "onnx",
    "truncated-onnx", "tflite", "vela-tflite", "truncated-tflite", "torch", "torch-legacy", "torchscript",
    "torch-program", "truncated-zip", "zip", "pickle", "openvino-xml", "tensorrt-engine", "safetensors", "keras-h5",
    "gguf", "image", "html", "xml", "text", "unknown",
]  # fmt: skip

#: What deploytk opens as a model and looks into.
MODELS = frozenset({"onnx", "tflite", "vela-tflite", "torch"})
#: What it runs and measures: kind -> the runtime that runs it where no other is asked for.
RUNNABLE: dict[Name, str] = {
    "onnx": "onnx",
    "tflite": "litert",
    "openvino-xml": "openvino",
    "torch-program": "torch",
    "torchscript": "torch",
    "tensorrt-engine": "tensorrt",
}

_AGAIN = "copy or download it again"
_BENCH = "deploytk bench runs it; to have it checked, give the ONNX it was made from"
_GIVE = "give a .onnx, .tflite or .pt file, or a run folder"

#: kind -> (what it is, what to do). `{size}` is the size of the file in bytes.
_WORDS: dict[Name, tuple[str, str]] = {
    "missing": ("no such file", "check the path"),
    "empty": ("an empty file (0 bytes), not a model", _AGAIN),
    "unreadable": ("not readable", "check its permissions"),
    "special": ("a device, a pipe or a socket, not a file", _GIVE),
    "folder": ("a folder without a model.pt, not a run folder", "make one with: deploytk train"),
    "run": ("a run folder", "give a model file in it"),
    "lfs-pointer": ("a git-LFS pointer ({size} bytes of text), not a model", "run: git lfs pull"),
    "appledouble": ("a macOS AppleDouble file ({size} bytes of Finder data), not a model", "use the file without '._'"),
    "onnx": ("an ONNX model", ""),
    "truncated-onnx": ("a truncated ONNX model ({size} bytes)", _AGAIN),
    "tflite": ("a TFLite model", ""),
    "vela-tflite": ("a TFLite model that Vela has compiled", ""),
    "truncated-tflite": ("a truncated TFLite model ({size} bytes)", _AGAIN),
    "torch": ("a PyTorch checkpoint", ""),
    "torch-legacy": ("a PyTorch checkpoint of before 1.6 (a bare pickle)", "save it again with a newer PyTorch"),
    "torchscript": ("a TorchScript archive, not a checkpoint", _BENCH),
    "torch-program": ("a program that torch.export saved (.pt2)", _BENCH),
    "truncated-zip": ("a truncated ZIP archive or PyTorch checkpoint ({size} bytes)", _AGAIN),
    "zip": ("a ZIP archive that holds no PyTorch checkpoint", "unpack it and give the model in it"),
    "pickle": ("a bare Python pickle, which is never loaded", _GIVE),
    "openvino-xml": ("an OpenVINO IR", _BENCH),
    "tensorrt-engine": ("a TensorRT engine", _BENCH),
    "safetensors": ("weights without a graph (safetensors)", "give the ONNX or the .pt of the whole model"),
    "keras-h5": ("an HDF5 file (Keras)", "convert it to TFLite or ONNX"),
    "gguf": ("a GGUF language model", "deploytk does not check it"),
    "image": ("an image, not a model", _GIVE),
    "html": ("a web page, not a model", "the download gave an error page; download it again"),
    "xml": ("an XML file, not a model", _GIVE),
    "text": ("a text file, not a model", _GIVE),
    "unknown": ("not a model that deploytk knows ({size} bytes)", _GIVE),
}

_IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\1\0")
_TORCH_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.serialization.MAGIC_NUMBER as a pickle
_ENGINES = (b"ptrt", b"ftrt", b"vtrt")  # TensorRT 8 and before, TensorRT since, TensorRT-RTX
_STARTS: tuple[tuple[bytes, Name], ...] = (
    (b"\x00\x05\x16\x07", "appledouble"),
    (b"version https://git-lfs", "lfs-pointer"),
    (_TORCH_MAGIC, "torch-legacy"),
    (b"\x89HDF", "keras-h5"),
    (b"GGUF", "gguf"),
    *((magic, "tensorrt-engine") for magic in _ENGINES),
    *((magic, "image") for magic in _IMAGES),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What stands at a path: a name for programs, words for people, and what to do where it is no model."""

    path: Path
    name: Name
    what: str
    fix: str = ""

    @property
    def is_model(self) -> bool:
        """Whether deploytk opens it as a model."""
        return self.name in MODELS

    def __str__(self) -> str:
        said = self.what if self.name in {"missing", "unreadable"} else f"is {self.what}"
        return f"{self.path}: {said}" + (f"; {self.fix}" if self.fix else "")


def identify(path: Path) -> Kind:
    """The kind of the file or folder at `path`; never an error."""
    try:
        name, size = _name(path), path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        name, size = "missing", 0
    except OSError:
        name, size = "unreadable", 0
    what, fix = _WORDS[name]
    return Kind(path=path, name=name, what=what.format(size=size), fix=fix)


def require_model(path: Path, kinds: Container[str] = MODELS) -> Kind:
    """The kind of the model file at `path`, one of `kinds`.

    Raises:
        InputError: it is none of them: what it is instead, and what to do.
    """
    kind = identify(path)
    if kind.name in kinds:
        return kind
    said = str(kind)
    if kind.name in {"pickle", "zip", "torch-legacy", "torchscript"}:
        from deploytk.graphs.pickles import look, warning

        said += warning(look(path))
    raise InputError(said)


def _name(path: Path) -> Name:
    if path.is_dir():
        return "run" if (path / "model.pt").is_file() or (path / "profile.json").is_file() else "folder"
    if path.exists() and not path.is_file():
        return "special"
    size = path.stat().st_size
    if not size:
        return "empty"
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        head = data[:512]
        for magic, name in _STARTS:
            if head.startswith(magic):
                return name
        for tell in (_tflite, _zip, _engine, _safetensors, _pickle, _onnx, _text):
            found = tell(path, data)
            if found:
                return found
    return "unknown"


def _tflite(_path: Path, data: mmap.mmap) -> Name | None:
    if data[4:8] != b"TFL3":
        return None
    root = struct.unpack_from("<I", data)[0]
    if root + 4 > len(data):
        return "truncated-tflite"
    # A quick look; graphs/litert.py reads the operators.
    return "vela-tflite" if data.find(b"ethos-u") >= 0 else "tflite"


def _zip(path: Path, data: mmap.mmap) -> Name | None:
    if data[:2] != b"PK":
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rsplit("/", 1)[-1] for name in archive.namelist()}
            inside = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "truncated-zip"
    if "constants.pkl" in names and any("/code/" in name for name in inside):
        return "torchscript"
    programs = "archive_format" in names and any(re.search(r"(^|/)models/[^/]+\.json$", name) for name in inside)
    if programs or "serialized_exported_program.json" in names:  # since PyTorch 2.8, and before
        return "torch-program"
    return "torch" if "data.pkl" in names else "zip"


def engine_start(head: bytes) -> int:
    """Where the plan of a TensorRT engine begins: behind the header that Ultralytics writes, a length and JSON.

    `head` is the beginning of the file or all of it; -1 where no plan begins in it.
    """
    if head[:4] in _ENGINES:
        return 0
    length = struct.unpack_from("<I", head)[0] if head[4:5] == b"{" else -4
    return length + 4 if head[length + 4 : length + 8] in _ENGINES else -1


def _engine(_path: Path, data: mmap.mmap) -> Name | None:
    return "tensorrt-engine" if data[4:5] == b"{" and engine_start(data[: 1 << 20]) > 0 else None


def _safetensors(_path: Path, data: mmap.mmap) -> Name | None:
    if len(data) < 10 or data[8:9] != b"{":
        return None
    return "safetensors" if struct.unpack_from("<Q", data)[0] < len(data) else None


def _pickle(_path: Path, data: mmap.mmap) -> Name | None:
    from deploytk.graphs.pickles import looks_like_pickle

    return "pickle" if looks_like_pickle(data[: 1 << 16]) else None


def _onnx(_path: Path, data: mmap.mmap) -> Name | None:
    """ONNX where the fields of a ModelProto stand one after the other: an IR version or an opset, and a graph."""
    seen: set[int] = set()
    try:
        for number, wire in _fields(data):
            if _MODEL_PROTO.get(number) != wire:
                return None
            seen.add(number)
    except EOFError:
        return "truncated-onnx" if {1, 7} <= seen or {1, 2} <= seen or {1, 8} <= seen else None
    return "onnx" if 7 in seen and seen & {1, 8} else None


#: Field number -> wire type of onnx.ModelProto (onnx.proto): 7 is the graph, 1 the IR version, 8 the opsets.
_MODEL_PROTO = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}


def _fields(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """(number, wire type) of each top-level field of a protobuf; EOFError where it ends inside one."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        yield number, wire
        length, at = _varint(data, at)
        if wire == 2:
            at += length
    if at > len(data):
        raise EOFError


def _varint(data: mmap.mmap, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise EOFError
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _text(_path: Path, data: mmap.mmap) -> Name | None:
    try:
        text = data[:4096].decode("utf-8", errors="strict" if len(data) <= 4096 else "ignore")
    except UnicodeDecodeError:
        return None
    if any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
        return None
    start = text.lstrip("\ufeff \t\r\n").lower()
    tests: tuple[tuple[Name, Callable[[str], bool]], ...] = (
        ("html", lambda s: s.startswith(("<!doctype html", "<html"))),
        ("openvino-xml", lambda s: s.startswith(("<?xml", "<net")) and "<net " in s),
        ("xml", lambda s: s.startswith("<?xml")),
    )
    return next((name for name, test in tests if test(start)), "text")
