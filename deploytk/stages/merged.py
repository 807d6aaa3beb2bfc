"""The reports of stages that followed each other, as one: whatever is wrong first decides."""

from __future__ import annotations

from collections.abc import Sequence

from deploytk.budget import Status, Verdict
from deploytk.errors import EXIT_PASS
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Report


def merged(profile: Profile, deciding: Sequence[Report], *, made: Report, before: Sequence[Report] = ()) -> Report:
    """One report of all stages.

    Args:
        deciding: in their order; the first that does not pass gives the verdict, and the exit code.
        made: the one whose artifact is deployed.
        before: those that are told and decide nothing.
    """
    code = next((r.exit_code for r in deciding if r.exit_code), EXIT_PASS)
    speaking = [r for r in deciding if r.exit_code] or deciding
    status: Status = "pass" if code == EXIT_PASS else speaking[0].verdict.status
    every = (*before, *deciding)
    return Report(
        command="run",
        title=profile.name,
        verdict=Verdict(status=status, reasons=tuple(s for r in speaking for s in r.verdict.reasons)),
        exit_code=code,
        artifact=made.artifact,
        chain=made.chain,
        findings=tuple(f for r in every for f in r.findings),
        measurements=tuple(m for r in deciding for m in r.measurements),
        budget=profile.budget,
        machine=Machine.this(),
        versions={name: version for r in every for name, version in r.versions.items()},
        sections={name: of for r in every for name, of in r.sections.items()},
    )
