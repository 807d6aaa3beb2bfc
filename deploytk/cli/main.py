"""`deploytk`: the commands by name, each imported only when it is called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import click

from deploytk import __version__

#: name -> (module:command, the line that `deploytk --help` shows): help needs no command's module.
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("deploytk.cli.train:train", "Train the model of a profile."),
    "diagnose": ("deploytk.cli.diagnose:diagnose", "Say what went wrong in a training, and what to try next."),
    "data": ("deploytk.cli.data:data", "Find what is wrong with a dataset before anything is trained on it."),
    "calibrate": ("deploytk.cli.calibrate:calibrate", "Make, list and check the image sets that set INT8 ranges."),
    "export": ("deploytk.cli.export:export", "Make the model of a run ready for a target."),
    "check": ("deploytk.cli.check:check", "Check activations and NPU placement of any model file."),
    "parity": ("deploytk.cli.parity:parity", "Compare a converted model with its source, layer by layer."),
    "bench": ("deploytk.cli.bench:bench", "Measure latency by batch size and judge it against a budget."),
    "predict": ("deploytk.cli.predict:predict", "Say what is in images, by a two-stage pipeline."),
    "evaluate": (
        "deploytk.cli.evaluate:evaluate",
        "Measure how right a pipeline or text model is, and what it lost.",
    ),
    "ensemble": ("deploytk.cli.ensemble:ensemble", "Answer by several models as one, and say what that is worth."),
    "optimize": ("deploytk.cli.optimize:optimize", "Find the fastest model that meets a budget, ready to deploy."),
    "run": ("deploytk.cli.run:run", "Run the whole pipeline of a profile, resumable, with one report."),
    "compare": ("deploytk.cli.compare:compare", "Put the reports of several runs into one table."),
    "report": ("deploytk.cli.report:report", "Work with earlier reports: say what got slower (diff)."),
    "profiles": ("deploytk.cli.profiles:profiles", "List and show profiles, or print their JSON Schema."),
    "doctor": (
        "deploytk.cli.doctor:doctor",
        "Say what is installed, what each target needs, what this machine is.",
    ),
    "demo-data": ("deploytk.cli.demo_data:demo_data", "Draw a small labelled detection set."),
    "completion": ("deploytk.cli.completion:completion", "Print the shell completion script."),
}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from deploytk.plugins import suggestion

            raise click.UsageError(f"there is no command {args[0]!r}{suggestion(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="deploytk")
def cli() -> None:
    """From a trained model to a proven verdict on its target.

    \b
    deploytk train npu-level4-relu --data DATA.yaml --out RUN
    deploytk export RUN --target npu
    deploytk bench RUN/export/model.onnx --batches 1..64 --budget 50ms

    Exit codes: 0 pass, 1 fault of deploytk, 2 wrong input, 3 over budget, 4 inconclusive, 5 a rule failed,
    6 something is not installed, 7 training failed, 8 the converted model differs from its source.
    """


def main() -> Any:
    """Run the command line; a usage error in `--json` mode is a JSON document too."""
    # Set before any child: a C library's own thread pools must not outlive a fork unnoticed.
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    try:
        code = cli.main(standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.Abort:
        from deploytk.cli.common import stopped

        sys.exit(stopped(as_json="--json" in sys.argv))
    except click.ClickException as error:
        from deploytk.cli.common import usage_error

        sys.exit(usage_error(error, as_json="--json" in sys.argv))


if __name__ == "__main__":
    main()
