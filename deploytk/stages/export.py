"""Make the model of a run ready for a target, and prove at every step that it is still the same model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deploytk import plugins
from deploytk.artifact import Artifact, finished, stage_key, versions_of
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.stages import proof
from deploytk.stages.export_steps import Steps
from deploytk.stages.run_folder import RunFolder
from deploytk.worker import Listener


def export(run: RunFolder, profile: Profile, listen: Listener | None = None) -> Report:
    """The report of everything made for `profile.export.target`, with its verdict.

    Raises:
        InputError: an unknown target or preset.
        StepFailed: a converter or the compiler crashed or ran out of time.
    """
    require_target(profile)
    with run.alone():
        return EXPORTERS[profile.export.target](Steps(run, profile, listen))


def require_target(profile: Profile) -> None:
    """Nothing, where the profile's target and its preset are known.

    Raises:
        InputError: what is unknown. Asked before the first long step.
    """
    target = profile.export.target
    if target not in EXPORTERS:
        raise InputError(plugins.unknown("target", target, EXPORTERS))
    if target == "npu":
        _preset(profile)


def with_overrides(profile: Profile, overrides: Mapping[tuple[str | int, ...], Any]) -> Profile:
    """`profile` with the export settings of the command line."""
    changes = {str(key[-1]): value for key, value in overrides.items() if key[0] == "export"}
    return profile.model_copy(update={"export": profile.export.model_copy(update=changes)})


def _onnx(steps: Steps) -> Artifact:
    run, opset = steps.run, steps.profile.export.opset
    artifact = steps.made(
        run.onnx,
        steps.source,
        lambda: steps.call(
            "onnx_from_checkpoint",
            "export-onnx",
            backend=steps.profile.backend,
            checkpoint=str(run.model),
            out=str(run.onnx),
            opset=opset,
        ),
        stage="export-onnx",
        format="onnx",
        precision="fp32",
        settings={"opset": opset},
        distributions=(*steps.backend.DISTRIBUTIONS, "onnx", "onnxslim", "onnxruntime"),
    )
    return steps.proved(artifact, "onnx")


def export_onnx(steps: Steps) -> Report:
    """The ONNX of the run: activation contract and agreement with the torch model."""
    model = _onnx(steps)
    checks = proof.Checks(steps.profile)
    checks.contract(model, "onnx")
    checks.agreement(model, steps.source, proof.FLOAT_SQNR_DB)
    checks.metric(model, steps.source)
    return checks.report("export onnx", model, (steps.source, model), steps.skipped)


def export_npu(steps: Steps) -> Report:
    """The LiteRT float and INT8 models, compiled for the NPU by Vela, each proved against the trained model."""
    source, onnx, npu = steps.source, _onnx(steps), _preset(steps.profile)
    litert = _litert(steps)
    int8 = _int8(steps, litert)
    compiled, assessment = _compiled(steps, int8, npu)
    checks = proof.Checks(steps.profile)
    for model, name in ((onnx, "onnx"), (litert, "litert fp32"), (int8, "litert int8")):
        checks.contract(model, name)
        # INT8 noise is reported; what it costs is judged by the metric.
        checks.agreement(model, source, None if model is int8 else proof.FLOAT_SQNR_DB)
        checks.metric(model, source)
    checks.placement(assessment)
    chain = (source, onnx, litert, int8, *([compiled] if compiled else []))
    return checks.report("export npu", compiled or int8, chain, steps.skipped)


def _libraries(steps: Steps) -> tuple[str, ...]:
    return (*steps.backend.DISTRIBUTIONS, *plugins.load("targets", "npu").DISTRIBUTIONS)


def _litert(steps: Steps) -> Artifact:
    """The float LiteRT model."""
    out = steps.run.npu / "model_fp32.tflite"
    names = {"backend": steps.profile.backend, "target": "npu"}
    made = steps.made(
        out,
        steps.source,
        lambda: steps.call("convert", "convert-litert", **names, checkpoint=str(steps.run.model), out=str(out)),
        stage="convert",
        format="tflite",
        precision="fp32",
        settings={},
        distributions=_libraries(steps),
    )
    return steps.proved(made, "litert")


def _int8(steps: Steps, litert: Artifact) -> Artifact:
    """The INT8 LiteRT model, calibrated on images of the training split."""
    out = steps.run.npu / "model_int8.tflite"
    where = {"run": str(steps.run.path), "model": str(litert.path), "out": str(out)}
    made = steps.made(
        out,
        litert,
        lambda: steps.call("quantize", "quantize-int8", profile=steps.raw, target="npu", **where),
        stage="quantize",
        format="tflite",
        precision="int8",
        settings={"calibration": steps.profile.calibration.model_dump(mode="json"), "data": steps.data},
        distributions=_libraries(steps),
    )
    return steps.proved(made, "litert")


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
        settings={"npu": npu, "assessment": found},
        versions=versions,
    )
    return compiled, found


#: target name -> how its export goes.
EXPORTERS: dict[str, Callable[[Steps], Report]] = {"onnx": export_onnx, "npu": export_npu}
