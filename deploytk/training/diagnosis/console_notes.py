"""Lines of a console log that say something beside the epochs: errors, devices, duplicate labels, settings."""

from __future__ import annotations

import re

from deploytk.training.diagnosis import settings
from deploytk.training.diagnosis.text import number
from deploytk.training.diagnosis.values import Note, NoteKind, Setting

_LONGEST, _LONGEST_READ = 300, 2000
#: The first that matches counts. A group that is a number becomes the note's value.
_LINES: tuple[tuple[NoteKind, re.Pattern[str]], ...] = (
    ("oom", re.compile(r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|MPS backend out of memory")),
    ("oom", re.compile(r"DefaultCPUAllocator: (?:can't allocate|not enough) memory|^MemoryError\b")),
    ("traceback", re.compile(r"Traceback \(most recent call last\)")),
    ("killed", re.compile(r"^(?:Killed|Terminated|Segmentation fault.*|Bus error.*|Aborted.*)\s*$")),
    ("error", re.compile(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit)\b(?:: .*)?$")),
    ("auto_lr", re.compile(r"optimizer[:=].*auto.*ignoring", re.IGNORECASE)),
    ("chosen_lr", re.compile(r"optimizer: ?\w+\(lr=([\d.eE+-]+)")),
    ("early_stop", re.compile(r"EarlyStopping: |Stopping training early|no improvement observed in last (\d+) epochs")),
    ("device", re.compile(r"(?:CUDA:\d+|cuda:\d+) \(.*?(\d+(?:\.\d+)?)Mi?B\)")),
    ("duplicates", re.compile(r"(\d+) duplicate labels? removed")),
    ("completed", re.compile(r"epochs completed in ([\d.]+) hours")),
)
_SETTINGS = re.compile(r"^(?:train: |hyperparameters: |.*engine[/\\]trainer: )")
_PAIR = re.compile(r"\b([a-z_0-9]+)=([^,\s]+)")


def note_of(text: str, where: str) -> Note | None:
    """What a line says, None where it says nothing that a diagnosis asks for."""
    shown = text.strip()[:_LONGEST_READ]
    for kind, pattern in _LINES:
        if found := pattern.search(shown):
            value = number(found[1]) if pattern.groups and found[1] else None
            return Note(kind=kind, where=where, text=shown[:_LONGEST], value=value)
    return None


def settings_of(text: str, where: str) -> dict[str, Setting]:
    """The settings in a line that lists them (`engine/trainer: task=detect, mode=train, ...`)."""
    if not _SETTINGS.match(text):
        return {}
    told = {key: _worth(value) for key, value in _PAIR.findall(text)}
    return settings.named({k: v for k, v in told.items() if v is not None}, where)


def _worth(word: str) -> str | bool | None:
    return {"None": None, "null": None, "True": True, "true": True, "False": False, "false": False}.get(word, word)
