"""The activation contract of a model file, whatever its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk import plugins, worker
from deploytk.errors import InputError
from deploytk.graphs.identify import Name, require_model
from deploytk.profile import Profile
from deploytk.report import Finding
from deploytk.rules.activations import UNTOLD, Activation, Contract, Expected

_TIMEOUT_S = 600.0


def contract_of(path: Path, profile: Profile | None) -> tuple[dict[str, dict[str, int]], list[Finding]]:
    """({section: {kind: count}}, findings) of an .onnx or .tflite file against the profile.

    Raises:
        InputError: no model, or one that cannot be read.
    """
    found = of_graph(path, require_model(path).name, profile)
    return found.counts, list(found.findings)


def of_graph(path: Path, name: Name, profile: Profile | None) -> Contract:
    """The contract of an ONNX or TFLite file."""
    if name not in _READERS:
        raise InputError(f"{path}: no ONNX or TFLite model")
    graphs, rules = (plugins.import_or_explain(module) for module in _READERS[name])
    graph = graphs.read(path)
    return Contract(
        where=path.name,
        found=rules.find(graph),
        convolutions=rules.convolutions(graph),
        expected=expected(profile),
    )


def of_checkpoint(path: Path, profile: Profile | None, *, trust: bool, logs: Path) -> Contract:
    """The contract of a .pt file: the module is rebuilt and looked at in a child process.

    Raises:
        InputError: a checkpoint that may not be opened without --trust, or at all.
    """
    from deploytk.graphs.pickles import require_loadable

    require_loadable(path, trust=trust)
    told: dict[str, Any] = worker.call(
        "deploytk.stages.check_torch:audit",
        {"checkpoint": str(path), "trust": trust},
        logs=logs,
        name="audit-checkpoint",
        timeout_s=_TIMEOUT_S,
    )
    return Contract(
        where=path.name,
        found=[Activation(**a) for a in told["activations"]],
        convolutions=told["convolutions"],
        expected=expected(profile),
    )


def expected(profile: Profile | None) -> Expected | None:
    """What the profile asks for; None without one. A classifier has no sections: its network is one."""
    if profile is None:
        return None
    wanted = profile.model.activation
    asked = {str(s): str(k) for s, k in wanted.expected().items()}
    if plugins.load("backends", profile.backend).TASK == "classifier":
        asked = {UNTOLD: str(wanted.kind)}
    return Expected(sections=asked, slope=wanted.negative_slope)


_READERS = {
    "onnx": ("deploytk.graphs.onnx", "deploytk.rules.activations_onnx"),
    "tflite": ("deploytk.graphs.litert", "deploytk.rules.activations_litert"),
}
