"""Before the real training: `validate` looks at everything and trains nothing, `smoke` trains two epochs of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk import plugins, worker
from deploytk.budget import Verdict
from deploytk.errors import EXIT_INPUT, EXIT_PASS
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.profile_training import Resize
from deploytk.report import Finding, Report
from deploytk.stages.run_folder import RunFolder
from deploytk.stages.train import preflight, train
from deploytk.stages.train_settings import Settings
from deploytk.training.shelf import entries_in
from deploytk.training.state import Folder
from deploytk.worker import Listener


def validate(profile: Profile, out: Path) -> Report:
    """The report on profile, data, libraries and on what a training left in `out`; nothing is written there.

    Raises:
        InputError: the preflight found an error.
    """
    backend = plugins.load("backends", profile.backend)
    findings = preflight(profile, out, backend)
    data = Settings.of(profile, backend).data
    with worker.log_folder(None, "validate") as logs:
        told = worker.call(
            "deploytk.stages.train_integrity:checked",
            {"backend": profile.backend, "run": str(out)},
            logs=logs,
            name="integrity",
            timeout_s=profile.train.timeout_s,
        )
    findings += [Finding(**f) for f in told["findings"]]
    wrong = [str(f) for f in findings if f.severity == "error"]
    left = f"{told['checkpoints']} checkpoints in {out} opened" if told["checkpoints"] else f"no checkpoints in {out}"
    reasons = (*wrong, f"{profile.name}: profile, data and libraries looked at; {left}; nothing was trained")
    return _report(
        profile,
        Verdict(status="fail" if wrong else "pass", reasons=reasons),
        EXIT_INPUT if wrong else EXIT_PASS,
        findings,
        {"validate": {"data": data, "checkpoints": told["checkpoints"], "model": told["model"]}},
    )


def smoke(profile: Profile, out: Path, listen: Listener | None = None) -> Report:
    """The report of two epochs with everything that the profile switches on, trained into `out`/smoke.

    Raises:
        DeploytkError: what the real training would have ended with.
    """
    folder = out / "smoke"
    train(_short(profile, 1), folder, listen, how="restart")
    report = train(_short(profile, 2), folder, listen, how="resume")
    exercised = _exercised(profile, folder, report)
    seconds = _seconds_per_epoch(folder)
    reasons = [f"{profile.name}: two epochs went through: {', '.join(exercised)}"]
    if seconds is not None:
        whole = f"{profile.train.epochs} epochs are estimated to take {_duration(seconds * profile.train.epochs)}"
        reasons.append(f"{whole}, from {seconds:.3g} s measured for the second epoch alone")
    section = {"exercised": exercised, "seconds_per_epoch": seconds, "epochs": profile.train.epochs, "folder": folder}
    verdict = Verdict(status="pass", reasons=tuple(reasons))
    told = {**report.sections, "smoke": {**section, "folder": str(folder), "estimate": True}}
    return _report(profile, verdict, EXIT_PASS, list(report.findings), told)


def _short(profile: Profile, epochs: int) -> Profile:
    """The profile with so few epochs; all that comes later in a training is squeezed into the second."""
    resize = profile.train.resize
    squeezed = Resize(start=resize.start, until=2, steps=1) if resize else None
    train = profile.train.model_copy(update={"epochs": epochs, "patience": 0, "resize": squeezed})
    return profile.model_copy(update={"train": train})


def _exercised(profile: Profile, folder: Path, report: Report) -> list[str]:
    """What the two epochs went through."""
    rows = report.sections["train"]["timeline"]
    sizes = list(dict.fromkeys(r["imgsz"] for r in rows))
    switched = {
        "ema": profile.train.ema is not None,
        "clipped gradients": profile.train.clip_norm is not None,
        "label smoothing": profile.train.label_smoothing > 0,
        "balanced classes": profile.train.balance != "none",
        "several processes": len(profile.train.devices) > 1,
        "R-Drop": profile.train.rdrop > 0,
        "a learning rate by section": profile.train.layer_lr < 1,
        f"image sizes {sizes}": len(sizes) > 1,
        "accumulated gradients": (profile.train.effective_batch or 0) > profile.train.batch,
    }
    kept = [e for e in entries_in(Folder(run=folder).checkpoints) if e.file]
    return [
        *(name for name, on in switched.items() if on),
        f"{len(kept)} checkpoints",
        "a resume in a new process",
        f"{RunFolder(folder).model.name} from the best of them",
    ]


def _seconds_per_epoch(folder: Path) -> float | None:
    """How long the second epoch took, None where the backend does not say."""
    seconds = [e.facts.get("seconds") for e in entries_in(Folder(run=folder).checkpoints) if e.epoch == 2]
    return float(seconds[0]) if seconds and seconds[0] is not None else None


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _report(
    profile: Profile, verdict: Verdict, exit_code: int, findings: list[Finding], sections: dict[str, Any]
) -> Report:
    return Report(
        command="train",
        title=profile.name,
        verdict=verdict,
        exit_code=exit_code,
        findings=tuple(findings),
        machine=Machine.this(),
        sections=sections,
    )
