"""What shapes the weights of a training, and in what another one differs from the one that stands in a run folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploytk.artifact import sidecar, stage_key, versions_of
from deploytk.errors import InputError
from deploytk.files import plain, sha256_of, write_json
from deploytk.profile import Profile
from deploytk.stages.run_folder import RunFolder
from deploytk.training.state import Folder

#: How long a training lasts: no epoch's weights depend on it but through the learning rate's curve.
_LENGTH = ("epochs", "patience")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a training's weights depend on."""

    shape: Mapping[str, Any]  # of the profile, the length apart
    data: str  # the fingerprint of the dataset
    versions: Mapping[str, str]
    length: Mapping[str, int]

    @staticmethod
    def of(profile: Profile, backend: Any) -> Settings:
        """Those of a profile, its data and the libraries that are installed."""
        train = profile.train.model_dump(mode="json", exclude={"timeout_s", "workers"})
        length = {name: train.pop(name) for name in _LENGTH}
        acting = [rule.model_dump(mode="json") for rule in profile.rules if rule.auto]
        pretrained = profile.model.pretrained
        return Settings(
            shape={
                "backend": profile.backend,
                "model": profile.model.model_dump(mode="json"),
                "pretrained_sha256": sha256_of(pretrained) if pretrained and pretrained.is_file() else None,
                "train": train,
                "rules": acting,
                **({"text": profile.text.model_dump(mode="json")} if profile.text else {}),
            },
            data=backend.data_fingerprint(profile),
            versions=versions_of("deploytk", *backend.DISTRIBUTIONS),
            length=length,
        )

    @property
    def key(self) -> str:
        """The same for trainings of which one can be gone on with as the other."""
        return stage_key("training", [self.data], self.shape, self.versions)

    @property
    def artifact_key(self) -> str:
        """The key of the model at the end."""
        return stage_key("train", [self.data], self.all, self.versions)

    @property
    def all(self) -> dict[str, Any]:
        """What the artifact says it was trained with."""
        return {**self.shape, "train": {**self.shape["train"], **self.length}}

    def write(self, folder: Folder) -> None:
        """Keep them beside the state."""
        told = {"settings": self.shape, "data": self.data, "versions": self.versions, "length": self.length}
        write_json(_file(folder), plain({**told, "versions": dict(self.versions), "length": dict(self.length)}))


def standing(run: RunFolder) -> Settings | None:
    """The settings of the training that stands in a run folder, None where none does.

    Raises:
        InputError: the file is damaged.
    """
    file = _file(Folder(run=run.path))
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return Settings(shape=told["settings"], data=told["data"], versions=told["versions"], length=told["length"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: damaged ({error}); give another --out, or train anew with --restart") from error


def of_model(run: RunFolder) -> dict[str, Any]:
    """What the lineage of a model that stands in a run folder says it was trained with."""
    try:
        told = json.loads(sidecar(run.model).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    settings = told.get("settings") if isinstance(told, dict) else None
    return settings if isinstance(settings, dict) else {}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """`train.lr0: 0.01 -> 0.001` for each key that is not the same in both."""
    before, after = dict(_flat(plain(old))), dict(_flat(plain(new)))
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return [f"{key}: {_told(before, key)} -> {_told(after, key)}" for key in keys]


def _flat(value: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{above}{key}.")
        else:
            yield f"{above}{key}", item


def _told(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return "not there" if value is None else str(value)[:80]


def _file(folder: Folder) -> Path:
    return folder.path / "settings.json"
