"""What must be the same of two bench reports before their latencies may be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from deploytk.report import Finding, Report
from deploytk.report.points import Point, points

_MACHINE = {"cpu": "the processor", "cores": "the number of cores", "gpu": "the GPU"}
_BESIDE = {"governor": "the frequency governor", "system": "the operating system", "python": "Python"}
_SETTINGS = {"boundary": "the boundary of the clock", "arrival": "the arrival of requests", "scenario": "the scenario"}


def differences(old: Report, new: Report) -> list[str]:
    """One clause for each thing that forbids a comparison: machine, versions, settings."""
    return [*_machine(old, new), *_versions(old, new), *_settings(old, new)]


def doubts(old: Report, new: Report) -> list[Finding]:
    """What differs and may matter, as warnings."""
    found = [
        _changed(what, getattr(old.machine, key, ""), getattr(new.machine, key, "")) for key, what in _BESIDE.items()
    ]
    found.append(_changed("what the inputs are", _inputs(old), _inputs(new)))
    found.append(_changed("the budget", _budget(old), _budget(new)))
    if not _all_versions(old) and not _all_versions(new):
        found.append("neither report names the versions of its libraries")
    fix = "measure both in the same way where this may matter"
    return [Finding(rule="DIF001", severity="warning", where="diff", message=told, fix=fix) for told in found if told]


def _machine(old: Report, new: Report) -> list[str]:
    if old.machine is None or new.machine is None:
        which = " and ".join(name for name, r in (("the first", old), ("the second", new)) if r.machine is None)
        return [f"{which} report does not say on which machine it was measured"]
    told = (_changed(what, getattr(old.machine, key), getattr(new.machine, key)) for key, what in _MACHINE.items())
    return [clause for clause in told if clause]


def _versions(old: Report, new: Report) -> list[str]:
    """Libraries that both name, in two versions."""
    before, after = _all_versions(old), _all_versions(new)
    if bool(before) != bool(after):
        return [f"only the {'first' if before else 'second'} report names the versions of its libraries"]
    told = (_changed(f"the version of {name}", before[name], after.get(name)) for name in sorted(before))
    return [clause for clause in told if clause]


def _all_versions(report: Report) -> dict[str, str]:
    """The versions of what was benched with: those of the measurements, of the report where they name none."""
    own: dict[str, str] = {}
    for m in report.measurements:
        told = m.details.get("versions")
        own |= told if isinstance(told, Mapping) else {}
    return own or dict(report.versions)


def _settings(old: Report, new: Report) -> list[str]:
    told = [_changed(what, _bench(old).get(key), _bench(new).get(key)) for key, what in _SETTINGS.items()]
    told.append(_changed("the load scenario", _scenario(old), _scenario(new)))
    runtimes = _apart("the runtime", *(_used(r, lambda p: p.runtime) for r in (old, new)))
    told.append(runtimes or _apart("the number of threads", *(_used(r, lambda p: p.threads) for r in (old, new))))
    return [clause for clause in told if clause]


def _scenario(report: Report) -> Any:
    load = report.sections.get("load")
    return load.get("scenario") if isinstance(load, Mapping) else None


def _used(report: Report, what: Callable[[Point], Any]) -> set[str]:
    return {str(value) for p in points(report) if (value := what(p)) not in (None, "")}


def _apart(what: str, before: set[str], after: set[str]) -> str:
    """A clause where the two have nothing in common; points that only one of them has are told of by themselves."""
    return _changed(what, ", ".join(sorted(before)), ", ".join(sorted(after))) if not before & after else ""


def _changed(what: str, before: Any, after: Any) -> str:
    """`the boundary of the clock (model then end_to_end)`; empty where it is the same or one does not say."""
    if before in (None, "") or after in (None, "") or before == after:
        return ""
    return f"{what} ({before} then {after})"


def _bench(report: Report) -> Mapping[str, Any]:
    told = report.sections.get("bench")
    return told if isinstance(told, Mapping) else {}


def _inputs(report: Report) -> Any:
    return _bench(report).get("inputs")


def _budget(report: Report) -> str:
    b = report.budget
    return f"p{b.percentile:g} under {b.latency_ms:g} ms per {b.per}" if b else ""
