"""Make the model of a run ready for a target, and prove at every step that it is still the same model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from deploytk import plugins
from deploytk.artifact import Artifact, finished, stage_key, versions_of
from deploytk.errors import InputError
from deploytk.profile import COMMON, PART_NAMES, Profile
from deploytk.report import Report
from deploytk.stages import deploy_graph, float_models, proof
from deploytk.stages.export_parts import exported_onnx, quantized
from deploytk.stages.export_steps import Steps
from deploytk.stages.export_tensorrt import export_tensorrt
from deploytk.stages.run_folder import RunFolder
from deploytk.worker import Listener


def export(run: RunFolder, profile: Profile, listen: Listener | None = None, *, imgsz: int | None = None) -> Report:
    """The report of everything made for `profile.export.target`, with its verdict.

    Args:
        imgsz: the image size of what is made, where it is another than trained; everything is proved at that size.

    Raises:
        InputError: an unknown target or preset, or a precision that the target does not have.
        StepFailed: a converter or the compiler crashed or ran out of time.
    """
    require_target(profile)
    run, profile = at_size(run, profile, imgsz)
    with run.alone():
        return EXPORTERS[profile.export.target](Steps(run, profile, listen))


def at_size(run: RunFolder, profile: Profile, imgsz: int | None) -> tuple[RunFolder, Profile]:
    """The run and its profile for exports at an image size; as they are where that is the trained one, or None.

    Raises:
        InputError: no multiple of 32.
    """
    if imgsz is None or imgsz == profile.train.imgsz:
        return run, profile
    if imgsz % 32:
        raise InputError(f"--imgsz {imgsz}: must be a multiple of 32, as the network halves the image five times")
    train = profile.train.model_copy(update={"imgsz": imgsz})
    return replace(run, imgsz=imgsz), profile.model_copy(update={"train": train})


def require_target(profile: Profile) -> None:
    """Nothing, where the profile's target, its precision and its preset are known.

    Raises:
        InputError: what is unknown. Asked before the first long step.
    """
    target = profile.export.target
    if target not in EXPORTERS:
        raise InputError(plugins.unknown("target", target, EXPORTERS))
    if precision_of(profile) not in PRECISIONS[target]:
        known = " or ".join(PRECISIONS[target])
        raise InputError(f"the target {target} has no {precision_of(profile)} model; choose --precision {known}")
    if target == "npu":
        _preset(profile)
    deploy_graph.wanted(profile)


def precision_of(profile: Profile) -> str:
    """The precision of the model that is deployed: the profile's, or what its target usually has."""
    return profile.export.precision or PRECISIONS[profile.export.target][0]


def with_overrides(profile: Profile, overrides: Mapping[tuple[str | int, ...], Any]) -> Profile:
    """`profile` with the settings of the command line that shape an export.

    Raises:
        InputError: one of them is not possible.
    """
    raw = profile.model_dump(mode="json", by_alias=True)
    for place, value in overrides.items():
        both = [raw["parts"][name] for name in PART_NAMES] if raw["parts"] and place[0] in COMMON else []
        for part in (raw, *both):
            for key in place[:-1]:
                part = part[str(key)]
            part[str(place[-1])] = value
    try:
        return Profile.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"])
        raise InputError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error


def export_onnx(steps: Steps) -> Report:
    """The ONNX of the run, float or INT8: activation contract and agreement with the torch model."""
    model = exported_onnx(steps)
    checks = proof.Checks(steps.profile)
    checks.contract(model, "onnx")
    checks.agreement(model, steps.source)
    checks.metric(model, steps.source)
    chain: tuple[Artifact, ...] = (steps.source, model)
    if precision_of(steps.profile) == "int8":
        made = quantized(steps, checks, "onnx", model, model, model.path.with_name("model_int8.onnx"))
        if not made:
            return checks.report("export onnx", model, chain, steps.skipped)
        checks.contract(made[-1], "onnx int8")
        chain = (*chain, *made)
    chain = (*chain, *_deployed(steps, checks, chain[-1]))
    return checks.report("export onnx", chain[-1], chain, steps.skipped)


def _deployed(steps: Steps, checks: proof.Checks, model: Artifact) -> tuple[Artifact, ...]:
    """The ONNX with inside what the profile wants there, checked; none where it wants nothing."""
    if not deploy_graph.wanted(steps.profile):
        return ()
    made = deploy_graph.proved(steps, model, deploy_graph.made(steps, model), "onnx")
    checks.same_boxes(made, model)
    return (made,)


def export_openvino(steps: Steps) -> Report:
    """The OpenVINO IR of the run, made from its ONNX: agreement with the torch model."""
    onnx, precision = exported_onnx(steps), precision_of(steps.profile)
    model = _ir(steps, onnx, "fp16" if precision == "fp16" else "fp32")
    checks = proof.Checks(steps.profile)
    checks.contract(onnx, "onnx")
    for each in (onnx, model):
        checks.agreement(each, steps.source)
        checks.metric(each, steps.source)
    chain: tuple[Artifact, ...] = (steps.source, onnx, model)
    if precision != "int8":
        chain = (*chain, *_deployed_ir(steps, checks, onnx, model.precision))
        return checks.report("export openvino", chain[-1], chain, steps.skipped)
    made = quantized(steps, checks, "openvino", onnx, model, steps.run.openvino / "model_int8.xml")
    chain = (*chain, *made)
    if made and deploy_graph.wanted(steps.profile):
        graph = deploy_graph.made(steps, onnx)
        deployed = deploy_graph.proved(steps, made[-1], deploy_graph.made_ir(steps, graph, made[-1]), "openvino")
        checks.same_boxes(deployed, made[-1])
        chain = (*chain, graph, deployed)
    return checks.report("export openvino", chain[-1], chain, steps.skipped)


def _ir(steps: Steps, onnx: Artifact, precision: str) -> Artifact:
    """The IR with weights of that precision."""
    return steps.proved(_converted(steps, onnx, steps.run.openvino / f"model_{precision}.xml", precision), "openvino")


def _deployed_ir(steps: Steps, checks: proof.Checks, onnx: Artifact, precision: str) -> tuple[Artifact, ...]:
    """The ONNX with inside what the profile wants there, and its IR, checked; none where it wants nothing."""
    if not deploy_graph.wanted(steps.profile):
        return ()
    graph = deploy_graph.made(steps, onnx)
    made = _converted(steps, graph, steps.run.openvino / f"model_{precision}_deploy.xml", precision)
    made = deploy_graph.proved(steps, onnx, made, "openvino")
    checks.same_boxes(made, onnx)
    return graph, made


def _converted(steps: Steps, onnx: Artifact, out: Path, precision: str) -> Artifact:
    return steps.made(
        out,
        onnx,
        lambda: steps.call(
            "deploytk.stages.steps:ir_from_onnx",
            f"convert-{out.stem}",
            onnx=str(onnx.path),
            out=str(out),
            precision=precision,
        ),
        stage="convert",
        format="openvino-xml",
        precision=precision,
        settings={"precision": precision},
        distributions=plugins.load("targets", "openvino").DISTRIBUTIONS,
    )


def export_npu(steps: Steps) -> Report:
    """The LiteRT float and INT8 models, compiled for the NPU by Vela, each proved against the trained model."""
    source, onnx, npu = steps.source, exported_onnx(steps), _preset(steps.profile)
    litert = steps.proved(float_models.litert(steps, source, steps.run.npu / "model_fp32.tflite"), "litert")
    checks = proof.Checks(steps.profile)
    for model, name in ((onnx, "onnx"), (litert, "litert fp32")):
        checks.contract(model, name)
        checks.agreement(model, source)
        checks.metric(model, source)
    made = quantized(steps, checks, "npu", litert, litert, steps.run.npu / "model_int8.tflite")
    chain: tuple[Artifact, ...] = (source, onnx, litert, *made)
    if not made:
        return checks.report("export npu", litert, chain, steps.skipped)
    checks.contract(made[-1], "litert int8")
    compiled, assessment = _compiled(steps, made[-1], npu)
    checks.placement(assessment)
    chain = (*chain, compiled) if compiled else chain
    return checks.report("export npu", chain[-1], chain, steps.skipped)


def _preset(profile: Profile) -> dict[str, Any]:
    from deploytk.profile_loading import load_npu

    return load_npu(profile.export.npu).model_dump(mode="json")


def _compiled(steps: Steps, int8: Artifact, npu: dict[str, Any]) -> tuple[Artifact | None, dict[str, Any]]:
    """The Vela-compiled model (None where no operator went to the NPU) and the assessment."""
    out = steps.run.npu / npu["accelerator"]
    path = out / f"{int8.path.stem}_vela.tflite"
    versions = versions_of("deploytk", "ethos-u-vela")
    key = stage_key("compile", [int8.sha256], npu, versions)
    compiled = finished(path, key)
    steps.skipped[path.name] = compiled is not None
    if compiled is not None:
        return compiled, dict(compiled.settings["assessment"])
    path.unlink(missing_ok=True)  # of another INT8 model: it must not pass for this one's where Vela makes none
    found: dict[str, Any] = steps.call(
        "deploytk.targets.npu:assess", f"vela-{npu['accelerator']}", path=str(int8.path), npu=npu, out=str(out)
    )
    if not path.is_file():
        return None, found
    compiled = Artifact.record(
        path,
        format="vela-tflite",
        precision="int8",
        made_by="compile",
        key=key,
        made_from=[int8],
        settings={"npu": npu, "assessment": found, "classes": int8.settings.get("classes", [])},
        versions=versions,
    )
    return compiled, found


#: target name -> the precisions it has; the first is the usual one.
PRECISIONS: dict[str, tuple[str, ...]] = {
    "onnx": ("fp32", "int8"),
    "openvino": ("fp32", "fp16", "int8"),
    "npu": ("int8",),
    "tensorrt": ("fp16", "fp32", "bf16", "int8"),
}
#: target name -> how its export goes.
EXPORTERS: dict[str, Callable[[Steps], Report]] = {
    "onnx": export_onnx,
    "openvino": export_openvino,
    "npu": export_npu,
    "tensorrt": export_tensorrt,
}
