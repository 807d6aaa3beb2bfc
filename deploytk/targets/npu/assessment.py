"""The assessment of a .tflite for one Ethos-U: placement, score, memory, estimated time and what to do."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploytk import worker
from deploytk.files import sha256_of, write_json, written_whole
from deploytk.graphs import litert
from deploytk.report import Finding
from deploytk.targets.npu import findings, twin, vela
from deploytk.targets.npu.score import Swap, improvements, score


def assess(path: str, npu: dict[str, Any], out: str) -> dict[str, Any]:
    """The assessment as CONTRIBUTING.md gives it, also written to `out/npu_report.json`.

    Beside it stand `<stem>_vela.tflite`, for the device, if anything is on the NPU, and Vela's summary as CSV.
    Every number of cycles and milliseconds is the compiler's estimate.

    Args:
        path: the INT8 .tflite from before Vela; a float or compiled one gets score 0 and the finding that says so.
        npu: the fields of `profile.Npu`.

    Raises:
        InputError: not a TFLite model, a damaged one, or an NPU that Vela does not know.
    """
    model, folder = Path(path), Path(out)
    vela.check_family(npu)
    graph = litert.read(model)
    found = list(findings.of_graph(graph))
    with tempfile.TemporaryDirectory(prefix="deploytk-vela-") as work:
        if graph.compiled:
            told = _told(graph, npu, found, None, [])
        else:
            told = _compiled(graph, npu, found, Path(work), folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "npu_report.json", told)
    return told


def _compiled(
    graph: litert.Graph, npu: Mapping[str, Any], found: list[Finding], work: Path, out: Path
) -> dict[str, Any]:
    worker.emit(text=f"compiling for {npu['accelerator']} with Vela")
    done = vela.compiled(graph.path, npu, _made(work / "model"))
    found += findings.of_placement(graph, done.ops, done.segments)
    found += findings.of_memory(graph, done.sram_kib, npu["sram_kib"])
    swaps = [] if done.cpu else _swaps(graph.path, npu, work)
    keep = [done.summary, done.model] if done.segments else [done.summary]
    for file in keep:
        with written_whole(out / file.name) as temporary:
            shutil.copyfile(file, temporary)
    return _told(graph, npu, found, done, swaps)


def _swaps(model: Path, npu: Mapping[str, Any], work: Path) -> list[Swap]:
    """What the ReLU twin costs: the whole twin first, then each kind alone where there is more than one."""
    kinds = twin.kinds(model)
    wanted = [tuple(kinds)] if kinds else []
    wanted += [(kind,) for kind in kinds] if len(kinds) > 1 else []
    return [_swap(model, npu, _made(work / f"twin{i}"), only, kinds) for i, only in enumerate(wanted)]


def _swap(model: Path, npu: Mapping[str, Any], work: Path, only: tuple[str, ...], kinds: dict[str, int]) -> Swap:
    worker.emit(text=f"compiling the twin with ReLU in place of {' and '.join(only)}")
    changed = work / "twin.tflite"
    twin.write_twin(model, changed, only)
    done = vela.compiled(changed, npu, work)
    return Swap(kind=" and ".join(only), count=sum(kinds[k] for k in only), cycles=done.cycles)


def _told(
    graph: litert.Graph,
    npu: Mapping[str, Any],
    found: list[Finding],
    done: vela.Compiled | None,
    swaps: list[Swap],
) -> dict[str, Any]:
    """The report, from what was compiled (None: nothing could be)."""
    ops = [asdict(op) for op in done.ops] if done else []
    on_npu = sum(1 for op in ops if op["target"] == "npu")
    whole = done is not None and on_npu == len(ops) > 0
    cycles = done.cycles if done and whole else None
    twin_cycles = (swaps[0].cycles if swaps else cycles) if whole else None
    sram = done.sram_kib if done else 0.0
    fits = on_npu > 0 and sram <= npu["sram_kib"]
    segments = done.segments if done else 0
    scored = score(
        npu_ops=on_npu, cpu_ops=len(ops) - on_npu, cycles=cycles, twin_cycles=twin_cycles,
        segments=segments, int8_io=graph.integer_io, sram_fits=fits,
    )  # fmt: skip
    return {
        "kind": "estimated",
        "model": graph.path.name,
        "sha256": sha256_of(graph.path),
        "compiled_sha256": sha256_of(done.model) if done and done.segments else None,
        **{key: npu[key] for key in ("accelerator", "system_config", "memory_mode")},
        "vela_version": vela.version(),
        "core": vela.CORE,
        "npu_ops": on_npu,
        "cpu_ops": len(ops) - on_npu,
        "ops": ops,
        "segments": segments,
        **asdict(scored),
        "mac_share": _mac_share(graph, ops),
        "cycles": cycles,
        "time_ms": 1000.0 * cycles / done.clock_hz if done and cycles else None,
        "twin_cycles": twin_cycles,
        "sram_kib": sram,
        "flash_kib": done.flash_kib if done else 0.0,
        "dram_kib": done.dram_kib if done else 0.0,
        "sram_budget_kib": npu["sram_kib"],
        "sram_fits": fits,
        "int8_io": graph.integer_io,
        "activations": twin.kinds(graph.path) if done else {},
        "improvements": improvements(ops, swaps[1:] or swaps, cycles, {n.index for n in graph.float_nodes}),
        "findings": [asdict(f) for f in found],
    }


def _mac_share(graph: litert.Graph, ops: list[dict[str, Any]]) -> float | None:
    """Of all multiply-accumulates of the model, the percentage on the NPU; None where there are none.

    Counted here for both sides: Vela counts none for an operator it leaves to the CPU.
    """
    macs = [node.macs for node in graph.nodes]
    total = sum(macs)
    on_npu = sum(macs[op["index"]] for op in ops if op["target"] == "npu")
    return 100.0 * on_npu / total if total else None


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
