"""`deploytk bench` of a two-stage pipeline."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploytk.cli import bench_load
from deploytk.cli.common import progress
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.budget import Budget
    from deploytk.report import Report

#: Options that are for a model, and why a pipeline has none of them.
_NOT_FOR_IT = {
    "runtime": "its runtime stands in pipeline.json",
    "prepare": "how images are prepared stands in pipeline.json",
    "samples": "it begins with images: --images",
    "trust": "its models hold no code",
    "side_by_side": "bench one pipeline after the other, and compare them with: deploytk report diff",
}


def wanted(models: tuple[Path, ...], values: dict[str, Any]) -> bool:
    """Whether the one thing to bench is a pipeline.

    Raises:
        InputError: it is one among others, or `--crops` was given without one.
    """
    if not any(model.name == "pipeline.json" or (model / "pipeline.json").is_file() for model in models):
        if values["crops"] is not None:
            raise InputError("--crops is for a pipeline: give a folder with a pipeline.json in it")
        return False
    if len(models) > 1:
        raise InputError("a pipeline is benched alone; compare two runs with: deploytk report diff")
    return True


def run_bench(pipeline: Path, out: Path, values: dict[str, Any], budget: Budget) -> Report:
    """The report on a pipeline."""
    from deploytk.batches import may_go_between, parse_batches
    from deploytk.stages.bench_pipeline import Asked, bench

    for option, why in _NOT_FOR_IT.items():
        if values[option]:
            raise InputError(f"{_flag(option)} is not for a pipeline: {why}")
    if values["after"] != "auto":
        raise InputError("--after is not for a pipeline: its thresholds stand in pipeline.json")
    if bench_load.wanted(values):
        raise InputError("--scenario and --soak are for models; a pipeline is measured one request at a time")
    asked = Asked(
        images=values["images"],
        batches=parse_batches(values["batches"]),
        crops=values["crops"],
        may_go_between=may_go_between(values["batches"]),
        threads=values["threads"],
        options=values["options"],
        time_limit_s=values["time_limit"],
        min_samples=values["min_samples"],
        require=values["require"],
    )
    with progress(f"bench {pipeline.name}") as listen:
        return bench(pipeline, asked, budget=budget, out=out, listen=listen)


def _flag(option: str) -> str:
    return "--compare" if option == "side_by_side" else f"--{option}"
