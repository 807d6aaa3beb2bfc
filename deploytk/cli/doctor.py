"""`deploytk doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from deploytk.cli.common import reporting

if TYPE_CHECKING:
    from deploytk.report import Report


@click.command()
@click.option("--target", help="Fail with exit code 6 if this target cannot be used here.")
@reporting
def doctor(target: str | None) -> Report:
    """Say what is installed, what each target needs, and what this machine is.

    \b
    deploytk doctor
    deploytk doctor --target npu
    """
    from deploytk.stages.doctor import doctor as stage

    return stage(target)
