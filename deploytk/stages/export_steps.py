"""The child steps of one export: each run in its own process, and skipped where its result already stands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from deploytk import plugins, worker
from deploytk.artifact import Artifact, finished, stage_key, versions_of
from deploytk.errors import InputError
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.stages import proof
from deploytk.stages.run_folder import RunFolder
from deploytk.worker import Listener


class Steps:
    """The child steps of one export, each skipped where its result already stands under the same key."""

    def __init__(self, run: RunFolder, profile: Profile, listen: Listener | None) -> None:
        self.run, self.profile, self.listen = run, profile, listen
        self.raw = profile.model_dump(mode="json", by_alias=True)
        self.backend = plugins.load("backends", profile.backend)
        self.skipped: dict[str, bool] = {}
        self.data = self._data()
        self.source = self._source()

    def _data(self) -> str:
        """The fingerprint of the images that calibrate and prove."""
        try:
            return str(self.backend.data_fingerprint(self.profile))
        except InputError as error:
            hint = f"put the dataset back, or write its new place into data.path of {self.run.path / 'profile.json'}"
            raise InputError(f"{error.message}; an export calibrates and proves with it: {hint}") from error

    def _source(self) -> Artifact:
        """The trained model with its task metrics; at another image size than trained, those it has there."""
        trained = Artifact.load(self.run.model)
        if self.run.imgsz is None:
            return self.proved(trained, "torch")
        size, sizes = str(self.run.imgsz), trained.settings.get("proved_at", {})
        if sizes.get(size, {}).get("data") != self.data:
            sizes = {**sizes, size: {"data": self.data, "metrics": self._proof_of(trained, "torch")["metrics"]}}
            proof.kept(trained, proved_at=sizes)
        return replace(trained, metrics=sizes[size]["metrics"])

    def call(self, function: str, name: str, **kwargs: Any) -> Any:
        """What `stages.steps.<function>` returns from its own process."""
        return worker.call(
            function if ":" in function else f"deploytk.stages.steps:{function}",
            kwargs,
            logs=self.run.logs,
            name=name,
            timeout_s=self.profile.export.timeout_s,
            listen=self.listen,
        )

    def made(
        self,
        path: Path,
        source: Artifact,
        build: Callable[[], dict[str, Any] | None],
        *,
        stage: str,
        format: str,
        precision: str,
        settings: dict[str, Any],
        distributions: tuple[str, ...],
    ) -> Artifact:
        """The artifact at `path`: found finished, or built now. What `build` returns is kept in its settings."""
        versions = versions_of("deploytk", *distributions)
        key = stage_key(stage, [source.sha256], settings, versions)
        found = finished(path, key)
        self.skipped[path.name] = found is not None
        if found is not None:
            return found
        facts = build()
        return Artifact.record(
            path,
            format=format,
            precision=precision,
            made_by=stage,
            key=key,
            made_from=[source],
            settings={**settings, "facts": facts or {}},
            versions=versions,
        )

    def proved(self, artifact: Artifact, runtime: str) -> Artifact:
        """`artifact` with its task metrics and its distance from the trained model, measured once and kept."""
        # In which floats OpenVINO computes depends on the processor, and with it what the model finds.
        proved_with = f"{self.data} on {Machine.this().cpu}" if runtime == "openvino" else self.data
        if artifact.settings.get("proved_with") == proved_with:
            return artifact
        found = self._proof_of(artifact, runtime)
        proved = replace(artifact, metrics=found["metrics"])
        return proof.kept(
            proved, proved_with=proved_with, agreement=found["agreement"], classes=found.get("classes", [])
        )

    def _proof_of(self, artifact: Artifact, runtime: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call(
            "proof",
            f"prove-{artifact.path.name}",
            profile=self.raw,
            run=str(self.run.path),
            checkpoint=str(self.run.model),
            model=str(artifact.path),
            runtime=runtime,
            images=8,
            precision=artifact.precision,
        )
        return found
