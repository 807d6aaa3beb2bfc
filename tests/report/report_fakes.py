"""Reports as the pipeline makes them, with invented numbers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.measurement import Machine, Measurement
from deploytk.report import Finding, Report

MACHINE = Machine(cpu="Some CPU @ 2.5 GHz", cores=2, memory_gib=7.8, system="Linux 6.1 x86_64", python="3.11.9")


def artifact(name: str, format: str, digit: str, *, made_by: str, made_from: str = "", **metrics: float) -> Artifact:
    """An artifact whose sha256 is 64 times `digit`."""
    precision = "int8" if "int8" in name else "fp32"
    source = (made_from * 64,) if made_from else ()
    return Artifact(
        path=Path("runs/demo") / name,
        format=format,
        precision=precision,
        sha256=digit * 64,
        made_by=made_by,
        made_from=source,
        metrics=metrics,
    )


def chain() -> tuple[Artifact, ...]:
    """From the checkpoint to the compiled model."""
    return (
        artifact("model.pt", "pt", "a", made_by="train", mAP50=0.812, mAP50_95=0.554),
        artifact("model.onnx", "onnx", "b", made_by="export-onnx", made_from="a", mAP50=0.812, mAP50_95=0.554),
        artifact("model_int8.tflite", "tflite", "c", made_by="quantize", made_from="a", mAP50=0.801, mAP50_95=0.541),
        artifact("model_int8_vela.tflite", "vela-tflite", "d", made_by="compile", made_from="c"),
    )


def measured(artifact: str, batch: int, typical_ms: float, runtime: str = "onnx", **more: Any) -> Measurement:
    """200 samples with a tail, in 40 blocks."""
    rng = random.Random(f"{artifact}{batch}")
    samples = tuple(typical_ms * (1 + rng.expovariate(8)) for _ in range(200))
    return Measurement(
        artifact_sha256=artifact * 64,
        runtime=runtime,
        batch=batch,
        samples_ms=samples,
        blocks=(5,) * 40,
        warmup_ms=(3 * typical_ms,),
        peak_rss_mb=120.0 + 9 * batch,
        details={"provider": "CPUExecutionProvider", "threads": 2},
        log=f"runs/demo/bench/logs/bench-{runtime}-batch{batch}.log",
        command=f"python -m deploytk.stages.bench_child runs/demo/bench/logs/bench-{runtime}-batch{batch}.json",
        machine=MACHINE,
        **more,
    )


def broken(artifact: str, batch: int, status: Any, reason: str) -> Measurement:
    """A batch size that gave no samples."""
    return Measurement(artifact_sha256=artifact * 64, runtime="onnx", batch=batch, status=status, reason=reason)


def measurements() -> tuple[Measurement, ...]:
    """Six batch sizes of the ONNX (a crash and one not run among them), three of the INT8 model, one estimate."""
    onnx = [measured("b", batch, 2.1 * batch**0.9) for batch in (1, 2, 4, 8, 16)]
    int8 = [measured("c", batch, 3.3 * batch, runtime="litert") for batch in (1, 2, 4)]
    estimate = Measurement(
        artifact_sha256="d" * 64, runtime="vela", batch=1, kind="estimated", samples_ms=(4.21,), share_on_target=1.0
    )
    return (
        *onnx,
        broken("b", 32, "crash", "The process died of SIGSEGV in 'warm'."),
        broken("b", 64, "not_run", "not run: batch 32 already crashed"),
        *int8,
        estimate,
    )


def assessment(cpu: int = 0) -> dict[str, Any]:
    """An NPU assessment; with `cpu` operators left on the CPU."""
    kinds = ("CONV_2D", "CONV_2D", "MAX_POOL_2D", "ADD", "CONCATENATION", "RESIZE_NEAREST_NEIGHBOR")
    ops = [
        {
            "index": i,
            "op": kinds[i % len(kinds)],
            "name": f"model/layer_{i}/conv",
            "target": "npu",
            "cycles": 90_000 - 2500 * i,
            "macs": 1_000_000 - 20_000 * i,
            "reason": "",
        }
        for i in range(30)
    ]
    ops += [
        {
            "index": 30 + i,
            "op": "LEAKY_RELU",
            "name": f"model/act_{i}",
            "target": "cpu",
            "cycles": 0,
            "macs": 0,
            "reason": "float32 is not a supported type",
        }
        for i in range(cpu)
    ]
    return {
        "kind": "estimated",
        "accelerator": "ethos-u55-256",
        "system_config": "Ethos_U55_High_End_Embedded",
        "memory_mode": "Shared_Sram",
        "vela_version": "5.2.0",
        "core": "Regor",
        "npu_ops": 30,
        "cpu_ops": cpu,
        "ops": ops,
        "segments": 1 + cpu,
        "compatibility": 100.0 * 30 / (30 + cpu),
        "activation_efficiency": None if cpu else 92.0,
        "ethos_score": 100.0 * 30 / (30 + cpu) if cpu else 92.0,
        "mac_share": 100.0,
        "cycles": None if cpu else 2_104_332,
        "time_ms": None if cpu else 4.21,
        "twin_cycles": None if cpu else 1_935_985,
        "sram_kib": 454.2,
        "flash_kib": 3159.0,
        "sram_budget_kib": 512,
        "sram_fits": True,
        "int8_io": True,
        "grade": "partial" if cpu else "full",
        "improvements": [{"what": "57 LEAKY_RELU to RELU", "cycles_saved": 168_347}],
        "findings": [],
    }


def sections(cpu: int = 0) -> dict[str, Any]:
    """What `deploytk run` puts beside the measurements."""
    relu = {"backbone": {"relu": 27}, "neck": {"relu": 18}, "head": {"relu": 12}}
    return {
        "train": {"epochs": epochs(), "metrics": {"mAP50": 0.812, "mAP50_95": 0.554}, "device": "cpu", "time_s": 251.3},
        "npu": assessment(cpu),
        "contract": {
            "expected": {"backbone": "relu", "neck": "relu", "head": "relu"},
            "stages": [
                {"where": "onnx", "sections": relu, "ok": True},
                {"where": "litert int8", "sections": {**relu, "head": {"relu": 6, "silu": 6}}, "ok": False},
            ],
        },
        "parity": [
            parity("model.onnx", "SQNR dB", "model.pt", 91.2),
            parity("model_int8.tflite", "mAP50", 0.812, 0.801, drop=0.011),
        ],
        "skipped": {"model.onnx": True, "model_int8.tflite": False},
        "bench": {"arrival": "closed loop, one request at a time", "best_batch": 8, "rows": rows()},
    }


def rows() -> list[dict[str, Any]]:
    """The verdicts on the batch sizes of the ONNX."""
    told = {1: "pass", 2: "pass", 4: "pass", 8: "inconclusive", 16: "fail", 32: "fail", 64: None}
    why = "0 of 200 calls took longer than 20 ms, so at 95 % confidence the share is between 0 and 1.49 %"
    return [
        {"artifact": "model.onnx", "batch": batch, "kind": "measured", "verdict": verdict}
        | ({"reason": why} if batch < 32 else {})
        for batch, verdict in told.items()
    ]


def parity(what: str, metric: str, source: Any, converted: Any, drop: float | None = None) -> dict[str, Any]:
    """One comparison with the source model."""
    return {"what": what, "metric": metric, "source": source, "converted": converted, "drop": drop, "ok": True}


def epochs(count: int = 12) -> list[dict[str, float]]:
    """Training curves as a backend tells them."""
    return [
        {
            "epoch": n,
            "train/box_loss": 3.0 / n + 0.9,
            "train/cls_loss": 4.0 / n + 0.7,
            "val/box_loss": 3.2 / n + 1.0,
            "metrics/mAP50(B)": 0.82 * (1 - 1.0 / n),
            "metrics/mAP50-95(B)": 0.56 * (1 - 1.0 / n),
        }
        for n in range(1, count + 1)
    ]


def full(**changes: Any) -> Report:
    """A report with everything in it."""
    values: dict[str, Any] = {
        "command": "run",
        "title": "quickstart",
        "verdict": Verdict(
            status="pass",
            reasons=(
                "Ethos score 92.0 on ethos-u55-256: 30 of 30 operators on the NPU, 4.21 ms (estimated)",
                "mAP50: model.pt 0.812, model.onnx 0.812, model_int8.tflite 0.801",
                "Vela estimates 4.21 ms on ethos-u55-256 (estimated, not measured): under 20 ms.",
            ),
        ),
        "exit_code": 0,
        "artifact": chain()[-1],
        "chain": chain(),
        "findings": (
            Finding(rule="NPU008", severity="warning", where="model_int8.tflite", message="cut into 2 segments"),
            Finding(
                rule="ACT001",
                severity="error",
                where="head: model.22.cv3.0.0",
                message="silu where the profile asks for relu",
                fix="train again with deploytk train",
            ),
        ),
        "measurements": measurements(),
        "budget": Budget(latency_ms=20, max_size_mb=8),
        "machine": MACHINE,
        "versions": {"onnxruntime": "1.31.1", "ethos-u-vela": "5.2.0", "torch": "2.14.1"},
        "sections": sections(),
    }
    return Report(**{**values, **changes})
