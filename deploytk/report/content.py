"""A report as blocks, in the order people read it; whatever section is unknown is still shown."""

from __future__ import annotations

from dataclasses import asdict

from deploytk.report import Report
from deploytk.report.blocks import Block, Table, code, pairs, text
from deploytk.report.content_bench import bench_block, budget_block
from deploytk.report.content_data import data_block
from deploytk.report.content_diagnosis import diagnosis_block
from deploytk.report.content_diff import diff_block, ratio_block
from deploytk.report.content_engine import engine_block
from deploytk.report.content_ensemble import ensemble_block
from deploytk.report.content_generic import generic, scalar
from deploytk.report.content_ladder import ladder_block
from deploytk.report.content_load import load_block
from deploytk.report.content_matrix import matrix_block
from deploytk.report.content_models import (
    chain_block,
    compare_block,
    contract_block,
    findings_block,
    models_block,
    parity_block,
)
from deploytk.report.content_npu import npu_block
from deploytk.report.content_optimize import optimize_block
from deploytk.report.content_parity import agreement_block
from deploytk.report.content_parts import parts_block
from deploytk.report.content_pipeline import pipeline_block, predict_block
from deploytk.report.content_pipeline_accuracy import accuracy_block
from deploytk.report.content_search import crossover_block, sweep_block
from deploytk.report.content_several import several_block
from deploytk.report.content_text import text_evaluation_block
from deploytk.report.content_text_bench import text_bench_block
from deploytk.report.content_text_export import text_export_block
from deploytk.report.content_training import train_block

#: Sections that a block of its own shows.
_KNOWN = frozenset(
    {
        "accuracy", "agreement", "bench", "compare", "contract", "crossover", "data_check", "diagnosis", "diff",
        "engine", "ensemble", "exports", "ladder", "load", "matrix", "npu", "optimize", "parity", "parts",
        "pipeline", "predict", "ratio", "several", "skipped", "sweep", "text_bench", "text_evaluation", "text_export",
        "train",
    }
)  # fmt: skip

#: What an exit code means, in words.
EXIT_WORDS = {
    0: "all that was asked for holds",
    1: "a fault of deploytk",
    2: "the input is wrong",
    3: "over budget",
    4: "not decided: too little evidence",
    5: "a rule failed",
    6: "a library or device is missing",
    7: "training failed",
    8: "the converted model differs from its source",
}


def blocks(report: Report) -> list[Block]:
    """All blocks of the report; what it does not have is left out."""
    return [
        *optimize_block(report),
        *diagnosis_block(report),
        *data_block(report),
        *diff_block(report),
        *budget_block(report),
        *ratio_block(report),
        *compare_block(report),
        *sweep_block(report),
        *crossover_block(report),
        *several_block(report),
        *matrix_block(report),
        *parts_block(report),
        *models_block(report),
        *ladder_block(report),
        *predict_block(report),
        *accuracy_block(report),
        *text_evaluation_block(report),
        *text_export_block(report),
        *ensemble_block(report),
        *bench_block(report),
        *pipeline_block(report),
        *text_bench_block(report),
        *load_block(report),
        *npu_block(report),
        *engine_block(report),
        *contract_block(report),
        *parity_block(report),
        *agreement_block(report),
        *findings_block(report),
        *train_block(report),
        *_unknown(report),
        *chain_block(report),
        *_environment(report),
        *_reproduce(report),
    ]


def _unknown(report: Report) -> list[Block]:
    found: list[Block] = []
    for name, value in report.sections.items():
        if name not in _KNOWN and value not in (None, {}, [], ""):
            found.append(Block(name=f"section-{len(found)}", title=name, tables=tuple(generic(value))))
    return found


def _environment(report: Report) -> list[Block]:
    tables = []
    if report.machine:
        told = asdict(report.machine)
        tables.append(pairs([(k.replace("_gib", ", GiB"), scalar(v)) for k, v in told.items() if v], "Machine"))
    if report.versions:
        tables.append(pairs([(name, text(v)) for name, v in sorted(report.versions.items())], "Versions"))
    return [Block(name="environment", title="Environment", tables=tuple(tables))] if tables else []


def _reproduce(report: Report) -> list[Block]:
    rows = tuple(
        (text(f"{m.runtime}, batch {m.batch}"), code(m.command), code(m.log))
        for m in report.measurements
        if m.command or m.log
    )
    if not rows:
        return []
    lines = ("Each command repeats one measurement; its log has what the library said.",)
    title = f"{len(rows)} measurement{'' if len(rows) == 1 else 's'}"
    table = Table(columns=("what", "command", "log"), rows=rows, title=title, folded=len(rows) > 8)
    return [Block(name="reproduce", title="Logs, and commands to repeat", lines=lines, tables=(table,))]
