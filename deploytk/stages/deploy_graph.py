"""The graph that is deployed: the ONNX with preparation and suppression inside, where the profile asks for it."""

from __future__ import annotations

from deploytk import plugins
from deploytk.artifact import Artifact
from deploytk.errors import InputError
from deploytk.profile import Profile
from deploytk.stages import proof
from deploytk.stages.export_steps import Steps

#: The targets whose models are made from the ONNX.
TARGETS = ("onnx", "openvino")
#: On how many validation images the boxes are compared.
_IMAGES = 32


def wanted(profile: Profile) -> bool:
    """Whether the profile wants something inside the graph.

    Raises:
        InputError: its target has no such graph.
    """
    export = profile.export
    asked = export.nms == "in" or export.preprocess != "out"
    if asked and export.target not in TARGETS:
        raise InputError(
            f"the target {export.target} keeps preparation and suppression outside; leave --preprocess and --nms out, "
            f"or choose --target {' or '.join(TARGETS)}"
        )
    if asked:
        require_detector(profile, "what --preprocess and --nms put into a graph is a detector's; leave both out")
    return asked


def require_detector(profile: Profile, why: str) -> None:
    """Nothing, where the models of the profile's backend are detectors.

    Raises:
        InputError: they are not; `why` says who asks, and what to do.
    """
    task = plugins.load("backends", profile.backend).TASK
    if task != "detector":
        raise InputError(f"backend {profile.backend}: its models are {task}s; {why}")


def made(steps: Steps, model: Artifact) -> Artifact:
    """`model`, an ONNX, with inside what the profile wants there, written beside it."""
    export, out = steps.profile.export, model.path.with_name(f"{model.path.stem}_deploy.onnx")
    settings = {"preprocess": export.preprocess, "nms": export.nms}
    return steps.made(
        out,
        model,
        lambda: steps.call(
            "deploytk.stages.deploy_steps:deploy_graph", "deploy-graph", model=str(model.path), out=str(out), **settings
        ),
        stage="deploy-graph",
        format="onnx",
        precision=model.precision,
        settings=settings,
        distributions=("onnx",),
    )


def made_ir(steps: Steps, graph: Artifact, model: Artifact) -> Artifact:
    """`model`, an INT8 IR, with inside what `graph` has, written beside it."""
    out = model.path.with_name(f"{model.path.stem}_deploy.xml")
    return steps.made(
        out,
        model,
        lambda: steps.call(
            "deploytk.stages.deploy_steps:deploy_ir",
            f"graft-{out.stem}",
            graph=str(graph.path),
            model=str(model.path),
            out=str(out),
        ),
        stage="graft",
        format=model.format,
        precision=model.precision,
        settings={"graph": graph.sha256},
        distributions=plugins.load("targets", "openvino").DISTRIBUTIONS,
    )


def proved(steps: Steps, model: Artifact, deployed: Artifact, runtime: str) -> Artifact:
    """`deployed` with what its boxes are beside those of `model`, found out once and kept."""
    if deployed.settings.get("proved_on") == steps.data:
        return deployed
    found = steps.call(
        "deploytk.stages.deploy_steps:deploy_proof",
        f"prove-{deployed.path.name}",
        data=str(steps.profile.data.path),
        model=str(model.path),
        deployed=str(deployed.path),
        runtime=runtime,
        images=_IMAGES,
    )
    return proof.kept(deployed, proved_on=steps.data, same_boxes=found)
