"""Trainings as they go: a live table on a terminal, plain lines elsewhere, nothing with `--json` (rich)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from deploytk.training.story import Story, sentence

if TYPE_CHECKING:
    from rich.table import Table

    from deploytk.worker import Listener

#: Gives the listener of the job with a name.
Listeners = Callable[[str], "Listener"]


@contextmanager
def live(epochs: Mapping[str, int]) -> Iterator[Listeners]:
    """The listeners of some trainings, whose events are shown on stderr while the block runs.

    Args:
        epochs: name of each training -> how many epochs it is to have.
    """
    context, board = click.get_current_context(silent=True), Board(epochs)
    try:
        if context and context.obj and context.obj["json"]:
            yield lambda _: _ignore
        elif sys.stderr.isatty():
            with _table(board) as listeners:
                yield listeners
        else:
            yield lambda name: _plain(board, name)
    finally:
        board.closed = True


class Board:
    """The stories of some trainings side by side; events may come from several threads."""

    def __init__(self, epochs: Mapping[str, int]) -> None:
        self.stories = {name: Story(epochs=count) for name, count in epochs.items()}
        #: Set at the end: a thread that is still at work when the user stops all must not write any more.
        self.closed = False
        self._lock = threading.Lock()

    def heard(self, name: str, event: Mapping[str, Any]) -> None:
        """Take in an event of the training called `name`."""
        with self._lock:
            self.stories[name].heard(event)

    def line(self, name: str, event: Mapping[str, Any]) -> str:
        """What is to be printed of an event where there is no table, the empty string for most."""
        if self.closed:
            return ""
        alone = len(self.stories) == 1
        told = sentence(event) or (epoch_line(self.stories[name]) if event.get("event") == "epoch" else "")
        return told if alone or not told else f"{name}: {told}"

    def table(self, width: int) -> Table:
        """The table as it is now; a narrow terminal has fewer columns."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        columns = [column for column, least in _COLUMNS.items() if width >= least]
        shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in columns:
            shown.add_column(Text(column), overflow="ellipsis", no_wrap=True)
        with self._lock:
            rows = [_cells(name, story) for name, story in self.stories.items()]
        for row in rows:
            shown.add_row(*(Text(row[column]) for column in columns))
        return shown


#: Column -> how wide a terminal must be for it.
_COLUMNS = {
    "training": 0,
    "phase": 60,
    "epoch": 0,
    "step": 90,
    "loss": 0,
    "metric": 50,
    "best": 0,
    "lr": 100,
    "batch": 110,
    "memory": 120,
    "left": 70,
    "trouble": 80,
}


def _cells(name: str, story: Story) -> dict[str, str]:
    best = "" if story.best is None else f"{story.best:.4g} at {story.best_epoch}"
    batch = f"{story.batch} x {story.accumulate or 1}" if story.batch else ""
    return {
        "training": name,
        "phase": story.phase,
        "epoch": f"{story.epoch or 0}/{story.epochs or '?'}",
        "step": f"{story.step}/{story.steps or '?'}" if story.step is not None else "",
        "loss": _short(story.loss),
        "metric": _short(story.fitness),
        "best": best,
        "lr": _short(story.lr),
        "batch": batch,
        "memory": f"{story.memory_mb:,.0f} MB" if story.memory_mb is not None else "",
        "left": duration(story.eta_s),
        "trouble": troubles(story),
    }


def troubles(story: Story) -> str:
    """`2 rollbacks, 1 OOM`, or the empty string."""
    counted = [(story.rollbacks, "rollback"), (story.ooms, "OOM")]
    return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counted if count)


def epoch_line(story: Story) -> str:
    """The last epoch in one line."""
    told = [
        ("loss", _short(story.loss)),
        ("metric", _short(story.fitness)),
        ("best", f"{story.best:.4g} (epoch {story.best_epoch})" if story.best is not None else ""),
        ("lr", _short(story.lr)),
        ("left", duration(story.eta_s)),
    ]
    return f"epoch {story.epoch} of {story.epochs or '?'}: " + ", ".join(f"{name} {v}" for name, v in told if v)


def duration(seconds: float | None) -> str:
    """`12 s`, `3:20 min` or `2:05 h`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return f"{whole // 60}:{whole % 60:02d} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


@contextmanager
def _table(board: Board) -> Iterator[Listeners]:
    """Listeners that keep a live table; what a person is to know at once is printed above it and stays."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    with Live(
        console=console, get_renderable=lambda: board.table(console.width), refresh_per_second=4, transient=True
    ) as shown:

        def listener(name: str) -> Listener:
            def heard(event: dict[str, Any]) -> None:
                board.heard(name, event)
                if event.get("event") != "epoch" and (line := board.line(name, event)):
                    shown.console.print(Text(line))

            return heard

        yield listener


def _plain(board: Board, name: str) -> Listener:
    def heard(event: dict[str, Any]) -> None:
        board.heard(name, event)
        if line := board.line(name, event):
            click.echo(line, err=True)

    return heard


def _ignore(_event: dict[str, Any]) -> None:
    """Drop the event."""
