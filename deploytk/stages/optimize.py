"""The fastest model of a run that meets a budget: searched, proved, and written as one folder that can be deployed."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deploytk import plugins
from deploytk.artifact import TensorSpec
from deploytk.budget import Budget, Verdict
from deploytk.errors import DeploytkError, InputError
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.stages import bench, deploy_graph
from deploytk.stages.deployable import IMAGES, Deployable, require_replaceable
from deploytk.stages.export import PRECISIONS, with_overrides
from deploytk.stages.int8 import ABILITIES
from deploytk.stages.optimize_candidates import Candidate, Wanted
from deploytk.stages.optimize_choice import Choice, choose
from deploytk.stages.optimize_report import deployed_verdict, report_of
from deploytk.stages.optimize_search import Search
from deploytk.stages.optimize_shop import RealShop
from deploytk.stages.run_folder import RunFolder
from deploytk.worker import Listener

#: What is searched: an engine is built and tuned for a GPU by its own export, which takes minutes for each.
SEARCHED = {target: names for target, names in PRECISIONS.items() if target != "tensorrt"}
#: Image sizes are multiples of the largest stride; a smaller image than this holds no scene.
_STRIDE, _LEAST = 32, 96


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What the user asks for. None: every target that is known, every precision, the size the model was trained at."""

    budget: Budget
    targets: Sequence[str] | None = None
    precisions: Sequence[str] | None = None
    sizes: Sequence[int] | None = None
    batches: Sequence[int] = (1,)
    threads: int | Literal["auto"] | None = "auto"
    time_limit_s: float = 1200.0
    calibration: str | None = None
    out: Path | None = None  # by default RUN/deploy


def optimize(run: RunFolder, profile: Profile, ask: Ask, listen: Listener | None = None) -> Report:
    """The report of the search: every candidate, the one chosen, why, and the folder written for it.

    PASS where a candidate is within the budget and lost no more accuracy than it allows; FAIL where none is, with what
    comes nearest; INCONCLUSIVE where that could not be told.

    Raises:
        InputError: an unknown target or precision, a size the network cannot take, no dataset, a folder that is not
            to be replaced.
        ParityFailed, RuleFailed: the plain default, with which all are compared, is not what was trained.
    """
    began, out = time.monotonic(), (ask.out or run.path / "deploy").absolute()
    require_replaceable(out)
    deploy_graph.require_detector(profile, "the folder that optimize writes finds boxes; leave optimize out")
    wanted = wanted_of(ask, profile)
    profile = with_overrides(profile, {("calibration", "name"): ask.calibration} if ask.calibration else {})
    folder = RunFolder(run.path / "optimize")
    with folder.alone():
        shop = RealShop(run, profile, wanted, folder.path, listen)
        search = Search(wanted, SEARCHED, shop, lambda: time.monotonic() - began)
        candidates = search.run()
        choice = choose(candidates, wanted, {})
        if choice.chosen is None:
            choice = choose(candidates, wanted, smaller(candidates, wanted, shop))
        choice = seen(choice, search.source, wanted)
        deployed = _deployed(choice, wanted, shop, out) if choice.chosen else {}
    spent_s = round(time.monotonic() - began, 1)
    facts = {"deployed": deployed, "skipped": shop.kept.skipped, "time_s": spent_s}
    return report_of(choice, wanted, profile, search.source, facts, bench.findings({"sentence": shop.disturbed}))


def wanted_of(ask: Ask, profile: Profile) -> Wanted:
    """What is searched.

    Raises:
        InputError: an unknown target or precision, or an image size that the network cannot take.
    """
    targets = list(ask.targets or SEARCHED)
    precisions = list(ask.precisions or ("fp32", "int8"))
    known = sorted({p for names in SEARCHED.values() for p in names})
    for what, given, names in (("target", targets, SEARCHED), ("precision", precisions, known)):
        for name in given:
            if name not in names:
                raise InputError(plugins.unknown(what, name, names))
    sizes = list(ask.sizes or (profile.train.imgsz,))
    for size in sizes:
        if size % _STRIDE or size <= 0:
            nearest = max(_STRIDE, _STRIDE * round(size / _STRIDE))
            raise InputError(f"--imgsz {size}: not a multiple of {_STRIDE}; did you mean {nearest}?")
    return Wanted(
        budget=ask.budget,
        allowed=ask.budget.max_accuracy_drop,
        targets=targets,
        precisions=precisions,
        sizes=sizes,
        batches=list(ask.batches),
        threads=ask.threads,
        time_limit_s=ask.time_limit_s,
        imgsz=profile.train.imgsz,
        metric=plugins.load("backends", profile.backend).METRIC,
    )


def smaller(candidates: Sequence[Candidate], wanted: Wanted, shop: RealShop) -> dict[int, float]:
    """A look at the size at which the fastest float model would take the budget, where that is a smaller one."""
    looked = [c for c in candidates if c.look_ms and c.batch == min(wanted.batches)]
    if not looked:
        return {}
    best = min(looked, key=lambda c: c.look_ms or math.inf)
    limit_ms = wanted.limit_ms(best.batch)
    share = math.sqrt(0.8 * limit_ms / (best.look_ms or limit_ms))
    size = _STRIDE * int(best.variant.imgsz * share / _STRIDE)
    if not _LEAST <= size < min(wanted.sizes):
        return {}
    try:
        ms = shop.look(best.variant.target, size, best.batch)
    except DeploytkError:  # only a hint is lost
        return {}
    return {size: ms} if ms and ms < limit_ms else {}


def seen(choice: Choice, source: float, wanted: Wanted) -> Choice:
    """The choice; inconclusive where the trained model finds so little that a loss of accuracy cannot be seen."""
    if source > wanted.allowed or choice.chosen is None:
        return choice
    reason = (
        f"The trained model's own {wanted.metric} is {source:.3f}, so a loss of {wanted.allowed:.3f} cannot be seen; "
        "train longer."
    )
    verdict = Verdict(status="inconclusive", reasons=(reason, *choice.verdict.reasons))
    return Choice(chosen=choice.chosen, verdict=verdict, candidates=choice.candidates)


def _deployed(choice: Choice, wanted: Wanted, shop: RealShop, out: Path) -> dict[str, Any]:
    """The folder of the chosen candidate, written; where it is and what its example found."""
    chosen = choice.chosen
    assert chosen and chosen.made and chosen.made.artifact
    compiled = chosen.made.artifact if chosen.is_estimated else None
    model = next(a for a in reversed(chosen.made.chain) if a.format == "tflite") if compiled else chosen.made.artifact
    runtime = ABILITIES[chosen.variant.target].runtime
    spec = shop.call("image_spec", "deploy-input", model=str(model.path), runtime=runtime)
    made = Deployable(
        model=model,
        runtime=runtime,
        threads=chosen.setting.threads,
        options=chosen.setting.options,
        input=TensorSpec(**{**spec, "shape": tuple(spec["shape"])}),
        labels=shop.call("classes", "deploy-labels", backend=shop.profile.backend, checkpoint=str(shop.run.model)),
        chain=chosen.made.chain,
        verdict=deployed_verdict(choice, wanted),
        compiled=compiled,
    )
    images = shop.images[:IMAGES]
    facts = made.write(
        out,
        [Path(image).absolute() for image in images],
        lambda path, preparation: shop.call(
            "boxes", "deploy-boxes", model=str(path), runtime=runtime, images=images, preparation=str(preparation)
        ),
    )
    return {"folder": str(out), "example": facts}
