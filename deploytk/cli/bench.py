"""`deploytk bench`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli import bench_load, bench_pipeline, bench_text
from deploytk.cli.common import progress, reporting, say, say_last
from deploytk.cli.options import BOUNDARY, BUDGET, PER, PERCENTILE, Number, share, thread_count
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.budget import Budget
    from deploytk.report import Report


def batch_sizes(text: str) -> list[int]:
    """The batch sizes, ascending: `1..64` (doubling), `1..64:8` (steps of 8), `1,2,4`."""
    from deploytk.batches import parse_batches

    return parse_batches(text)


def runtime_options(_ctx: click.Context, _param: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """`("hint=throughput",)` as a dict."""
    pairs = [text.partition("=") for text in given]
    wrong = next((name for name, equals, value in pairs if not (name and equals and value)), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r}: write NAME=VALUE, for example hint=throughput")
    return {name: value for name, _, value in pairs}


def crop_counts(_ctx: click.Context, _param: click.Parameter, text: str | None) -> list[int] | None:
    """The numbers of crops: `0,1,4`."""
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() for word in words):
        raise click.BadParameter(f"{text!r}: write numbers of crops, for example 0,1,4")
    return sorted({int(word) for word in words})


#: Seconds for a sweep, where nothing is said.
_TIME_LIMIT_S = 120.0

_NUMBERS = (
    click.option("--batches", default="1", show_default=True, help="1..64 (doubling, and between), 1..64:8 or 1,2,4."),
    BUDGET,
    PERCENTILE,
    click.option(
        "--confidence",
        type=Number(0.5, 1, min_open=True, max_open=True),
        default=0.95,
        show_default=True,
        help="Of pass and of fail, one-sided.",
    ),
    PER,
    click.option(
        "--require",
        type=click.Choice(["any", "all"]),
        default="any",
        show_default=True,
        help="Which of the batch sizes must meet the budget.",
    ),
    click.option("--max-memory-mb", type=Number(0, min_open=True), help="Peak memory that a batch size may use."),
    click.option("--max-size-mb", type=Number(0, min_open=True), help="Largest size of the file."),
    click.option(
        "--time-limit",
        type=Number(0, min_open=True),
        help="Seconds for the whole sweep (default 120; 600 for a text model).",
    ),
    click.option(
        "--min-samples",
        type=click.IntRange(0),
        default=0,
        help="Of each batch size within the budget, though fewer would decide: for a later `report diff`.",
    ),
)
_RUNNING = (
    click.option(
        "--runtime", multiple=True, help="onnx, openvino, litert, torch ... (default: by the file's content)."
    ),
    click.option("--threads", callback=thread_count, help="Threads of the runtime, or auto: measured."),
    click.option("--option", "options", multiple=True, callback=runtime_options, help="NAME=VALUE of the runtime."),
    click.option("--trust", is_flag=True, help="Load a TensorRT engine that holds host code, which runs that code."),
    click.option(
        "--samples",
        type=bench_text.CountOrFile(),
        help=".npz of real inputs (default: drawn ones); of a text model how many texts (default 100).",
    ),
    BOUNDARY,
    click.option(
        "--images", multiple=True, type=click.Path(exists=True), help="For end_to_end: a folder, files or a data.yaml."
    ),
    click.option("--prepare", help="For end_to_end: detector, classifier or a YAML file (default: by the model)."),
    click.option(
        "--crops",
        callback=crop_counts,
        help="Of a pipeline: 0,1,4 crops in every image, each within the budget (default: 0, 1 and the most found).",
    ),
    click.option(
        "--after",
        type=click.Choice(["auto", "nms", "top-k", "none"]),
        default="auto",
        show_default=True,
        help="For end_to_end: what is done with the outputs.",
    ),
)
_OTHERWISE = (
    click.option("--compare", "side_by_side", is_flag=True, help="Interleave the models or runtimes; tell the ratio."),
    click.option(
        "--tolerance", callback=share, default="5%", show_default=True, help="With --compare: how much slower passes."
    ),
    click.option("--suite", help="Bench all models of a suite: a shipped name, or a YAML file."),
    click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Also write JUnit XML here."),
    click.option(
        "--out",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder for the report and the logs (default runs/bench-MODEL).",
    ),
)


def _all(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed((*_NUMBERS, *_RUNNING, *bench_text.OPTIONS, *bench_load.OPTIONS, *_OTHERWISE)):
        command = option(command)
    return command


@click.command()
@click.argument("models", nargs=-1, type=click.Path(path_type=Path), metavar="MODEL...")
@_all
@reporting
def bench(models: tuple[Path, ...], out: Path | None, junit: Path | None, suite: str | None, **values: Any) -> Report:
    """Measure MODEL by batch size, each in its own process, and judge it against a budget.

    ONNX, TFLite, OpenVINO IR, torch programs (.pt2) and TensorRT engines are run; a model that Vela compiled for an
    Ethos-U is judged by Vela's estimate, marked as one.

    \b
    deploytk bench model.onnx --batches 1..64 --budget 50ms
    deploytk bench model.tflite --budget 20ms --percentile 99 --threads 1 --json
    deploytk bench model.onnx --runtime onnx --runtime openvino --compare
    deploytk bench detector.onnx --boundary end_to_end --images photos/
    deploytk bench PIPELINE --boundary end_to_end --images photos/ --crops 0,1,4
    deploytk bench RUN/export/onnx/int8 --batches 1..64 --samples 100 --judged first-token
    deploytk bench model.onnx --scenario server --qps 30 --percentile 99
    deploytk bench model.onnx --soak 10m

    Exit codes: 0 within the budget, 3 over it, 4 inconclusive. With --compare: 0 not slower than the first, 3 slower.
    """
    from deploytk.files import write_text
    from deploytk.report import render

    folder = (out or Path("runs") / f"bench-{_name(models, suite)}").absolute()
    is_text = suite is None and bench_text.wanted(models, values)
    if not is_text:
        values["time_limit"] = values["time_limit"] or _TIME_LIMIT_S
    if suite is not None:
        report = _suite(suite, models, folder)
    elif is_text:
        report = bench_text.run_bench(models, folder, values, _budget(values))
    elif bench_pipeline.wanted(models, values):
        report = bench_pipeline.run_bench(models[0], folder, values, _budget(values))
    elif bench_load.wanted(values):
        report = bench_load.run_load(models, folder, values, _budget(values))
    elif values["side_by_side"]:
        report = _compared(models, folder, values)
    else:
        report = _benched(models, folder, values)
    say_last(f"report: {render.write(report, folder)['html']}")
    if junit is not None:
        from deploytk.report.junit import junit as as_junit

        write_text(junit, as_junit(report))
    return report


def _name(models: tuple[Path, ...], suite: str | None) -> str:
    if suite is not None:
        return f"suite-{Path(suite).stem}"
    if not models:
        raise InputError("name a MODEL, or a --suite")
    if all(map(bench_text.is_text, models)):
        return "-".join(dict.fromkeys(map(bench_text.name_of, models)))
    named = (model.parent.absolute().name if model.name == "pipeline.json" else model.stem for model in models)
    return "-".join(dict.fromkeys(named))


def _budget(values: dict[str, Any]) -> Budget:
    from deploytk.budget import Budget

    names = ("percentile", "confidence", "per", "boundary", "max_memory_mb", "max_size_mb")
    return Budget(latency_ms=values["budget"], **{name: values[name] for name in names})


def _benched(models: tuple[Path, ...], out: Path, values: dict[str, Any]) -> Report:
    from deploytk.batches import may_go_between
    from deploytk.stages.bench import bench as stage

    if len(models) > 1 or len(values["runtime"]) > 1:
        raise InputError("several models or runtimes: add --compare, or bench one after the other")
    batches = batch_sizes(values["batches"])
    with progress(f"bench {models[0].name}") as listen:
        return stage(
            models[0],
            budget=_budget(values),
            batches=batches,
            may_go_between=may_go_between(values["batches"]),
            runtime=next(iter(values["runtime"]), None),
            threads=values["threads"],
            options=values["options"],
            time_limit_s=values["time_limit"],
            min_samples=values["min_samples"],
            require=values["require"],
            feeds=values["samples"],
            end_to_end=_end_to_end(values),
            trust=values["trust"],
            out=out,
            listen=listen,
        )


def _end_to_end(values: dict[str, Any]) -> dict[str, Any]:
    if values["boundary"] == "model":
        if values["images"] or values["prepare"]:
            raise InputError("--images and --prepare belong to --boundary end_to_end")
        return {}
    return {"images": list(values["images"]), "prepare": values["prepare"], "after": values["after"]}


def _compared(models: tuple[Path, ...], out: Path, values: dict[str, Any]) -> Report:
    from deploytk.stages import bench_compare, bench_engine
    from deploytk.stages.bench import artifact_of, nothing_left_of_bad_input, spec_of

    if values["threads"] == "auto":
        raise InputError("--threads auto is for one model; give a number with --compare")
    budget = _budget(values)
    batches = batch_sizes(values["batches"])
    with nothing_left_of_bad_input(out):
        contenders = [
            bench_compare.Contender(
                artifact=(artifact := bench_engine.runnable(artifact_of(model), runtime, batches, out)),
                spec=spec_of(
                    artifact,
                    runtime=runtime,
                    threads=values["threads"],
                    options=values["options"],
                    feeds=values["samples"],
                    boundary=budget.boundary,
                    trust=values["trust"],
                )
                | _end_to_end(values),
            )
            for model in models
            for runtime in (values["runtime"] or (None,))
        ]
    if len(contenders) < 2:
        raise InputError("--compare needs two models, or one model and --runtime twice")
    with progress("compare") as listen:
        return bench_compare.compare(
            contenders,
            budget=budget,
            batches=batches,
            tolerance=values["tolerance"],
            time_limit_s=values["time_limit"],
            out=out,
            listen=listen,
        )


def _suite(name: str, models: tuple[Path, ...], out: Path) -> Report:
    from deploytk.stages import bench_suite

    if models:
        raise InputError("a suite names its own models")
    wanted = bench_suite.load(name)
    with progress(f"suite {wanted.title}") as listen:
        return bench_suite.suite(wanted, out, say=say, listen=listen)
