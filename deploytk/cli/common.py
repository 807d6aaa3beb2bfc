"""What the commands share: `--json` and `-v`, progress on stderr, errors as one sentence, a Report as the end."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from deploytk.errors import EXIT_FAULT, EXIT_INPUT, DeploytkError, InputError

if TYPE_CHECKING:
    from deploytk.report import Report
    from deploytk.worker import Listener


def reporting(command: Callable[..., Report]) -> Callable[..., None]:
    """Make a function that returns a Report into a command body with `--json` and `-v`.

    The Report is shown, its exit code becomes the process's. An error becomes one message and its exit code; with
    `--json` always one JSON document on the last line of stdout.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on the last line of stdout.")
    @click.option("-v", "--verbose", is_flag=True, help="Show the library's own log.")
    @functools.wraps(command)
    def body(*args: Any, as_json: bool, verbose: bool, **kwargs: Any) -> None:
        _set_up_logging(verbose)
        click.get_current_context().obj = {"json": as_json}
        with errors_told(as_json=as_json):
            report = command(*args, **kwargs)
            _show(report, as_json=as_json)
        sys.exit(report.exit_code)

    return body


@contextmanager
def errors_told(*, as_json: bool) -> Iterator[None]:
    """End the process with one message and its exit code where the block ends with an error."""
    try:
        yield
    except DeploytkError as error:
        sys.exit(_failed(error, as_json=as_json))
    except (NotADirectoryError, IsADirectoryError, FileExistsError, PermissionError) as error:
        # The user points at a place that cannot be written to (or read from).
        sys.exit(_failed(InputError(f"{error.filename}: {error.strerror}"), as_json=as_json))
    except Exception as error:  # a fault of deploytk: the traceback goes to a file, never to the user
        sys.exit(_fault(error, as_json=as_json))


def usage_error(error: click.ClickException, *, as_json: bool) -> int:
    """Print a wrong command line in the form the user asked for; returns exit code 2."""
    hint = ""
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f"\nTry: {error.ctx.command_path} --help"
    click.echo(f"error: {error.format_message()}{hint}", err=True)
    if as_json:
        print_json({"verdict": "fail", "exit_code": EXIT_INPUT, "reasons": [error.format_message()], "artifact": None})
    return EXIT_INPUT


def stopped(*, as_json: bool) -> int:
    """Say that the user stopped the command (Ctrl-C); returns exit code 130, as shells have it."""
    click.echo("stopped", err=True)
    if as_json:
        print_json({"verdict": "inconclusive", "exit_code": 130, "reasons": ["stopped"], "artifact": None})
    return 130


@contextmanager
def progress(text: str) -> Iterator[Listener]:
    """A progress bar on stderr that follows the events of a child; silent with `--json` or without a terminal."""
    context = click.get_current_context(silent=True)
    quiet = bool(context and context.obj and context.obj["json"]) or not sys.stderr.isatty()
    if quiet:
        yield _ignore
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(text, total=None)

        def follow(event: dict[str, Any]) -> None:
            said = event.get("text")
            bar.update(
                task,
                total=event.get("total"),
                completed=event.get("done"),
                description=f"{text}: {said}" if said else text,
            )

        yield follow


def _ignore(_event: dict[str, Any]) -> None:
    """Drop the event."""


def say(text: str) -> None:
    """One line for people on stderr; nothing with `--json`."""
    context = click.get_current_context(silent=True)
    if not (context and context.obj and context.obj["json"]):
        click.echo(text, err=True)


def say_last(text: str) -> None:
    """One line for people on stderr, after everything else that the command shows."""
    click.get_current_context().call_on_close(functools.partial(say, text))


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        print_json(report.as_dict())
        return
    from rich.console import Console

    from deploytk.report import terminal

    terminal.show(report, Console())


def _failed(error: DeploytkError, *, as_json: bool) -> int:
    for reason in error.reasons:
        click.echo(f"error: {reason}", err=True)
    if as_json:
        print_json({"verdict": "fail", "exit_code": error.exit_code, "reasons": list(error.reasons), "artifact": None})
    return error.exit_code


def _fault(error: Exception, *, as_json: bool) -> int:
    import tempfile

    with tempfile.NamedTemporaryFile(
        "w", prefix="deploytk-fault-", suffix=".log", delete=False, encoding="utf-8"
    ) as log:
        log.write("".join(traceback.format_exception(error)))
    text = f"a fault of deploytk: {type(error).__name__}: {error}; please report it with {log.name}"
    click.echo(f"error: {text}", err=True)
    if as_json:
        print_json({"verdict": "fail", "exit_code": EXIT_FAULT, "reasons": [text], "artifact": None})
    return EXIT_FAULT


def print_json(value: dict[str, Any]) -> None:
    """`value` as one line of JSON on stdout."""
    from deploytk.files import plain

    click.echo(json.dumps(plain(value), ensure_ascii=False, allow_nan=False, default=str))


def _set_up_logging(verbose: bool) -> None:
    if verbose:
        os.environ["DEPLOYTK_VERBOSE"] = "1"  # read by deploytk.worker, which this file need not import
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, stream=sys.stderr, format="%(message)s")
