"""Check an ONNX file for TensorRT: which nodes it would not take and why, and what the rest would compute in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploytk import plugins, worker
from deploytk.artifact import Artifact, versions_of
from deploytk.budget import Status, Verdict
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_PASS, EXIT_RULE, InputError, StepFailed
from deploytk.graphs.identify import Kind, Name, identify, require_model
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Finding, Report
from deploytk.stages.check_contract import of_graph

_PARSED = "deploytk.targets.tensorrt.support:parsed"
_TIMEOUT_S = 600.0
_CODES = {"pass": EXIT_PASS, "fail": EXIT_RULE, "inconclusive": EXIT_INCONCLUSIVE}
_EXPORT = "make one with: deploytk export RUN --target tensorrt"
#: What to do with a model that is no ONNX.
_FIX: dict[Name, str] = {
    "tflite": "check the ONNX or the checkpoint that it was made from",
    "vela-tflite": "it is for an Ethos-U alone",
    "torch": _EXPORT,
    "run": "give an ONNX file in it, under export/",
    "tensorrt-engine": "it is built already: give the ONNX that it was built from, or run it with deploytk bench",
    "openvino-xml": "give the ONNX that it was made from",
}


def check(
    model: Path, *, profile: Profile | None = None, out: Path | None = None, timeout_s: float = _TIMEOUT_S
) -> Report:
    """The report on an ONNX file: read by TensorRT's parser in a child process, explained by rules; it is not built.

    Args:
        profile: whose activations are asked for beside it.
        out: folder for the parser's log; a temporary one where it is None, kept where the parser crashed.

    Raises:
        InputError: no ONNX, or a damaged one.
        MissingDependency: no TensorRT and no TensorRT-RTX.
        StepFailed: the parser could not be called.
    """
    kind = _onnx(model)
    graph = plugins.import_or_explain("deploytk.graphs.onnx").read(model)
    told = _parsed(model, sorted({n.op for n in graph.nodes}), out, timeout_s)
    rules = plugins.import_or_explain("deploytk.rules.tensorrt")
    found = rules.explained(graph, told) if "crash" not in told else [(f, ()) for f in _crashed(model, told)]
    section = _section(graph, found, told)
    contract = of_graph(model, kind.name, profile) if profile is not None else None
    findings = [*(contract.findings if contract else ()), *(f for f, _ in found)]
    verdict = _verdict(findings, section, told)
    return Report(
        command="check",
        title=model.name,
        verdict=verdict,
        exit_code=_CODES[verdict.status],
        artifact=Artifact.given(model, "onnx"),
        findings=tuple(dict.fromkeys(findings)),
        machine=Machine.this(),
        versions=versions_of("deploytk", "onnx", "tensorrt", "tensorrt-rtx"),
        sections={"tensorrt": section} | ({"contract": {"stages": [contract.as_dict()]}} if contract else {}),
    )


def _onnx(model: Path) -> Kind:
    """The kind of an ONNX file.

    Raises:
        InputError: it is something else, named.
    """
    kind = identify(model)
    if kind.name in _FIX:
        raise InputError(f"{model}: is {kind.what}, and TensorRT reads ONNX; {_FIX[kind.name]}")
    return require_model(model, {"onnx"})


def _parsed(model: Path, ops: Sequence[str], out: Path | None, timeout_s: float) -> dict[str, Any]:
    """What the parser said; where it died of the model, {crash, log}."""
    try:
        with worker.log_folder(out, "check") as folder:
            told: dict[str, Any] = worker.call(
                _PARSED,
                {"path": str(model.resolve()), "ops": ops},
                logs=folder / "logs",
                name="tensorrt-parser",
                timeout_s=timeout_s,
            )
            return told
    except StepFailed as error:
        if error.kind == "error":  # Python's: a fault of ours or of the installation
            raise
        return {"crash": error.kind, "said": error.cause, "log": error.log}


def _crashed(model: Path, told: Mapping[str, Any]) -> Iterator[Finding]:
    rule = plugins.import_or_explain("deploytk.rules.tensorrt_rules").TRT021
    message = f"TensorRT's parser {told['said']}"
    yield Finding(rule=rule.code, severity="error", where=model.name, message=message, fix=f"log: {told['log']}")


def _section(graph: Any, found: Sequence[Any], told: Mapping[str, Any]) -> dict[str, Any]:
    nodes = graph.nodes
    if "crash" in told:
        return {"nodes": len(nodes), "taken": 0, "parts": 0, **told}
    lost = {place for finding, places in found if finding.severity == "error" for place in places}
    # Where functions were inlined, the parser counts other nodes than we do.
    every = [list(range(len(nodes)))] if told["accepted"] or graph.inlined else told["parts"]
    parts = [run for part in every for run in _runs(part, lost)]
    return {
        "parsed_by": told["library"],
        "built": False,
        "nodes": len(nodes),
        "taken": sum(len(part) for part in parts),
        "parts": len(parts),
        "layers": told["layers"],
        "computes": told["computes"],
        "refused": [_row(nodes, place, found) for place in sorted(lost)],
        "log": told.get("log", []),
    }


def _runs(part: Sequence[int], lost: Collection[int]) -> Iterator[list[int]]:
    """What is left of a part without the nodes that are lost, cut where they were."""
    run: list[int] = []
    for place in part:
        if place not in lost:
            run.append(place)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _row(nodes: Sequence[Any], place: int, found: Sequence[Any]) -> dict[str, Any]:
    node = nodes[place]
    why = [f for f, places in found if f.severity == "error" and place in places]
    domain = {"domain": node.domain} if node.domain else {}
    return {
        "node": place,
        "op": node.op,
        **domain,
        "name": node.name,
        "rule": ", ".join(f.rule for f in why),
        "why": "; ".join(f.message.partition(" (rule: ")[0] for f in why),
    }


def _verdict(findings: Sequence[Finding], section: Mapping[str, Any], told: Mapping[str, Any]) -> Verdict:
    wrong = [f"{f.rule}: {f}" for f in findings if f.severity == "error"]
    status: Status = "fail" if wrong else "pass"
    if told.get("crash") in ("timeout", "oom"):
        return Verdict(status="inconclusive", reasons=tuple(wrong))
    if "crash" in told:
        return Verdict(status="fail", reasons=tuple(wrong))
    by = f"parsed by {section['parsed_by']} on this CPU; not built, not executed"
    return Verdict(status=status, reasons=(f"{_share(section, told)}; {by}", *wrong, *_computes(section)))


def _share(section: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """`TensorRT takes at most 41 of 43 nodes, in 3 parts`: at most, as its parser stops at the first that it cannot."""
    nodes, taken, parts = section["nodes"], section["taken"], section["parts"]
    if not told["accepted"] and not section["refused"]:
        return f"TensorRT does not take the file ({nodes} nodes)"
    if not taken:
        return f"TensorRT takes none of {nodes} nodes"
    most = "" if told["accepted"] else "at most "
    return f"TensorRT takes {most}{taken} of {nodes} nodes, in {parts} part{'' if parts == 1 else 's'}"


def _computes(section: Mapping[str, Any]) -> Iterator[str]:
    if section["computes"]:
        counts = ", ".join(f"{count} in {kind}" for kind, count in section["computes"].items())
        yield f"layers with weights: {counts}"
