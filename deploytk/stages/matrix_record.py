"""DIR/matrix.json: what became of each variant of a matrix, written whole at each change."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deploytk.errors import EXIT_FAULT, DeploytkError, InputError, MissingDependency, ProfileError
from deploytk.files import plain, write_json, write_text
from deploytk.report import Report
from deploytk.training import state as states
from deploytk.training import timeline
from deploytk.training.state import Folder

Row = dict[str, Any]


class Record:
    """The rows of a matrix by the variants' names. Several threads may write to it."""

    def __init__(self, out: Path, values: Mapping[str, Mapping[str, str]], asked: dict[str, Any]) -> None:
        """Begin, or go on with, the record of variants by their names.

        Args:
            values: what each variant has of each axis.
            asked: what else matrix.json says of the matrix.
        """
        self.path, self.asked = out / "matrix.json", asked
        before = _runs(self.path)
        self.rows: dict[str, Row] = {
            name: {
                "variant": name, "values": dict(own), "status": "waiting", "folder": name,
                "runs": before.get(name, []),
            }
            for name, own in values.items()
        }  # fmt: skip
        self._lock = threading.Lock()

    def began(self, name: str) -> None:
        """Note that a variant is at work."""
        with self._lock:
            self.rows[name]["status"] = "running"
            self.rows[name]["runs"].append({"began": _now(), "ended": None})
            self._write()

    def ended(self, name: str, became: Row) -> None:
        """Note what became of a variant."""
        with self._lock:
            row = self.rows[name]
            if became.pop("skipped", False):
                row["runs"].pop()  # it was finished before: looked at, not run
            else:
                row["runs"][-1]["ended"] = _now()
            row |= became
            self._write()

    def note(self, name: str, **fields: Any) -> None:
        """Add to what is known of a variant."""
        with self._lock:
            self.rows[name] |= fields
            self._write()

    def _write(self) -> None:
        write_json(self.path, plain({**self.asked, "variants": list(self.rows.values())}))


def _runs(path: Path) -> dict[str, list[dict[str, Any]]]:
    """When each variant was run by earlier commands.

    Raises:
        InputError: the file is damaged.
    """
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {str(row["variant"]): list(row["runs"]) for row in told["variants"]}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); remove it (the trainings are in folders beside it)") from error


def became(name: str, folder: Path, trained: Callable[[], Report]) -> Row:
    """What became of a variant; nothing it can raise stops the others (the user can)."""
    try:
        return _succeeded(trained())
    except DeploytkError as error:
        return _failed(folder, error.exit_code, error.reasons, _kind(error))
    except OSError as error:  # a folder that cannot be written to, a disk that is full
        return _failed(folder, EXIT_FAULT, (f"{name}: {error}",), "fault")
    except Exception as error:
        log = folder / "errors" / f"{name}.log"
        write_text(log, "".join(traceback.format_exception(error)))
        why = f"{name}: a fault of deploytk: {type(error).__name__}: {error}; please report it with {log}"
        return _failed(folder, EXIT_FAULT, (why,), "fault")


def _succeeded(report: Report) -> Row:
    summary, made = report.sections["train"], report.artifact
    return {
        "skipped": report.sections.get("skipped", {}).get("train", False),
        "status": "done",
        "verdict": report.verdict.status,
        "exit_code": report.exit_code,
        "reasons": list(report.verdict.reasons),
        "ended_as": "",
        "metrics": dict(made.metrics) if made else {},
        "best_epoch": summary.get("best_epoch"),
        "epochs": len(summary.get("epochs", ())),
        "activations": summary.get("activations"),
        "sha256": made.sha256 if made else None,
        "attempts": summary.get("attempts", 1),
        "seconds": summary.get("seconds"),
        **_counted(summary.get("timeline", ())),
    }


def _kind(error: DeploytkError) -> str:
    """What kind of mistake kept a variant from being started."""
    if isinstance(error, ProfileError):
        return "profile"
    if isinstance(error, MissingDependency):
        return "library"
    signs = {"precision": "train.precision", "memory": "is estimated to need"}
    return next((kind for kind, sign in signs.items() if any(sign in reason for reason in error.reasons)), "refused")


def _failed(folder: Path, exit_code: int, reasons: Sequence[str], kind: str = "refused") -> Row:
    try:
        state = states.read(Folder(run=folder))
    except InputError:
        state = None
    rows = timeline.rows(state) if state else []
    return {
        "status": "failed",
        "verdict": "fail",
        "exit_code": exit_code,
        "reasons": list(reasons),
        "ended_as": rows[-1]["ended"] if rows else kind,
        "metrics": {},
        "best_epoch": None,
        "epochs": max((r["reached"] or 0 for r in rows), default=0),
        "activations": None,
        "sha256": None,
        "attempts": timeline.attempts(state) if state else 0,
        "seconds": None,
        **_counted(rows),
    }


def _counted(rows: Sequence[dict[str, Any]]) -> Row:
    """How it went, from the rows of its timeline: nothing where there are none."""
    if not rows:
        return {}
    followed = [row["ended"] for row in rows[:-1]]
    return {
        "seconds": round(sum(row["seconds"] or 0.0 for row in rows), 1),
        "segments": len(rows),
        "rollbacks": sum(ended in {"nan", "collapse"} for ended in followed),
        "ooms": sum(row["ended"] == "oom" for row in rows),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
