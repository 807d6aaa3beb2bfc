"""`deploytk check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting

if TYPE_CHECKING:
    from deploytk.report import Report

#: What a model can be checked for.
_TARGETS = ("npu", "tensorrt")


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--profile", "name", metavar="NAME", help="The profile whose activations the model must have.")
@click.option(
    "--target",
    metavar="NAME",
    default="npu",
    show_default=True,
    help="What it is to run on: npu, or tensorrt (which nodes of an ONNX TensorRT would not take, and why).",
)
@click.option(
    "--npu", metavar="NAME", help="NPU preset or YAML file to place it on (default: the profile's, or U55-256)."
)
@click.option("--trust", is_flag=True, help="Open a foreign Ultralytics .pt: unpickling it runs code from the file.")
@reporting
def check(model: Path, name: str | None, target: str, npu: str | None, trust: bool) -> Report:
    """Check what MODEL (.pt, .onnx, .tflite or a run folder) is, its activations, and whether its target takes it.

    Of a two-stage pipeline (a folder with a pipeline.json) it says what is in it, and that its models are unchanged.

    \b
    deploytk check model.onnx --profile npu-level4-relu
    deploytk check model_int8.tflite --npu ethos-u65-512
    deploytk check model.onnx --target tensorrt
    """
    from deploytk import plugins, profile_loading
    from deploytk.errors import InputError
    from deploytk.stages.check import check as stage
    from deploytk.stages.check_tensorrt import check as for_tensorrt

    if model.name == "pipeline.json" or (model / "pipeline.json").is_file():
        from deploytk.stages.check_pipeline import check as of_pipeline

        return of_pipeline(model)
    if target not in _TARGETS:
        raise InputError(f"--target: {plugins.unknown('target to check for', target, _TARGETS)}")
    profile = profile_loading.load(name) if name else None
    if target == "tensorrt":
        if npu is not None:
            raise InputError("--npu says on which NPU to place a model, and --target tensorrt is none; leave one out")
        with progress(f"checking {model.name}"):
            return for_tensorrt(model, profile=profile)
    preset = profile_loading.load_npu(npu).model_dump(mode="json") if npu else None
    with progress(f"checking {model.name}"):
        return stage(model, profile=profile, npu=preset, trust=trust)
