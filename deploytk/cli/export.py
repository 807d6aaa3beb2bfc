"""`deploytk export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import progress, reporting, say_last
from deploytk.cli.options import Number, Overrides, gibibytes, overrides
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.profile import Profile
    from deploytk.report import Report
    from deploytk.stages.run_folder import RunFolder


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--target", help="onnx, openvino, npu or tensorrt (default: the profile's).")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "bf16", "int8"]),
    help="Of the model that is deployed (default: the profile's; int8 for the npu, fp16 for tensorrt, else fp32).",
)
@click.option("--calibration", help="Calibration set, by name or folder (default: the run makes its own).")
@click.option(
    "--max-drop",
    type=Number(0, 100),
    help="Points of the task metric that INT8 may lose: 1.0 is 0.01 of mAP50 or top-1 (default: the profile's budget).",
)
@click.option(
    "--qat-epochs",
    type=click.IntRange(0),
    help="Epochs of quantization-aware training where no other INT8 model is good enough; 0 for none "
    "(default: the profile's, 3).",
)
@click.option("--npu", help="NPU preset or YAML file, with --target npu (default: the profile's).")
@click.option("--imgsz", type=click.IntRange(32), help="Image size, a multiple of 32 (default: as trained).")
@click.option(
    "--preprocess",
    type=click.Choice(["out", "normalise", "letterbox"]),
    help="What of the preparation is put into model_deploy (onnx, openvino; default: the profile's).",
)
@click.option("--nms", type=click.Choice(["out", "in"]), help="in: the suppression is in model_deploy too.")
@click.option(
    "--batches",
    "engine_batches",
    help="Batch sizes that an engine takes: 1..64 (tensorrt; default: the bench's).",
)
@click.option(
    "--best-batch",
    type=click.IntRange(1),
    help="The batch size that an engine is tuned for (tensorrt; default: what a sweep on the GPU finds).",
)
@click.option("--workspace", callback=gibibytes, help="GPU memory that a kernel may use: 4GiB (tensorrt).")
@click.option(
    "--timing-cache", type=click.Path(path_type=Path, dir_okay=False), help="File of kernel timings (tensorrt)."
)
@click.option("--opt-level", type=click.IntRange(0, 5), help="0 builds quickly, 5 tries everything (tensorrt).")
@reporting
def export(run: Path, max_drop: float | None, imgsz: int | None, **values: Any) -> Report:
    """Make the model of the folder RUN ready for a target, and prove each step.

    INT8 is tried in several ways until one keeps the accuracy and is not slower than float; exit code 8 where none is.

    \b
    deploytk export RUN --target onnx
    deploytk export RUN --target onnx --precision int8 --calibration pills --max-drop 1.0
    deploytk export RUN --target npu --npu ethos-u55-256
    deploytk export RUN --target onnx --imgsz 256
    deploytk export RUN --target tensorrt --precision fp16 --batches 1..64
    deploytk export RUN --target onnx --preprocess letterbox --nms in
    """
    from deploytk.report import render
    from deploytk.stages.export import at_size, with_overrides
    from deploytk.stages.export import export as stage
    from deploytk.stages.run_folder import RunFolder, opened

    if RunFolder(run.absolute()).parts:
        return _both(run.absolute(), imgsz, overrides(**values, max_accuracy_drop=_share(max_drop)))
    folder = opened(run.absolute())
    profile = with_overrides(folder.profile(), overrides(**values, max_accuracy_drop=_share(max_drop)))
    if profile.text is not None:
        return _text(folder, profile, imgsz)
    with progress(f"exporting to {profile.export.target}") as listen:
        report = stage(folder, profile, listen, imgsz=imgsz)
    folder, profile = at_size(folder, profile, imgsz)
    written = render.write(report, folder.exported(profile.export.target))
    say_last(f"report: {written['html']}")
    return report


def _text(folder: RunFolder, profile: Profile, imgsz: int | None) -> Report:
    """The report on a run of a text model."""
    from deploytk.report import render
    from deploytk.stages.export_text import export as stage

    if imgsz is not None:
        raise InputError("--imgsz is for images; this run has a text model")
    with progress(f"exporting to {profile.export.target}") as listen:
        report = stage(folder, profile, listen)
    say_last(f"report: {render.write(report, folder.exported(profile.export.target))['html']}")
    if report.artifact is not None:
        say_last(f"model: {report.artifact.path}")
    return report


def _share(points: float | None) -> float | None:
    return None if points is None else points / 100


def _both(run: Path, imgsz: int | None, given: Overrides) -> Report:
    """The report on a run of two models."""
    from deploytk.report import render
    from deploytk.stages.export import with_overrides
    from deploytk.stages.export_pipeline import export as stage
    from deploytk.stages.export_pipeline import pipeline_folder
    from deploytk.stages.run_folder import RunFolder

    if imgsz is not None:
        raise InputError(f"--imgsz is for one model: export RUN/detector or RUN/classifier of {run}")
    profile = with_overrides(RunFolder(run).profile(), given)
    with progress("exporting both models") as listen:
        report = stage(run, profile, listen)
    say_last(f"report: {render.write(report, run / 'export')['html']}")
    if report.artifact is not None:
        say_last(f"pipeline: {pipeline_folder(run)}")
    return report
