"""The TensorRT engine of a run: its ONNX with the precision in it, proved on this CPU, then built, run and proved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk import plugins
from deploytk.artifact import Artifact
from deploytk.batches import parse_batches
from deploytk.report import Report
from deploytk.runtimes import gpu
from deploytk.stages import engines, proof, speed
from deploytk.stages.export_parts import exported_onnx, quantized
from deploytk.stages.export_steps import Steps
from deploytk.stages.real_inputs import real_inputs


def export_tensorrt(steps: Steps) -> Report:
    """The engine of the run. Without a GPU it is built where that is possible, and the report says it was not run."""
    precision = steps.profile.export.precision or "fp16"
    onnx, checks = exported_onnx(steps), proof.Checks(steps.profile)
    _checked(checks, onnx, steps.source, "onnx")
    chain: tuple[Artifact, ...] = (steps.source, onnx)
    typed = onnx
    if precision == "int8":
        made = quantized(steps, checks, "tensorrt", onnx, onnx, steps.run.tensorrt / "model_int8.onnx")
        if not made:
            return checks.report("export tensorrt", onnx, chain, steps.skipped)
        checks.contract(made[-1], "onnx int8")
        chain, typed = (*chain, *made), made[-1]
    elif precision != "fp32":
        typed = _typed(steps, onnx, precision)
        _checked(checks, typed, steps.source, f"onnx {precision}")
        chain = (*chain, typed)
    engine = _engine(steps, typed, precision)
    checks.engine = engine.settings["engine"]
    told = engines.in_words(checks.engine)
    if gpu.lacking():
        checks.unseen(f"{engine.path.name}: {told}; not executed: {gpu.lacking()}")
        return checks.report("export tensorrt", engine, (*chain, engine), steps.skipped)
    checks.good.append(f"{engine.path.name}: {told}")
    engine = steps.proved(engine, "tensorrt")
    checks.agreement(engine, steps.source)
    checks.metric(engine, steps.source)
    if precision == "int8":
        _timed_beside_half(steps, checks, onnx, engine)
    return checks.report("export tensorrt", engine, (*chain, engine), steps.skipped)


def _checked(checks: proof.Checks, model: Artifact, source: Artifact, where: str) -> None:
    checks.contract(model, where)
    checks.agreement(model, source)
    checks.metric(model, source)


def _typed(steps: Steps, onnx: Artifact, precision: str) -> Artifact:
    """The ONNX with float16 or bfloat16 in it, run on this CPU as it is written."""
    out = steps.run.tensorrt / f"model_{precision}.onnx"
    made = steps.made(
        out,
        onnx,
        lambda: steps.call("typed_onnx", f"typed-{precision}", onnx=str(onnx.path), out=str(out), precision=precision),
        stage="typed-onnx",
        format="onnx",
        precision=precision,
        settings={"precision": precision},
        distributions=plugins.load("targets", "tensorrt").DISTRIBUTIONS,
    )
    return steps.proved(made, "tensorrt")


def _engine(steps: Steps, onnx: Artifact, precision: str) -> Artifact:
    profile = steps.profile
    batches = parse_batches(profile.export.tensorrt.batches or profile.bench.batches)
    out = steps.run.tensorrt / f"model_{precision}.engine"

    def build(**what: Any) -> dict[str, Any]:
        facts: dict[str, Any] = steps.call("deploytk.targets.tensorrt:build", f"build-{out.name}", **what)
        return facts

    how = engines.wanted(profile, precision, batches)
    made, steps.skipped[out.name] = engines.engine_of(onnx, out, how, build, lambda path: _swept(steps, path, batches))
    return made


def _swept(steps: Steps, engine: Path, batches: list[int]) -> int | None:
    """The batch size with the highest throughput within the budget, by a short bench of the engine."""
    from deploytk.stages.bench import bench

    report = bench(
        engine,
        budget=steps.profile.budget.model_copy(update={"boundary": "model"}),
        batches=batches,
        runtime="tensorrt",
        time_limit_s=steps.profile.bench.time_limit_s / 4,
        feeds=real_inputs(steps.profile, steps.run, steps.listen),
        out=steps.run.logs / f"sweep-{engine.stem}",
        listen=steps.listen,
    )
    best: int | None = report.sections["bench"]["best_batch"]
    return best


def _timed_beside_half(steps: Steps, checks: proof.Checks, onnx: Artifact, engine: Artifact) -> None:
    """INT8 that is slower than float16 on this GPU is a failure."""
    rival = _engine(steps, _typed(steps, onnx, "fp16"), "fp16")
    inputs = real_inputs(steps.profile, steps.run, steps.listen)
    found = speed.beside_float(engine, rival, "tensorrt", inputs, steps.run.logs / "speed-tensorrt", steps.listen)
    proof.kept(engine, speed=found)
    if found["verdict"] == "slower":
        checks.slower(
            f"{engine.path.name}: takes {found['ratio']:.2f} times as long as float16: INT8 gains nothing here"
        )
