"""`deploytk profiles list | show | schema`."""

from __future__ import annotations

import json
import sys

import click

from deploytk.errors import DeploytkError


@click.group()
def profiles() -> None:
    """List and show profiles, or print their JSON Schema."""


@profiles.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def list_profiles(as_json: bool) -> None:
    """List the shipped profiles and NPU presets."""
    from deploytk import profile_loading

    loaded = [profile_loading.load(name) for name in profile_loading.shipped()]
    presets = profile_loading.npu_presets()
    if as_json:
        rows = [{"name": p.name, "aliases": list(p.aliases), "description": p.description} for p in loaded]
        click.echo(json.dumps({"profiles": rows, "npu": presets}, ensure_ascii=False))
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

    try:
        profile = profile_loading.load(name)
    except DeploytkError as error:
        click.echo(f"error: {error.message}", err=True)
        sys.exit(error.exit_code)
    told = profile.model_dump(mode="json", by_alias=True)
    click.echo(json.dumps(told) if as_json else yaml.safe_dump(told, sort_keys=False, allow_unicode=True), nl=as_json)


@profiles.command()
def schema() -> None:
    """Print the JSON Schema of a profile, for editors."""
    from deploytk.profile import Profile

    told = Profile.model_json_schema()
    told["properties"]["extends"] = {"type": "string", "description": "a profile whose values are the defaults"}
    click.echo(json.dumps(told, indent=2))
