"""`deploytk profiles list | show | schema`."""

from __future__ import annotations

import json
from typing import Any

import click

from deploytk.cli.common import errors_told, print_json


@click.group()
def profiles() -> None:
    """List and show profiles, or print their JSON Schema."""


@profiles.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_profiles(as_json: bool) -> None:
    """List the shipped profiles and NPU presets."""
    from deploytk import profile_loading

    with errors_told(as_json=as_json):
        loaded = [profile_loading.load(name) for name in profile_loading.shipped()]
        presets = profile_loading.npu_presets()
    if as_json:
        rows = [{"name": p.name, "aliases": list(p.aliases), "description": p.description} for p in loaded]
        _print_json(f"{len(rows)} profiles, {len(presets)} NPU presets", profiles=rows, npu=presets)
        return
    width = max(len(p.name) for p in loaded)
    for profile in loaded:
        click.echo(f"{profile.name:<{width}}  {profile.description}")
    click.echo(f"\nNPU presets (export.npu, --npu): {', '.join(presets)}")


@profiles.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of YAML.")
def show(name: str, as_json: bool) -> None:
    """Show the profile NAME with everything it extends and every default filled in."""
    import yaml

    from deploytk import profile_loading

    with errors_told(as_json=as_json):
        profile = profile_loading.load(name)
    told = profile.model_dump(mode="json", by_alias=True)
    if as_json:
        _print_json(f"{profile.name} is a valid profile", profile=told)
        return
    click.echo(yaml.safe_dump(told, sort_keys=False, allow_unicode=True), nl=False)


def _print_json(reason: str, **told: Any) -> None:
    print_json({"verdict": "pass", "exit_code": 0, "reasons": [reason], "artifact": None, **told})


@profiles.command()
def schema() -> None:
    """Print the JSON Schema of a profile, for editors."""
    from deploytk.profile import Profile

    told = Profile.model_json_schema()
    told["properties"]["extends"] = {"type": "string", "description": "a profile whose values are the defaults"}
    click.echo(json.dumps(told, indent=2))
