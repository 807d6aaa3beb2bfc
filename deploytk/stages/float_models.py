"""The float models that targets quantize, each made from a checkpoint in a child process: ONNX, or LiteRT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deploytk import plugins
from deploytk.artifact import Artifact
from deploytk.stages.export_steps import Steps


def onnx(steps: Steps, checkpoint: Artifact, out: Path) -> Artifact:
    """The ONNX of a checkpoint at `out`, not proved yet."""
    settings = {"opset": steps.profile.export.opset, "imgsz": steps.profile.train.imgsz}
    names = {"backend": steps.profile.backend, "checkpoint": str(checkpoint.path), "out": str(out)}
    return steps.made(
        out,
        checkpoint,
        lambda: steps.call("onnx_from_checkpoint", f"export-onnx-{out.stem}", **names, **settings),
        stage="export-onnx",
        format="onnx",
        precision="fp32",
        settings=settings,
        distributions=(*steps.backend.DISTRIBUTIONS, "onnx", "onnxslim", "onnxruntime"),
    )


def litert(steps: Steps, checkpoint: Artifact, out: Path) -> Artifact:
    """The float LiteRT model of a checkpoint at `out`, not proved yet."""
    settings = {"imgsz": steps.profile.train.imgsz}
    names = {"backend": steps.profile.backend, "target": "npu", "checkpoint": str(checkpoint.path), "out": str(out)}
    return steps.made(
        out,
        checkpoint,
        lambda: steps.call("convert", f"convert-litert-{out.stem}", **names, **settings),
        stage="convert",
        format="tflite",
        precision="fp32",
        settings=settings,
        distributions=(*steps.backend.DISTRIBUTIONS, *plugins.load("targets", "npu").DISTRIBUTIONS),
    )


#: What a target quantizes, by what its module says that it is made from.
OF: dict[str, Callable[[Steps, Artifact, Path], Artifact]] = {"onnx": onnx, "torch": litert}
