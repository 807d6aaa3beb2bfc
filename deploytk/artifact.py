"""A file and its history: what it is, what made it, from what, with which settings and libraries."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from deploytk.errors import InputError
from deploytk.files import sha256_of, sha256_of_value, write_json


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a model. A dimension is a number, or a name where it is free."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """A model file (or a run folder) and where it came from. The same facts stand in `<path>.json`."""

    path: Path
    format: str  # "pt", "onnx", "openvino-xml", "tflite", "vela-tflite"
    precision: str  # "fp32", "fp16", "int8"
    sha256: str
    made_by: str  # the stage: "train", "export", "quantize", "compile"
    key: str = ""  # sha256 of everything that shaped this file: see `stage_key`
    made_from: tuple[str, ...] = ()  # sha256 of each file it was made from
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def record(
        path: Path,
        *,
        format: str,
        precision: str,
        made_by: str,
        key: str = "",
        made_from: Sequence[Artifact] = (),
        inputs: Sequence[TensorSpec] = (),
        outputs: Sequence[TensorSpec] = (),
        settings: Mapping[str, Any] | None = None,
        versions: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> Artifact:
        """The artifact for a file that is complete, its lineage written beside it."""
        made = Artifact(
            path=path,
            format=format,
            precision=precision,
            sha256=sha256_of(path),
            made_by=made_by,
            key=key,
            made_from=tuple(a.sha256 for a in made_from),
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            settings=dict(settings or {}),
            versions=dict(versions or {}),
            metrics=dict(metrics or {}),
        )
        write_json(sidecar(path), made.as_dict())
        return made

    @staticmethod
    def load(path: Path) -> Artifact:
        """The artifact whose lineage stands beside `path`, checked against the file's sha256.

        Raises:
            InputError: there is no lineage, it is damaged, or the file has changed since.
        """
        beside = sidecar(path)
        try:
            raw = json.loads(beside.read_text(encoding="utf-8"))
            loaded = Artifact.from_dict({**raw, "path": path})
        except FileNotFoundError as error:
            raise InputError(f"{beside}: no lineage beside {path.name}; make it again with deploytk") from error
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{beside}: damaged lineage ({error}); make the file again") from error
        if sha256_of(path) != loaded.sha256:
            raise InputError(f"{path}: changed since deploytk made it (its sha256 differs from {beside.name})")
        return loaded

    @staticmethod
    def given(path: Path, format: str) -> Artifact:
        """The artifact at `path` with its lineage where one fits it, else with its sha256 alone."""
        if sidecar(path).is_file():
            try:
                return Artifact.load(path)
            except InputError:
                pass  # changed since, or not ours: then it is a file like any other
        return Artifact(path=path, format=format, precision="unknown", sha256=sha256_of(path), made_by="given")

    @staticmethod
    def from_dict(told: Mapping[str, Any]) -> Artifact:
        """The artifact that `as_dict` told."""
        specs = {
            side: tuple(TensorSpec(**{**t, "shape": tuple(t["shape"])}) for t in told[side])
            for side in ("inputs", "outputs")
        }
        return Artifact(**{**told, **specs, "path": Path(told["path"]), "made_from": tuple(told["made_from"])})

    def as_dict(self) -> dict[str, Any]:
        """The artifact as JSON-like values."""
        return {**asdict(self), "path": str(self.path)}


def sidecar(path: Path) -> Path:
    """Where the lineage of `path` stands: `model.onnx` -> `model.onnx.json`."""
    return path.with_name(path.name + ".json")


def stage_key(stage: str, inputs: Sequence[str], settings: Any, versions: Mapping[str, str]) -> str:
    """The key of a stage's result: equal keys mean that running it again would make the same thing."""
    return sha256_of_value({"stage": stage, "inputs": list(inputs), "settings": settings, "versions": dict(versions)})


def finished(path: Path, key: str) -> Artifact | None:
    """The artifact at `path` if it is whole and was made under `key`; None when it must be made (again)."""
    if not key or not path.exists():
        return None
    try:
        made = Artifact.load(path)
    except InputError:
        return None
    return made if made.key == key else None


def versions_of(*distributions: str) -> dict[str, str]:
    """The installed version of each distribution, "not installed" where there is none."""
    found: dict[str, str] = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
