"""A run in MLflow's experiment `deploytk` (mlflow)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient

from deploytk.files import write_text
from deploytk.profile import Profile
from deploytk.training.state import Folder

_EXPERIMENT = "deploytk"
_LONGEST = 500  # of a parameter's value, in every MLflow


class Sink:
    """Logs each epoch as metrics of one MLflow run, which a resumed training goes on with."""

    def __init__(self, profile: Profile, run: Path) -> None:
        self.client = MlflowClient(tracking_uri=profile.track.mlflow)
        kept = Folder(run=run).path / "mlflow_run_id"
        self.fresh = not kept.is_file()
        if self.fresh:
            write_text(kept, self._created(profile))
        self.run = kept.read_text(encoding="utf-8").strip()
        self.client.get_run(self.run)  # raises where the server does not know it

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Log the numbers of an epoch."""
        for name, value in values.items():
            self.client.log_metric(self.run, name, value, step=number)

    def cut(self, first: int) -> None:
        """Say from which epoch on metrics stand twice: MLflow keeps both, the later one is what was kept."""
        self.client.set_tag(self.run, "trained anew from epoch", str(first))

    def note(self, epoch: int, text: str) -> None:
        """Keep a sentence as a tag."""
        self.client.set_tag(self.run, f"epoch {epoch}", text[:_LONGEST])

    def close(self) -> None:
        """Say that the run has ended."""
        self.client.set_terminated(self.run)

    def _created(self, profile: Profile) -> str:
        """The id of a new run, with what it is trained with as parameters."""
        found = self.client.get_experiment_by_name(_EXPERIMENT)
        experiment = found.experiment_id if found else self.client.create_experiment(_EXPERIMENT)
        run: str = self.client.create_run(experiment, run_name=profile.name).info.run_id
        for section in ("model", "train"):
            for key, value in getattr(profile, section).model_dump(mode="json").items():
                self.client.log_param(run, f"{section}.{key}", str(value)[:_LONGEST])
        return run
