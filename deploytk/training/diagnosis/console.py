"""Curves from what a training printed: the epoch lines of Ultralytics 8 and YOLOv5, and Hugging Face's dicts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from deploytk.training.diagnosis import trainer_state
from deploytk.training.diagnosis.console_notes import note_of, settings_of
from deploytk.training.diagnosis.curves import in_order
from deploytk.training.diagnosis.text import lines_of, number, plain_line
from deploytk.training.diagnosis.values import Curves, Note, Row, Setting, Unit

_EPOCH = re.compile(r"^\s*(\d{1,7})/(\d{1,7})\s+(\S.*)$")
_ALL = re.compile(r"^\s*all\s+(\S.*)$")
#: name, images, instances, P, R, mAP50, mAP50-95
_CLASS = re.compile(r"^\s+(\S.*?)\s+\d+\s+\d+\s+[\d.e+-]+\s+[\d.e+-]+\s+(\d[\d.]*(?:e[+-]?\d+)?)\s+[\d.e+-]+$")
_MEMORY = re.compile(r"^([\d.]+)(G|GB|GiB|M|MB|MiB)$")
_PAIR = re.compile(r"'([A-Za-z_0-9.]+)':\s*'?([-+.\w]+)'?")
#: What stands in an epoch line and is no loss.
_NO_LOSS = frozenset({"epoch", "gpu_mem", "gpu_memory", "instances", "labels", "size", "img_size", "total", "targets"})
_BOXES = ("precision", "recall", "mAP50", "mAP50_95")
#: Far more epochs than anybody trains: a page number, a date.
_MOST = 100_000


@dataclass
class _Reader:
    """What was read so far; one line after the other."""

    name: str
    columns: list[str] = field(default_factory=list)
    rows: dict[tuple[int, int], Row] = field(default_factory=dict)  # by (attempt, epoch)
    notes: list[Note] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)
    entries: list[trainer_state.Entry] = field(default_factory=list)
    told: bool = False  # something that only a training prints
    classify: bool = False
    over: bool = False  # what is validated now is the best checkpoint, again
    attempt: int = 0
    last: tuple[int, int] | None = None
    total: int | None = None

    def line(self, number_of_line: int, text: str) -> None:
        """Take in one line."""
        where = f"{self.name}:{number_of_line}"
        if found := _EPOCH.match(text):
            self._epoch(int(found[1]), int(found[2]), found[3].split(), where)
        elif (found := _ALL.match(text)) and not self.over:
            self._validated(found[1].split())
        elif self.over and (found := _CLASS.match(text)):
            self._of_class(found[1], float(found[2]), text, where)
        elif text.lstrip().startswith("Epoch") and len(text.split()) > 2:
            self.columns, self.told, self.over = text.split(), True, False
        elif "top1_acc" in text:
            self.classify = True
        elif "{'" in text and "'epoch':" in text:
            self._dict(text, where)
        else:
            self._said(text, where)

    def _epoch(self, epoch: int, total: int, words: list[str], where: str) -> None:
        if not self.columns or epoch > total or total > _MOST:
            return  # 12/100 of something else
        if self.last and epoch < self.last[1]:
            self.attempt += 1
        self.last, self.total = (self.attempt, epoch), total
        kept = self.rows.get(self.last)
        values = dict(kept.values if kept else {}) | self._losses(words)
        self.rows[self.last] = Row(epoch=epoch, where=where, values=values)

    def _losses(self, words: list[str]) -> dict[str, float]:
        """The losses of an epoch line by the names above it; memory in GiB."""
        found: dict[str, float] = {}
        for name, word in zip(self.columns[1:], words, strict=False):
            if memory := _MEMORY.match(word):
                found["gpu_mem_gib"] = (number(memory[1]) or 0.0) / (1024 if memory[2].startswith("M") else 1)
            elif name.lower() not in _NO_LOSS and (value := number(word)) is not None:
                loss = name.lower().removesuffix("_loss")
                found["train/loss" if loss == "loss" else f"train/{loss}_loss"] = value
        return found

    def _validated(self, words: list[str]) -> None:
        if self.last is None or self.last not in self.rows:
            return
        numbers = [value for word in words if (value := number(word)) is not None]
        names: tuple[str, ...]
        if self.classify and len(numbers) >= 2:
            names, numbers = ("top1", "top5"), numbers[:2]
        else:
            numbers = numbers[2:]  # images and instances come first
            names = (*_BOXES, *(f"{n}(M)" for n in _BOXES))
        row = self.rows[self.last]
        metrics = {f"metric/{name}": value for name, value in zip(names, numbers, strict=False)}
        self.rows[self.last] = replace(row, values={**row.values, **metrics})

    def _of_class(self, name: str, map50: float, text: str, where: str) -> None:
        """A class in the table of the best checkpoint."""
        if name != "all":
            self.notes.append(Note(kind="class", where=where, text=" ".join(text.split()), value=map50))

    def _dict(self, text: str, where: str) -> None:
        told = {key: value for key, word in _PAIR.findall(text) if (value := number(word)) is not None}
        if "epoch" in told and len(told) > 1:
            self.told = True
            self.entries.append(trainer_state.Entry(told={**told, "step": float(len(self.entries))}, where=where))

    def _said(self, text: str, where: str) -> None:
        self.over = self.over or "epochs completed in" in text or text.startswith("Validating ")
        found = settings_of(text, where)
        self.settings |= found
        if (note := note_of(text, where)) is not None:
            self.notes.append(note)
        self.told = self.told or len(found) > 3 or "Starting training for" in text


def parse(text: str, name: str) -> Curves | None:
    """The curves in a console log called `name`; None where it is not one of a training."""
    reader = _Reader(name=name)
    for i, line in enumerate(lines_of(text), start=1):
        reader.line(i, plain_line(line))
    failures = [n for n in reader.notes if n.kind in ("oom", "traceback", "killed")]
    if not reader.told and not (reader.rows or failures):
        return None
    rows, notes, unit = _rows(reader)
    kept, again = in_order(rows)
    first = min((row.epoch for row in kept), default=1)
    return Curves(
        source=name,
        kind="console",
        rows=kept,
        notes=(*fatal(reader.notes, kept), *notes, *again),
        settings=reader.settings,
        planned=None if reader.total is None else reader.total + (first == 0),
        unit=unit,
    )


def _rows(reader: _Reader) -> tuple[list[Row], list[Note], Unit]:
    if reader.rows or not reader.entries:
        return list(reader.rows.values()), [], "epoch"
    return trainer_state.rows_of(reader.entries)


def fatal(notes: Iterable[Note], rows: tuple[Row, ...]) -> list[Note]:
    """The notes, those marked that nothing was trained after: their line is below the last epoch's."""
    end = line_of(rows[-1].where) if rows else 0
    wrong = ("oom", "error", "traceback", "killed")
    return [replace(n, fatal=n.kind in wrong and line_of(n.where) > end) for n in notes]


def line_of(where: str) -> int:
    """The line of a `file:line`, 0 where there is none."""
    told = where.rpartition(":")[2]
    return int(told) if told.isdigit() else 0
