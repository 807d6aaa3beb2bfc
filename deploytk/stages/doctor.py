"""What is installed, what each target needs, what this machine is; nothing heavy is imported to find out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from importlib import metadata, util
from pathlib import Path
from typing import Any

from deploytk import plugins
from deploytk.artifact import versions_of
from deploytk.budget import Verdict
from deploytk.errors import EXIT_MISSING, EXIT_PASS, InputError
from deploytk.measurement import Machine
from deploytk.report import Finding, Report
from deploytk.runtimes.tensorrt_library import NAMES as TENSORRT
from deploytk.stages import doctor_gpu

#: target -> the libraries it imports (one of several where they stand together), and what it does on this machine
#: when they are there.
_TARGETS = {
    "onnx": (("onnx", "onnxruntime"), "runs and is measured here, on the CPU, by ONNX Runtime"),
    "openvino": (("openvino", "nncf"), "runs and is measured here, on the CPU, by OpenVINO"),
    "npu": (
        ("onnx", "onnxruntime", "ai_edge_litert", "ethosu", "litert_torch", "ai_edge_quantizer", "flatbuffers"),
        "compiles with Vela, and its INT8 model runs here on the CPU; there is no NPU here, so NPU times are "
        "estimates only",
    ),
    "tensorrt": (("onnx", "onnxruntime", "tensorrt|tensorrt_rtx"), ""),  # what it does: as doctor_gpu says
}
#: runtime -> the libraries it imports (one of several where they stand together), and whether it needs an NVIDIA GPU.
_RUNTIMES: dict[str, tuple[tuple[str, ...], bool]] = {
    "onnx": (("onnx", "onnxruntime"), False),
    "onnx-cuda": (("onnx", "onnxruntime"), True),
    "onnx-tensorrt": (("onnx", "onnxruntime"), True),
    "litert": (("ai_edge_litert",), False),
    "openvino": (("openvino",), False),
    "torch": (("torch",), False),
    "torch-compile": (("torch",), False),
    "torch-cuda": (("torch",), True),
    "torch-compile-cuda": (("torch", "triton"), True),
    "tensorrt": (("tensorrt|tensorrt_rtx", "torch"), True),
}
_COMPILERS = ("c++", "g++", "clang++", "cl")
#: Two distributions that write the same files: whichever was installed last wins, in part.
_CLASH = ("onnxruntime", "onnxruntime-gpu")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
_LITTLE_DISK_GB = 5.0

_REQUIREMENT = re.compile(r"^([\w.-]+)\s*(?:\[([\w, -]+)\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?$")


def doctor(target: str | None = None) -> Report:
    """The report on this installation and machine; with `target`, a failure (exit 6) if that one cannot be used.

    Args:
        target: a target, or a runtime of the bench.

    Raises:
        InputError: no target and no runtime has this name.
    """
    gpu, device = _gpu(), doctor_gpu.gpu_row()
    tensorrt = doctor_gpu.tensorrt_rows(device, installed=any(_importable(name) for name in TENSORRT))
    targets = [_target(name, tensorrt) for name in plugins.names("targets")]
    runtimes = [_runtime(name, gpu) for name in plugins.names("runtimes")]
    extras = _extras()
    machine = Machine.this()
    told = {
        "targets": targets,
        "runtimes of the bench": runtimes,
        "extras": [_extra(name, wanted) for name, wanted in extras.items()],
        "distributions": _distributions(extras),
        "GPU": doctor_gpu.shown(device),
        "TensorRT": tensorrt,
        "this machine": _machine(gpu),
    }
    verdict, code = _verdict(targets, runtimes, target)
    return Report(
        command="doctor",
        title=target or "this installation",
        verdict=verdict,
        exit_code=code,
        findings=tuple(_findings(machine)),
        machine=machine,
        versions=versions_of("deploytk", *_base()),
        sections=told,
    )


def _verdict(targets: list[dict[str, Any]], runtimes: list[dict[str, Any]], wanted: str | None) -> tuple[Verdict, int]:
    if wanted is None:
        return Verdict(status="pass", reasons=tuple(f"{t['target']}: {t['here']}" for t in targets)), EXIT_PASS
    named = [(row["target"], row) for row in targets] + [(row["runtime"], row) for row in runtimes]
    found = [row for name, row in named if name == wanted]  # a target, a runtime, or both
    if not found:
        raise InputError(plugins.unknown("target or runtime", wanted, {name for name, _ in named}))
    wrong = [row for row in found if not row["usable"]]
    told = [f"{wanted}: {r['here']}" + (f"; {r['install']}" if r["install"] else "") for r in wrong or found[:1]]
    if not wrong:
        return Verdict(status="pass", reasons=tuple(told)), EXIT_PASS
    return Verdict(status="fail", reasons=tuple(told)), EXIT_MISSING


def _target(name: str, tensorrt: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether one target can be used here; `tensorrt` are the rows of TensorRT."""
    if name not in _TARGETS:
        return {"target": name, "usable": True, "here": "comes from another package", "install": ""}
    libraries, does = _TARGETS[name]
    missing = _missing(libraries)
    if missing:
        extra = name if name in ("npu", "tensorrt") else _extra_of(missing[0])
        here = f"cannot be used: {', '.join(missing).replace('|', ' or ')} not installed"
        return {"target": name, "usable": False, "here": here, "install": _pip(extra)}
    if _clashing():
        here = f"cannot be trusted: {' and '.join(_CLASH)} are both installed"
        return {"target": name, "usable": False, "here": here, "install": _unclash()}
    if name == "tensorrt":
        best = max(tensorrt, key=lambda row: bool(row["usable"]))
        return {"target": name, **{key: best[key] for key in ("usable", "here", "install")}}
    return {"target": name, "usable": True, "here": does, "install": ""}


def _runtime(name: str, gpu: str) -> dict[str, Any]:
    """Whether one runtime of the bench can run a model here."""
    if name not in _RUNTIMES:
        return {"runtime": name, "usable": True, "here": "comes from another package", "install": ""}
    libraries, needs_gpu = _RUNTIMES[name]
    missing = _missing(libraries)
    if missing:
        here, install = f"not installed: {', '.join(missing).replace('|', ' or ')}", _pip(_extra_of(missing[0]))
    elif needs_gpu and not gpu:
        here, install = "no NVIDIA GPU or driver on this machine", ""
    elif name in ("onnx-cuda", "onnx-tensorrt") and "not installed" in versions_of("onnxruntime-gpu").values():
        here = "the ONNX Runtime that is installed has no CUDA provider"
        install = "pip uninstall -y onnxruntime; pip install onnxruntime-gpu"
    elif name in ("torch-compile", "torch-compile-cuda") and not any(shutil.which(one) for one in _COMPILERS):
        here, install = "no C++ compiler on the PATH", "install g++ or clang++"
    else:
        return {"runtime": name, "usable": True, "here": f"runs on {gpu if needs_gpu else 'the CPU'}", "install": ""}
    return {"runtime": name, "usable": False, "here": f"cannot run: {here}", "install": install}


def _missing(libraries: Iterable[str]) -> list[str]:
    """Those that Python would not find; of `a|b`, one is enough."""
    return [given for given in libraries if not any(_importable(one) for one in given.split("|"))]


def _extra_of(libraries: str) -> str:
    return plugins.EXTRAS[libraries.split("|")[0].replace("triton", "torch")]


def _importable(library: str) -> bool:
    """Whether Python would find the library; it is not imported."""
    try:
        return util.find_spec(library) is not None
    except (ImportError, ValueError):
        return False


def _pip(extra: str) -> str:
    return f"pip install 'deploytk[{extra}]'"


# ---- what is installed --------------------------------------------------------------------------------------------


def _requirements() -> Iterator[tuple[str, list[str], str, str]]:
    """(distribution, its extras, version, our extra or "") of each requirement in deploytk's own metadata."""
    try:
        told = metadata.requires("deploytk") or []
    except metadata.PackageNotFoundError:
        return
    for line in told:
        found = _REQUIREMENT.match(line)
        if found is None:
            continue
        name, extras, version, marker = (part or "" for part in found.groups())
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", marker)
        yield name, re.findall(r"[\w-]+", extras), version.strip(), extra[1] if extra else ""


def _base() -> list[str]:
    return [name for name, _, _, extra in _requirements() if not extra]


def _extras() -> dict[str, dict[str, str]]:
    """extra -> {distribution: version wanted}, with the extras it is made of taken in; without "all" and "dev"."""
    own: dict[str, dict[str, str]] = {}
    parts: dict[str, list[str]] = {}
    for name, extras, version, extra in _requirements():
        if name == "deploytk":
            parts.setdefault(extra, []).extend(extras)
            own.setdefault(extra, {})
        elif extra:
            own.setdefault(extra, {})[name] = version
    shown = [extra for extra in own if extra not in ("all", "dev")]
    return {
        extra: {k: v for part in [extra, *parts.get(extra, ())] for k, v in own.get(part, {}).items()}
        for extra in shown
    }


def _extra(name: str, wanted: dict[str, str]) -> dict[str, Any]:
    """One extra: whether all of it is there, and the line that brings the rest."""
    missing = [d for d, version in versions_of(*wanted).items() if version == "not installed"]
    return {
        "extra": name,
        "complete": not missing,
        "missing": ", ".join(missing),
        "install": _pip(name) if missing else "",
    }


def _distributions(extras: dict[str, dict[str, str]]) -> list[dict[str, Any]]:
    """Every distribution that an extra wants, with the version that is there."""
    wanted: dict[str, dict[str, Any]] = {}
    for extra, distributions in extras.items():
        for name, version in distributions.items():
            row = wanted.setdefault(name, {"distribution": name, "wanted": version or "any", "extras": []})
            row["extras"].append(extra)
    found = versions_of(*wanted)
    return [{**wanted[n], "installed": found[n], "extras": ", ".join(wanted[n]["extras"])} for n in sorted(wanted)]


def _clashing() -> bool:
    return "not installed" not in versions_of(*_CLASH).values()


def _unclash() -> str:
    return f"pip uninstall -y {' '.join(_CLASH)}; then install one of them again"


# ---- the machine --------------------------------------------------------------------------------------------------


def _machine(gpu: str) -> dict[str, Any]:
    """What `Machine` does not say: GPU, disk, load, thread settings."""
    return {
        "gpu": gpu or "none",
        "disk free here": f"{_disk_free_gb():.0f} GB",
        "load average": ", ".join(f"{load:.2f}" for load in _load()) or "unknown",
        **{name: os.environ.get(name, "not set") for name in _THREADS},
    }


def _gpu() -> str:
    """The names of the NVIDIA GPUs, from the driver's own files or nvidia-smi; empty where there is none."""
    told = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        told += [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")]
    return ", ".join(told) or _nvidia_smi()


def _nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return "nvidia-smi is there but does not answer"
    return "; ".join(line.strip() for line in done.stdout.splitlines())


def _disk_free_gb() -> float:
    return shutil.disk_usage(Path.cwd()).free / 1e9


def _load() -> tuple[float, ...]:
    try:
        return os.getloadavg()
    except (OSError, AttributeError):
        return ()


def _findings(machine: Machine) -> Iterator[Finding]:
    """What would spoil an installation or a measurement."""
    if _clashing():
        message = f"{' and '.join(_CLASH)} overwrite each other's files"
        yield Finding(rule="DOC001", severity="error", where="installed", message=message, fix=_unclash())
    if machine.governor not in ("", "performance"):
        message = f"the CPU governor is {machine.governor}: latencies depend on what ran before"
        fix = "set it to performance while you bench"
        yield Finding(rule="DOC002", severity="warning", where="machine", message=message, fix=fix)
    load = _load()
    if load and load[0] > 0.5 * machine.cores:
        message = f"the load is {load[0]:.1f} on {machine.cores} cores: latencies measured now are not the model's own"
        yield Finding(
            rule="DOC003", severity="warning", where="machine", message=message, fix="bench on an idle machine"
        )
    if _disk_free_gb() < _LITTLE_DISK_GB:
        message = f"only {_disk_free_gb():.1f} GB are free here"
        fix = f"training and conversion want about {_LITTLE_DISK_GB:g} GB"
        yield Finding(rule="DOC004", severity="warning", where="disk", message=message, fix=fix)
