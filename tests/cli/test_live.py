"""What is seen of trainings as they go: a table on a terminal, plain lines elsewhere, nothing with `--json`."""

from __future__ import annotations

import io
import sys
from typing import Any

import click
import pytest
from click.testing import CliRunner
from happenings import anything, epoch, outcome, segment
from hypothesis import given, settings
from rich.console import Console

from deploytk.cli.live import Board, duration, live


def drawn(board: Board, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(board.table(width))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_each_training_is_a_row_with_where_it_is_and_what_went_wrong() -> None:
    board = Board({"relu": 9, "leaky": 5})
    for event in (
        segment(),
        epoch(1, 0.25, memory_mb=1234.0),
        outcome("oom"),
        segment(2, batch=8, accumulate=2, reason="out of memory"),
        {"event": "step", "epoch": 2, "step": 3, "steps": 7, "loss": 0.75, "lr": 0.02},
    ):
        board.heard("relu", event)
    rows = [line.split() for line in drawn(board).splitlines() if line.strip()]
    assert rows[2][:4] == ["relu", "step", "2/9", "3/7"]
    assert " ".join(rows[2][4:]).startswith("0.75 0.25 0.25 at 1 0.02 8 x 2 1,234 MB")
    assert rows[2][-2:] == ["1", "OOM"]
    assert rows[3] == ["leaky", "waiting", "0/5"]


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 100, 200])
def test_no_terminal_is_too_narrow(width: int) -> None:
    board = Board({"npu-level2-leaky": 100})
    board.heard("npu-level2-leaky", segment())
    assert all(len(line) <= width for line in drawn(board, width).splitlines())


@settings(deadline=None)
@given(happened=anything)
def test_any_events_can_be_drawn_and_told(happened: list[dict[str, Any]]) -> None:
    board = Board({"[red]": 3})
    lines = []
    for event in happened:
        board.heard("[red]", event)
        lines.append(board.line("[red]", event))
    assert all("\n" not in line for line in lines)
    assert "[red]" in drawn(board)


@pytest.mark.parametrize(
    ("seconds", "told"), [(None, ""), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (3599.6, "1:00 h")]
)
def test_durations_as_people_read_them(seconds: float | None, told: str) -> None:
    assert duration(seconds) == told


@click.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def two(context: click.Context, *, as_json: bool) -> None:
    """Have two trainings shown."""
    context.obj = {"json": as_json}
    with live({"a": 9, "b": 9}) as listen:
        for event in (segment(), {"event": "phase", "phase": "step"}, epoch(1, 0.2), segment(2, reason="rollback 1")):
            listen("a")(event)
        listen("b")({"event": "warning", "reason": "careful"})


def test_without_a_terminal_there_is_a_line_for_each_epoch_and_each_trouble() -> None:
    assert CliRunner().invoke(two).stderr.splitlines() == [
        "a: epoch 1 of 9: loss 1.5, metric 0.2, best 0.2 (epoch 1), lr 0.01",
        "a: from epoch 2: rollback 1",
        "b: warning: careful",
    ]


def test_with_json_it_is_silent() -> None:
    assert CliRunner().invoke(two, ["--json"]).output == ""


def test_on_a_terminal_troubles_stay_above_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with live({"alone": 9}) as listen:
        for event in (segment(), epoch(1, 0.2), segment(2, reason="rollback 1")):
            listen("alone")(event)
    assert "from epoch 2: rollback 1\n" in screen.getvalue()
    assert "epoch 1 of 9" not in screen.getvalue()
    assert "2/9" in screen.getvalue()
