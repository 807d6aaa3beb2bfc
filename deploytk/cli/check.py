"""`deploytk check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploytk.cli.common import progress, reporting

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--profile", "name", metavar="NAME", help="The profile whose activations the model must have.")
@click.option(
    "--npu", metavar="NAME", help="NPU preset or YAML file to place it on (default: the profile's, or U55-256)."
)
@click.option("--trust", is_flag=True, help="Open a foreign Ultralytics .pt: unpickling it runs code from the file.")
@reporting
def check(model: Path, name: str | None, npu: str | None, trust: bool) -> Report:
    """Check what MODEL (.pt, .onnx, .tflite or a run folder) is, its activations, and where an NPU would run it.

    \b
    deploytk check model.onnx --profile npu-level4-relu
    deploytk check model_int8.tflite --npu ethos-u65-512
    """
    from deploytk import profile_loading
    from deploytk.stages.check import check as stage

    profile = profile_loading.load(name) if name else None
    preset = profile_loading.load_npu(npu).model_dump(mode="json") if npu else None
    with progress(f"checking {model.name}"):
        return stage(model, profile=profile, npu=preset, trust=trust)
