"""`deploytk optimize`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.bench_load import seconds
from deploytk.cli.common import progress, reporting, say_last
from deploytk.cli.options import BOUNDARY, BUDGET, PER, PERCENTILE, Number, thread_count

if TYPE_CHECKING:
    from deploytk.report import Report


def names(_ctx: click.Context, _param: click.Parameter, text: str | None) -> list[str] | None:
    """`onnx,openvino` as a list."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def numbers(ctx: click.Context, param: click.Parameter, text: str | None) -> list[int] | None:
    """`320,256` as a list of numbers above 0."""
    found = names(ctx, param, text)
    if found is None:
        return None
    if not found or not all(name.isdecimal() and int(name) for name in found):
        raise click.BadParameter(f"{text!r}: write whole numbers with commas between: 320,256")
    return [int(name) for name in found]


_OPTIONS = (
    BUDGET,
    click.option(
        "--max-drop",
        type=Number(0, 100),
        default=1.0,
        show_default=True,
        help="Points of the task metric that may be lost, image size and INT8 together: 1.0 is 0.01 of mAP50 or top-1.",
    ),
    click.option("--targets", callback=names, help="onnx,openvino,npu (default: all). npu is estimated, never ranked."),
    click.option("--precisions", callback=names, default="fp32,int8", show_default=True, help="fp32, fp16, int8."),
    click.option("--imgsz", callback=numbers, help="320,256: image sizes (default: the one it was trained at)."),
    click.option("--batch", callback=numbers, default="1", show_default=True, help="1 or 1,4: by the time per item."),
    click.option(
        "--threads", callback=thread_count, default="auto", show_default=True, help="A number, or auto: measured."
    ),
    BOUNDARY,
    PER,
    PERCENTILE,
    click.option("--time-limit", callback=seconds, default="20m", show_default=True, help="20m, 90s or 1h."),
    click.option("--calibration", help="Calibration set, by name or folder (default: the run makes its own)."),
    click.option(
        "--out", type=click.Path(path_type=Path, file_okay=False), help="The folder to deploy (default RUN/deploy)."
    ),
)


def _all(command: Any) -> Any:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@_all
@reporting
def optimize(run: Path, **values: Any) -> Report:
    """Find the fastest model of the folder RUN that meets the budget, and write it as one folder to deploy.

    Searched are targets, precisions, image sizes, batch sizes, threads and options of the runtimes. The plain default,
    the float ONNX in ONNX Runtime, is always among them. The same command again goes on where the last one ended.

    \b
    deploytk optimize RUN --budget 50ms --max-drop 1.0
    deploytk optimize RUN --budget 20ms --targets onnx,openvino --imgsz 320,256 --boundary end_to_end

    Exit codes: 0 within the budget, 3 nothing is, 4 inconclusive, 8 the default is not what was trained.
    """
    from deploytk.report import render
    from deploytk.stages.optimize import optimize as stage
    from deploytk.stages.run_folder import opened

    folder = opened(run.absolute())
    with progress("optimizing") as listen:
        report = stage(folder, folder.profile(), _ask(values), listen)
    say_last(f"report: {render.write(report, folder.path / 'optimize')['html']}")
    if report.artifact is not None:
        say_last(f"to deploy: {report.sections['optimize']['deployed']['folder']}")
    return report


def _ask(values: dict[str, Any]) -> Any:
    from deploytk.budget import Budget
    from deploytk.stages.optimize import Ask

    budget = Budget(
        latency_ms=values["budget"],
        max_accuracy_drop=values["max_drop"] / 100,
        **{name: values[name] for name in ("percentile", "per", "boundary")},
    )
    asked = {name: values[name] for name in ("targets", "precisions", "threads", "calibration", "out")}
    return Ask(
        budget=budget,
        sizes=values["imgsz"],
        batches=values["batch"],
        time_limit_s=values["time_limit"],
        **asked,
    )
