"""A finished training's checkpoints looked through for a better model: sweet spots, crossover, soups, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploytk import plugins, worker
from deploytk.artifact import Artifact, stage_key, versions_of
from deploytk.budget import Status, Verdict
from deploytk.errors import EXIT_INCONCLUSIVE, EXIT_PASS, InputError
from deploytk.files import plain, write_json, write_text
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.report.render import write
from deploytk.stages.run_folder import RunFolder, opened
from deploytk.training import state as states
from deploytk.training import sweetspots, sweetspots_picture
from deploytk.training.shelf import Entry, Shelf, best_of, entries_in
from deploytk.training.state import Folder
from deploytk.training.sweetspots import Spot
from deploytk.worker import Listener

#: With fewer held-out images than these the report says that small differences are chance.
_MANY = 200
#: What the picks of sweet spots are called on the shelf.
PICK = "sweet spot"
_MADE = ("model.pt.json", "model.pt", "profile.json")
#: What shows that a folder is of a crossover: the first file in its logs.
_MARK = "crossover_searched.task.json"
_AS_KEPT, _SETTLED = "best by the choosing part", "the same, batch norm anew"
_KEEP_MORE = "keep more in the next training, in the profile: keep: {every: 1, at_most: 20}"


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One crossover: the run, what is kept there, where the result goes, and who listens."""

    run: RunFolder
    out: Path
    profile: Profile
    entries: tuple[Entry, ...]  # those with a checkpoint
    best: Entry  # what RUN/model.pt was made from
    modules: Mapping[str, Sequence[str]] | None
    listen: Listener | None

    @property
    def metric(self) -> str:
        return str(plugins.load("backends", self.profile.backend).PRIMARY)

    def call(self, step: str, **kwargs: Any) -> Any:
        """What a step gives in a child process."""
        shelf = Folder(run=self.run.path).checkpoints
        task = {
            "profile": self.profile.model_dump(mode="json", by_alias=True),
            "run": str(self.run.path),
            "files": {str(e.epoch): str(shelf / str(e.file)) for e in self.entries},
            "modules": self.modules,
        }
        return worker.call(
            f"deploytk.stages.crossover_steps:{step}",
            {"task": task, **kwargs},
            logs=self.out / "logs",
            name=f"crossover_{step}",
            timeout_s=self.profile.train.timeout_s,
            listen=self.listen,
        )


def crossover(
    path: Path,
    out: Path | None = None,
    *,
    modules: Mapping[str, Sequence[str]] | None = None,
    listen: Listener | None = None,
) -> Report:
    """The report of a crossover; `out` (RUN/crossover) has model.pt only where it is better on the choosing part.

    RUN/model.pt is never touched. The epochs that sweet spots picked are kept on the shelf for good.

    Args:
        modules: the prefixes of the tensors of each module; the backend's own by default.

    Raises:
        InputError: the training is not finished, too few checkpoints are kept, one is missing or damaged; or the
            backend cannot score weights.
    """
    run = opened(path)
    profile = run.profile()
    place = _place(run, out)
    with run.alone():
        _require_finished(run)
        entries = _kept(run)
        best = best_of(entries)
        if best is None:
            raise InputError(f"{run.path}: no checkpoint has a metric; crossover has nothing to begin with")
        for name in _MADE:
            (place / name).unlink(missing_ok=True)
        job = _Job(run=run, out=place, profile=profile, entries=entries, best=best, modules=modules, listen=listen)
        report = _looked_through(job)
        write(report, place)
    return report


def _place(run: RunFolder, out: Path | None) -> Path:
    place = out if out is not None else run.path / "crossover"
    if place.resolve() == run.path.resolve() or (place / "training").exists():
        raise InputError(f"--out {place}: a training stands here, whose model.pt would be removed; give another folder")
    strangers = [name for name in _MADE if (place / name).exists() and not (place / "logs" / _MARK).exists()]
    if strangers:
        raise InputError(f"--out {place}: {strangers[0]} is not of a crossover; give another folder")
    return place


def _require_finished(run: RunFolder) -> None:
    state = states.read(Folder(run=run.path))
    if state is None or state.status != "done":
        how = f"{state.status}: {state.reason}" if state else "there is no training/state.json"
        again = f"deploytk train {run.path / 'profile.json'} --out {run.path} --resume"
        raise InputError(f"{run.path}: the training is not finished ({how}); go on with: {again}")


def _kept(run: RunFolder) -> tuple[Entry, ...]:
    folder = Folder(run=run.path).checkpoints
    kept = tuple(e for e in entries_in(folder) if e.file and not e.suspect)
    gone = [e for e in kept if not (folder / str(e.file)).is_file()]
    if gone:
        raise InputError(
            f"{folder / str(gone[0].file)}: the checkpoint of epoch {gone[0].epoch} is missing; put it back, "
            f"or set its file to null in {folder / 'metadata.json'}"
        )
    if len(kept) < 2:
        raise InputError(f"{folder}: {len(kept)} checkpoint is kept, and crossover needs several; {_KEEP_MORE}")
    return kept


def _looked_through(job: _Job) -> Report:
    found = job.call("searched")
    spots = [_spot(s) for s in found["spots"]]
    write_json(
        job.out / "sweetspots.json", plain({"metric": job.metric, "home": found["home"], "spots": found["spots"]})
    )
    write_text(job.out / "sweetspots.txt", sweetspots.as_text(spots, job.metric))
    sweetspots_picture.draw(job.out / "sweetspots.png", spots, job.metric)
    picks = sorted({s.peak_epoch for s in spots if not s.flat})
    Shelf(Folder(run=job.run.path).checkpoints, job.profile.keep).pick(picks, PICK)
    made = job.out / "model.pt" if found["gained"] else None
    models = job.call("judged", models=_models(job, found), write=str(made) if made else None)
    facts = {"metric": job.metric, **found, "picks": picks, "models": _against(models)}
    return _told(job, facts, _artifact(job, facts, made) if made else None)


def _spot(told: Mapping[str, Any]) -> Spot:
    curve = {int(epoch): float(score) for epoch, score in told["curve"]}
    return sweetspots.spot(told["module"], curve, home=told["home"], reference=told["reference"])


def _models(job: _Job, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is put side by side, RUN/model.pt first and the crossover last."""
    home, last, top, soup = found["home"], job.entries[-1].epoch, found["top"], found["soup"]
    rows = [
        ("model.pt", [job.best.epoch], {"checkpoint": job.best.epoch}),
        (_AS_KEPT, [home], {"checkpoint": home}),
        (_SETTLED, [home], {"settled": home}),
        ("last epoch", [last], {"trained": last}),
        ("moving average (EMA) at the last epoch", [last], {"checkpoint": last}),
        (f"plain mean of the best {len(top)}", top, {"mean": top}),
        ("greedy soup", soup, {"mean": soup}),
    ]
    if found["gained"]:
        epochs = sorted({home, *found["origin"].values()})
        recipe = {"home": home, "origin": found["origin"]} if found["swapped"] else {"settled": home}
        rows.append(("crossover", epochs, recipe))
    return [{"name": name, "epochs": epochs, "recipe": recipe} for name, epochs, recipe in rows]


def _against(models: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The models with what each gains over model.pt on the held-out part."""
    first = models[0]["held_out"]
    return [{**m, "change": m["held_out"] - first if i else None} for i, m in enumerate(models)]


def _artifact(job: _Job, facts: Mapping[str, Any], path: Path) -> Artifact:
    """The lineage of a model that was written, and the profile that makes its folder a run folder."""
    profile = job.profile.model_copy(update={"name": f"{job.profile.name}-crossover"})
    RunFolder(job.out).save_profile(profile)
    source, settings = Artifact.load(job.run.model), {name: facts[name] for name in ("home", "origin", "swapped")}
    versions = versions_of("deploytk", *plugins.load("backends", profile.backend).DISTRIBUTIONS)
    return Artifact.record(
        path,
        format="pt",
        precision="fp32",
        made_by="crossover",
        key=stage_key("crossover", [source.sha256], settings, versions),
        made_from=(source,),
        settings=settings,
        versions=versions,
        metrics={f"{job.metric} (held out)": _row(facts, "crossover")["held_out"]},
    )


def _told(job: _Job, facts: dict[str, Any], made: Artifact | None) -> Report:
    facts["notes"] = _notes(facts)
    write_json(job.out / "crossover.json", plain(facts))
    status, reasons = _verdict(job, facts)
    return Report(
        command="train crossover",
        title=job.profile.name,
        verdict=Verdict(status=status, reasons=tuple(reasons)),
        exit_code=EXIT_PASS if status == "pass" else EXIT_INCONCLUSIVE,
        artifact=made,
        chain=(made,) if made else (),
        machine=Machine.this(),
        versions=made.versions if made else {},
        sections={"crossover": facts},
    )


def _notes(facts: Mapping[str, Any]) -> list[str]:
    parts = facts["parts"]
    few = parts["held_out"] < _MANY
    return [
        f"{parts['choosing']} images to choose by, {parts['held_out']} held out: {parts['of']}.",
        f"{facts['scored']} models were scored to choose, all on the choosing part: its scores are flattering.",
        *(
            [f"{parts['held_out']} held-out images are few: differences of a hundredth are chance there."]
            if few
            else []
        ),
    ]


def _verdict(job: _Job, facts: Mapping[str, Any]) -> tuple[Status, list[str]]:
    """A crossover has gained where the held-out part says so too: against model.pt, and against what was swapped into.

    The second, because batch norm settled anew can be all that helps.
    """
    if not facts["gained"]:
        return "pass", [f"nothing gained: {job.run.model} stays the best; no model was written"]
    crossed, home = _row(facts, "crossover"), _row(facts, _SETTLED if facts["over"] == "settled" else _AS_KEPT)
    gains = {"model.pt": crossed["change"]}
    if facts["swapped"]:
        gains[home["name"]] = crossed["held_out"] - home["held_out"]
    said = f"{_what(facts)} {job.metric} on the choosing part; on the held-out part "
    said += ", ".join(f"{gain:+.4f} against {name}" for name, gain in gains.items())
    if min(gains.values()) > 0:
        return "pass", [said, f"written: {job.out / 'model.pt'}; {job.run.model} is untouched"]
    why = f"{said}: the gain did not hold"
    return "inconclusive", [why, f"written all the same: {job.out / 'model.pt'}; {job.run.model} is untouched"]


def _what(facts: Mapping[str, Any]) -> str:
    """What was changed, and what it gave on the choosing part."""
    home = facts["home"]
    if not facts["swapped"]:
        alone = facts["reference"] - facts["scores"][str(home)]
        return f"no swap helped; batch norm settled anew alone, in epoch {home}: {alone:+.4f}"
    swapped = ", ".join(f"{module} of epoch {epoch}" for module, epoch in facts["origin"].items() if epoch != home)
    return f"crossover: {swapped} into epoch {home}: {facts['score'] - facts['start']:+.4f}"


def _row(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The row of a model, also where it has the weights of one that stands above it."""
    return next(m for m in facts["models"] if name in {m["name"], *m["also"]})
