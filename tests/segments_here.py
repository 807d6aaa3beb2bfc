"""A training whose segments all run in this process: no child has to load torch."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from deploytk.profile import Profile
from deploytk.training.segments import Outcome, Segment, as_dict, outcome_from
from deploytk.training.state import Folder, State
from deploytk.training.supervisor import Job, supervise


def trained(backend: ModuleType, wanted: Profile, run: Path) -> State:
    """The state at its end."""

    def launch(segment: Segment, _number: int) -> Outcome:
        told = wanted.model_dump(mode="json", by_alias=True)
        return outcome_from(backend.train_segment(told, str(run), as_dict(segment)))

    (run / "training").mkdir(parents=True, exist_ok=True)
    job = Job(profile=wanted, folder=Folder(run=run), launch=launch, tell=lambda *_args, **_fields: None)
    return supervise(job, State(key="k", status="running"))
