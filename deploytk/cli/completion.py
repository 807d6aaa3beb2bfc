"""`deploytk completion`: the script a shell sources to complete deploytk's commands and options."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script for SHELL.

    \b
    deploytk completion bash >> ~/.bashrc
    """
    from click.shell_completion import get_completion_class

    from deploytk.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(cli, {}, "deploytk", "_DEPLOYTK_COMPLETE").source())
