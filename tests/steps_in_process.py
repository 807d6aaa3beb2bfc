"""Child steps run in this process, so that a test of many steps takes no second for each."""

from __future__ import annotations

import importlib
import json
from typing import Any

import pytest

from deploytk import worker


def patched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the steps that are called from now on, each run here, its values as JSON on the way in and out."""
    called: list[str] = []

    def call(function: str, kwargs: Any, *, name: str, **_limits: Any) -> Any:
        called.append(name)
        module, _, attribute = function.partition(":")
        told = json.loads(json.dumps(dict(kwargs)))
        return json.loads(json.dumps(getattr(importlib.import_module(module), attribute)(**told), allow_nan=False))

    monkeypatch.setattr(worker, "call", call)
    return called
