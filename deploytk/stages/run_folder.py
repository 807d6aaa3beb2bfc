"""The folder of one run: where each stage puts its files, and the profile it was made with."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from deploytk.errors import InputError
from deploytk.files import write_json
from deploytk.profile import PART_NAMES, Profile


@dataclass(frozen=True)
class RunFolder:
    """`RUN/`: profile.json, model.pt (of a text model model/), training reports, export/, bench/, logs/, report.*."""

    path: Path
    imgsz: int | None = None  # the image size of what is exported, where it is another than trained

    @property
    def model(self) -> Path:
        """The trained model (opens without unpickling): a file, or the folder of a text model."""
        folder = self.path / "model"
        return folder if folder.is_dir() else self.path / "model.pt"

    @property
    def logs(self) -> Path:
        """The log, task and result of every child step."""
        return self.path / "logs"

    @property
    def onnx(self) -> Path:
        """The exported ONNX."""
        return self.exported("onnx") / "model.onnx"

    @property
    def openvino(self) -> Path:
        """The folder of the OpenVINO export: an .xml with its .bin per precision."""
        return self.exported("openvino")

    @property
    def npu(self) -> Path:
        """The folder of the NPU export: LiteRT float and INT8, and one folder per compiled preset."""
        return self.exported("npu")

    @property
    def tensorrt(self) -> Path:
        """The folder of the TensorRT export: an ONNX with its precision in it, and its engine, per precision."""
        return self.exported("tensorrt")

    def exported(self, target: str) -> Path:
        """The folder of what is made for a target: `export/onnx`, or `export/onnx-256` at another image size."""
        return self.path / "export" / (target if self.imgsz is None else f"{target}-{self.imgsz}")

    @property
    def parts(self) -> bool:
        """Whether it holds the two models of a pipeline, each in a run folder of its own."""
        return (self.path / "profile.json").is_file() and self.profile().parts is not None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Within the block no other deploytk makes something in this folder; the lock ends with the process.

        Raises:
            InputError: another one is at work here.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(f"{self.path}: another deploytk is at work here; wait for it, or use --out") from error
            yield

    def save_profile(self, profile: Profile) -> None:
        """Keep the profile this run is made with."""
        write_json(self.path / "profile.json", profile.model_dump(mode="json", by_alias=True))

    def profile(self) -> Profile:
        """The profile this run was made with.

        Raises:
            InputError: this is no run folder.
        """
        kept = self.path / "profile.json"
        try:
            return Profile.model_validate(json.loads(kept.read_text(encoding="utf-8")))
        except FileNotFoundError as error:
            raise InputError(
                f"{self.path}: not a run folder (no profile.json); make one with: deploytk train"
            ) from error
        except (ValueError, ValidationError) as error:
            raise InputError(f"{kept}: damaged; train again with: deploytk train --out {self.path}") from error


def opened(path: Path) -> RunFolder:
    """The run folder at `path`, or the one that the model file `path` stands in.

    Raises:
        InputError: nothing there, or no trained model in it.
    """
    if not path.exists():
        raise InputError(f"{path}: no such run folder")
    run = RunFolder(path if path.is_dir() else path.parent)
    parts = run.profile().parts
    if parts is not None:
        where = " or ".join(str(run.path / name) for name in PART_NAMES)
        raise InputError(f"{path}: a pipeline of two models; name one: {where}")
    if not run.model.exists():
        raise InputError(
            f"{run.path}: training has not finished here (no trained model in it); go on with: deploytk train or run"
        )
    return run
