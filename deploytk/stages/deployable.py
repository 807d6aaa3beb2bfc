"""The folder that is deployed: model, preparation, labels, an example that was run, verdict and lineage.

model.onnx, or model.xml + model.bin, or model.tflite (and the file that Vela compiled from it)
preparation.yaml   how an image becomes the input; also for deploytk bench --prepare
labels.txt         one class on each line
deploy.json        what run.py reads: model, runtime, threads, preparation
run.py             an example that needs the runtime, numpy and OpenCV
verdict.json       the verdict, its reasons, and what was measured on which machine
lineage.json       every artifact from the trained model to this one
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deploytk.artifact import Artifact, TensorSpec
from deploytk.data.preparation import Preparation
from deploytk.errors import InputError, ParityFailed, StepFailed
from deploytk.files import parts_of, plain, write_json, write_text, written_whole

_EXAMPLE = Path(__file__).with_name("deployable_example.py")
#: How many images the example is run with, and how long it may take.
IMAGES, _TIMEOUT_S = 4, 120.0
#: The example must put each box where the bench does: pixels, and score.
_PIXELS, _SCORES = 0.5, 0.005

Row = Sequence[Any]
#: The boxes of some images by the house's own code: (model, preparation) -> for each image x1 y1 x2 y2 score class.
Expected = Callable[[Path, Path], Sequence[Sequence[Row]]]


@dataclass(frozen=True, kw_only=True)
class Deployable:
    """What goes into the folder. `model` is what the example runs, `compiled` what an NPU does."""

    model: Artifact
    runtime: str
    threads: int | None
    options: Mapping[str, str]
    input: TensorSpec  # of the model, at batch 1
    labels: Sequence[str]
    chain: Sequence[Artifact]
    verdict: Mapping[str, Any]
    compiled: Artifact | None = None

    def write(self, out: Path, images: Sequence[Path], expected: Expected) -> dict[str, Any]:
        """The folder, written whole: it is there with an example that works, or not at all. What the example found.

        Raises:
            StepFailed: the example cannot be run.
            ParityFailed: the example finds other boxes than the bench does.
        """
        with written_whole(out) as partial:
            partial.mkdir()
            self._fill(partial)
            model = partial / f"model{self.model.path.suffix}"
            found = _run(partial, images)
            differs = different(found, expected(model, partial / "preparation.yaml"), self.labels)
            if differs:
                raise ParityFailed(f"{out.name}/run.py does not find what the bench finds: {differs}")
            shutil.rmtree(partial / "__pycache__", ignore_errors=True)
        return {"images": len(images), "boxes": sum(map(len, found))}

    def _fill(self, folder: Path) -> None:
        preparation = Preparation.for_input(self.input, "detector")
        told = preparation.model_dump(mode="json", exclude_none=True)
        for artifact in (self.model, *([self.compiled] if self.compiled else [])):
            stem = "model" if artifact is self.model else artifact.path.stem
            for part in parts_of(artifact.path):
                shutil.copyfile(part, folder / f"{stem}{part.suffix}")
        header = f"# sha256 {preparation.sha256}\n"
        write_text(folder / "preparation.yaml", header + yaml.safe_dump(told, sort_keys=False))
        write_text(folder / "labels.txt", "".join(f"{name}\n" for name in self.labels))
        write_json(folder / "deploy.json", self._told(told, preparation.sha256))
        shutil.copyfile(_EXAMPLE, folder / "run.py")
        write_json(folder / "verdict.json", plain(dict(self.verdict)))
        # Names instead of paths: the folder goes to other machines.
        lineage = [{**artifact.as_dict(), "path": artifact.path.name} for artifact in self.chain]
        write_json(folder / "lineage.json", plain(lineage))

    def _told(self, preparation: dict[str, Any], sha256: str) -> dict[str, Any]:
        return {
            "model": f"model{self.model.path.suffix}",
            "model_sha256": self.model.sha256,
            "runtime": self.runtime,
            "threads": self.threads,
            "options": dict(self.options),
            "input": list(self.input.shape),
            "preparation": preparation,
            "preparation_sha256": sha256,
        }


def require_replaceable(out: Path) -> None:
    """Nothing, where a folder to deploy may be written to `out`: it is not there, empty, or one of ours.

    Raises:
        InputError: something else is there, which is not replaced.
    """
    if out.exists() and not (out / "deploy.json").is_file() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: something else is there, and it would be replaced; name another place with --out")


def different(found: Sequence[Sequence[Row]], expected: Sequence[Sequence[Row]], labels: Sequence[str]) -> str:
    """Where the example's boxes are not those of the bench, as words, or the empty string."""
    for number, (ours, theirs) in enumerate(zip(found, expected, strict=True), start=1):
        if len(ours) != len(theirs):
            return f"{len(ours)} boxes instead of {len(theirs)} in image {number}"
        for got, wanted in zip(ours, theirs, strict=True):
            near = all(abs(a - b) <= _PIXELS for a, b in zip(got[:4], wanted[:4], strict=True))
            if not near or abs(got[4] - wanted[4]) > _SCORES or got[5] != labels[int(wanted[5])]:
                return f"{list(got)} instead of {list(wanted)} in image {number}"
    return ""


def _run(folder: Path, images: Sequence[Path]) -> list[list[Row]]:
    """What the example in the folder finds in each image."""
    argv = [sys.executable, "run.py", *map(str, images)]
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise StepFailed(f"run.py took longer than {_TIMEOUT_S:g} s", kind="timeout") from error
    if done.returncode:
        raise StepFailed(f"run.py failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return [json.loads(line)["boxes"] for line in done.stdout.splitlines()]
