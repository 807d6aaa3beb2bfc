"""A Report read back from the JSON-like values it was written as."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from deploytk.artifact import Artifact
from deploytk.budget import Budget, Verdict
from deploytk.errors import InputError
from deploytk.measurement import Machine, Measurement
from deploytk.report import Finding, Report


def report_from(told: dict[str, Any]) -> Report:
    """The report that `Report.as_dict` told."""
    artifact, budget, machine = told["artifact"], told["budget"], told["machine"]
    return Report(
        command=told["command"],
        title=told["title"],
        verdict=Verdict(status=told["verdict"], reasons=tuple(told["reasons"])),
        exit_code=told["exit_code"],
        artifact=Artifact.from_dict(artifact) if artifact else None,
        chain=tuple(Artifact.from_dict(a) for a in told["chain"]),
        findings=tuple(Finding(**f) for f in told["findings"]),
        measurements=tuple(_measurement_from(m) for m in told["measurements"]),
        budget=Budget(**budget) if budget else None,
        machine=Machine(**machine) if machine else None,
        versions=told["versions"],
        sections=told["sections"],
    )


def report_in(folder: Path) -> dict[str, Any]:
    """The JSON document of `folder/report.json`, or of the report file itself.

    Raises:
        InputError: there is none, or it is damaged.
    """
    path = folder if folder.is_file() else folder / "report.json"
    try:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = told["verdict"], told["sections"], told["chain"]
    except OSError as error:
        raise InputError(f"{path}: no report here; make one with: deploytk run PROFILE --out {folder}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a deploytk report ({error})") from error
    return told


def _measurement_from(told: dict[str, Any]) -> Measurement:
    known = {f.name for f in fields(Measurement)}
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in told.items() if key in known}
    values["parts_ms"] = {name: tuple(part) for name, part in (values.get("parts_ms") or {}).items()}
    machine = values.pop("machine")
    return Measurement(**values, machine=Machine(**machine) if machine else None)
