"""Results of `deploytk optimize` on disk, each under a key: a second call finds them and says so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deploytk.artifact import stage_key
from deploytk.files import plain, write_json


class Kept:
    """The results in `folder`, one file for each name. `skipped` says which of those asked for were there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.skipped: dict[str, bool] = {}

    def get(
        self, name: str, settings: Any, build: Callable[[], Any], is_valid: Callable[[Any], bool] = lambda _: True
    ) -> Any:
        """The JSON-like result called `name`: the one kept under these settings if it is still valid, or built now."""
        path = self.folder / f"{as_file(name)}.json"
        key, found = stage_key("optimize", [], settings, {}), _read(path)
        self.skipped[name] = found.get("key") == key and is_valid(found["value"])
        if self.skipped[name]:
            return found["value"]
        value = plain(build())
        write_json(path, {"key": key, "settings": plain(settings), "value": value})
        return value


def as_file(name: str) -> str:
    """`time-openvino-int8-320-px-2-threads`: a candidate's name as that of a file."""
    return re.sub(r"[^\w=]+", "-", name)


def _read(path: Path) -> dict[str, Any]:
    """What is kept in the file; nothing where it does not exist or is damaged: then it is built again."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) and "value" in told else {}
