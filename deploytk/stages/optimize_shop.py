"""Makes and measures for `deploytk optimize`: every step in a process of its own, every result kept under a key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from deploytk import plugins, worker
from deploytk.artifact import Artifact, finished, stage_key, versions_of
from deploytk.budget import Verdict
from deploytk.data import calibration, dataset
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_PARITY, EXIT_PASS, InputError, ParityFailed, RuleFailed
from deploytk.files import size_of
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.stages import bench_estimate, optimize_round
from deploytk.stages.bench import spec_of
from deploytk.stages.bench_threads import candidates as thread_counts
from deploytk.stages.export import at_size, with_overrides
from deploytk.stages.int8 import ABILITIES
from deploytk.stages.optimize_candidates import Candidate, Made, Setting, Timing, Variant, Wanted
from deploytk.stages.optimize_kept import Kept, as_file
from deploytk.stages.optimize_round import Runner
from deploytk.stages.real_inputs import real_inputs
from deploytk.stages.run_folder import RunFolder
from deploytk.worker import Listener

STEPS = "deploytk.stages.optimize_steps"
#: Options worth trying beside each number of threads.
_OPTIONS: dict[str, tuple[dict[str, str], ...]] = {"openvino": ({"hint": "throughput"},)}
#: Exit codes of an export whose model can be used: an accuracy that cannot be told is said in the end.
_USABLE = (EXIT_PASS, EXIT_INCONCLUSIVE)


class RealShop:
    """The `Shop` of a search, for one run."""

    def __init__(self, run: RunFolder, profile: Profile, wanted: Wanted, out: Path, listen: Listener | None) -> None:
        self.run, self.profile, self.wanted, self.out, self.listen = run, profile, wanted, out, listen
        self.backend = plugins.load("backends", profile.backend)
        self.kept = Kept(out / "kept")
        self.machine = [Machine.this().cpu, Machine.this().cores]
        self.disturbed = ""  # what disturbed the final round, as a sentence

    def look(self, target: str, imgsz: int, batch: int) -> float | None:
        """How many ms the fastest of a few calls of the float model takes; of its ONNX, which all targets here read."""
        model, runtime = self._plain_onnx(imgsz), ABILITIES[target].runtime
        spec = spec_of(model, runtime=runtime)
        settings = {"model": model.sha256, "batch": batch, **self._here(runtime)}
        name = f"look {target} {imgsz} px batch {batch}"
        runner = Runner(name=name, spec=spec, batch=batch)
        found: float | None = self.kept.get(
            name,
            settings,
            lambda: optimize_round.fastest_ms(runner, self.wanted.budget, self.logs),
            is_valid=lambda ms: ms is not None,
        )
        return found

    def trained_metric(self, imgsz: int) -> float:
        """The metric of the trained weights at an image size."""
        told = self.call("trained", f"trained-{imgsz}px", **self._run(self.profile, imgsz))
        return float(told[self.wanted.metric])

    def make(self, variant: Variant, allowed: float, limit_s: float | None) -> Made:
        """The exported model, with its proofs.

        Raises:
            ParityFailed, RuleFailed: it does not do what the trained model does, or breaks a rule of the target.
            StepFailed: it was not made in time, or a converter crashed.
        """
        profile = self._profile(variant, allowed)
        asked = self._run(profile, variant.imgsz)
        settings = {"asked": {**asked, "run": ""}, **self._inputs(profile, variant)}
        name = f"make {variant.name}"
        report = self.kept.get(
            name,
            settings,
            lambda: self.call("exported", name, limit_s, **asked),
            is_valid=_still_there,
        )
        return made_from(report, variant, self.wanted.metric)

    def estimate(self, candidate: Candidate) -> Timing:
        """Vela's estimate."""
        assert candidate.made and candidate.made.artifact
        if candidate.batch > 1:
            raise InputError("an NPU model is compiled for batch 1, and only that is estimated")
        measurement, verdict = bench_estimate.estimated(candidate.made.artifact, self.wanted.budget)
        ms = measurement.percentile_ms(50) if measurement.samples_ms else float("inf")
        return Timing(p50_ms=ms, judged_ms=ms, kind="estimated", verdict=verdict)

    def settings(self, target: str) -> list[Setting]:
        """Each number of threads, alone and with the runtime's options; none where the user gave a number."""
        if self.wanted.threads != "auto":
            return []
        options = ({}, *_OPTIONS.get(target, ()))
        return [Setting(threads=n, options=chosen) for n in thread_counts() for chosen in options]

    def time(self, candidate: Candidate) -> Timing:
        """The latency of a candidate from a few dozen calls."""
        runner = self._runner(candidate)
        told = self.kept.get(
            f"time {candidate.name}",
            self._run_with([candidate]),
            lambda: asdict(optimize_round.look(runner, self.wanted.budget, self.logs)),
        )
        return timing_from(told)

    def final(self, default: Candidate, rivals: Sequence[Candidate], limit_s: float) -> list[Timing]:
        """The default and its rivals in turns; a round that was disturbed is not used again."""
        every = [default, *rivals]
        runners = [self._runner(c) for c in every]

        def measured() -> dict[str, Any]:
            found, disturbed = optimize_round.final(runners, self.wanted.budget, limit_s, self.logs, self.listen)
            return {"timings": [asdict(timing) for timing in found], "disturbed": disturbed}

        told = self.kept.get("final round", self._run_with(every), measured, is_valid=lambda t: not t["disturbed"])
        self.disturbed = told["disturbed"]
        return [timing_from(timing) for timing in told["timings"]]

    @cached_property
    def images(self) -> list[str]:
        """The validation images, for what is measured from the image file on.

        Raises:
            InputError: the profile names no dataset.
        """
        if self.profile.data.path is None:
            raise InputError("data.path: no dataset to take images from; write it into the run's profile.json")
        return [str(sample.image) for sample in dataset.read(self.profile.data.path).splits["val"]]

    @property
    def logs(self) -> Path:
        """The logs of the children."""
        return self.out / "logs"

    def _plain_onnx(self, imgsz: int) -> Artifact:
        """The float ONNX at an image size as an export makes it, unproved: only its time is looked at."""
        settings, source = {"opset": self.profile.export.opset, "imgsz": imgsz}, Artifact.load(self.run.model)
        out = self.out / "looks" / f"{imgsz}px.onnx"
        key = stage_key("look", [source.sha256], settings, versions_of("deploytk", "torch", "onnx", "onnxslim"))
        found = finished(out, key)
        if found is not None:
            return found
        asked: dict[str, Any] = {"backend": self.profile.backend, "checkpoint": str(self.run.model), "out": str(out)}
        self.call("deploytk.stages.steps:onnx_from_checkpoint", f"look-{imgsz}px", **asked, **settings)
        return Artifact.record(out, format="onnx", precision="fp32", made_by="look", key=key, made_from=[source])

    def _profile(self, variant: Variant, allowed: float) -> Profile:
        """The profile of an export: a named calibration set serves the size that its samples are prepared to.

        What INT8 may lose is `allowed`; a float model is to be what was trained, whatever may be lost.
        """
        name = self.profile.calibration.name
        fits = name is not None and calibration.load(name).preparation.size == (variant.imgsz, variant.imgsz)
        chosen: dict[tuple[str | int, ...], Any] = {
            ("export", "target"): variant.target,
            ("export", "precision"): variant.precision,
            ("export", "preprocess"): variant.preprocess,
            ("export", "nms"): "out",
            ("calibration", "name"): name if fits else None,
        }
        if variant.precision == "int8":
            chosen["budget", "max_accuracy_drop"] = allowed
        return with_overrides(self.profile, chosen)

    def _inputs(self, profile: Profile, variant: Variant) -> dict[str, Any]:
        """What an export depends on beside its profile."""
        name = profile.calibration.name
        target = plugins.load("targets", variant.target)
        return {
            "source": Artifact.load(self.run.model).sha256,
            "calibration": calibration.load(name).sha256 if name else None,
            "data": self.backend.data_fingerprint(self.profile),
            "versions": versions_of("deploytk", *self.backend.DISTRIBUTIONS, *target.DISTRIBUTIONS),
            "machine": self.machine,  # INT8 that is slower than float here is refused here
        }

    def _runner(self, candidate: Candidate) -> Runner:
        assert candidate.made and candidate.made.artifact
        setting, runtime = candidate.setting, ABILITIES[candidate.variant.target].runtime
        spec = spec_of(
            candidate.made.artifact,
            runtime=runtime,
            threads=setting.threads,
            options=setting.options,
            feeds=self._feeds(candidate.variant.imgsz),
            boundary=self.wanted.budget.boundary,
        )
        if self.wanted.budget.boundary == "end_to_end":
            spec |= {"images": self.images, "prepare": "detector", "after": "auto"}
        return Runner(name=candidate.name, spec=spec, batch=candidate.batch)

    def _feeds(self, imgsz: int) -> Path:
        folder, profile = at_size(self.run, self.profile, imgsz)
        return real_inputs(profile, folder, self.listen)

    def _run(self, profile: Profile, imgsz: int) -> dict[str, Any]:
        """What the steps that export and score are told."""
        told = profile.model_dump(mode="json", by_alias=True)
        return {"profile": told, "run": str(self.run.path), "imgsz": imgsz}

    def _run_with(self, candidates: Sequence[Candidate]) -> dict[str, Any]:
        """What a kept latency depends on."""
        ran = [
            {
                "model": c.made.artifact.sha256 if c.made and c.made.artifact else "",
                "batch": c.batch,
                "setting": asdict(c.setting),
                **self._here(ABILITIES[c.variant.target].runtime),
            }
            for c in candidates
        ]
        return {"ran": ran, "budget": self.wanted.budget.model_dump(mode="json")}

    def _here(self, runtime: str) -> dict[str, Any]:
        module = plugins.load("runtimes", runtime)
        return {"machine": self.machine, "versions": versions_of("deploytk", *module.DISTRIBUTIONS)}

    def call(self, step: str, name: str, limit_s: float | None = None, **kwargs: Any) -> Any:
        """What `optimize_steps.<step>` (or `module:step`) returns from its own process."""
        return worker.call(
            step if ":" in step else f"{STEPS}:{step}",
            kwargs,
            logs=self.logs,
            name=as_file(name),
            timeout_s=limit_s or self.profile.export.timeout_s,
            listen=self.listen,
        )


def made_from(report: dict[str, Any], variant: Variant, metric: str) -> Made:
    """What an export came to.

    Raises:
        ParityFailed, RuleFailed: its model is not to be used; with the reasons of the export.
    """
    attempts = (report["sections"].get("ladder") or {}).get("attempts") or []
    if report["exit_code"] == EXIT_PARITY and attempts and not any(a["outcome"] == "met" for a in attempts):
        return _missed(attempts)
    if report["exit_code"] not in _USABLE:
        error = ParityFailed if report["exit_code"] == EXIT_PARITY else RuleFailed
        raise error(f"{variant.name}: {' '.join(report['reasons'])}", reasons=tuple(report["reasons"]))
    artifact = Artifact.load(Path(report["artifact"]["path"]))
    chain = tuple(Artifact.from_dict(a) for a in report["chain"])
    proved = artifact if metric in artifact.metrics else next(a for a in reversed(chain) if metric in a.metrics)
    return Made(
        artifact=artifact,
        metric=proved.metrics[metric],
        size_bytes=size_of(artifact.path),
        chain=chain,
        how=next((a["what"] for a in attempts if a["outcome"] == "met"), ""),
    )


def _still_there(report: dict[str, Any]) -> bool:
    """Whether the file that a kept report is about is still what it was."""
    told = report["artifact"]
    try:
        return bool(Artifact.load(Path(told["path"])).sha256 == told["sha256"])
    except InputError:
        return False


def _missed(attempts: Sequence[dict[str, Any]]) -> Made:
    """The attempt at INT8 that lost least, of which none was good enough."""
    scored = [a for a in attempts if a["metric"] is not None]
    if not scored:
        return Made(artifact=None, reason=f"no working INT8 model: {attempts[-1]['reason']}")
    best = min(scored, key=lambda a: a["drop"])
    return Made(
        artifact=None,
        metric=best["metric"],
        size_bytes=best["size_bytes"],
        how=best["what"],
        reason=f"the best of {len(attempts)} INT8 attempts ({best['what']}): {best['reason']}",
        p50_ms=best["speed"].get("ms"),
    )


def timing_from(told: dict[str, Any]) -> Timing:
    """The timing that `asdict` told; what JSON does not have was infinite."""
    verdict = told["verdict"] and Verdict(status=told["verdict"]["status"], reasons=tuple(told["verdict"]["reasons"]))
    times = {name: math.inf if told[name] is None else told[name] for name in ("p50_ms", "judged_ms")}
    return Timing(**{**told, **times, "verdict": verdict})
