"""The README is true: its map is the tree as it is."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_the_map_is_the_tree_as_it_is() -> None:
    module = runpy.run_path(str(ROOT / "scripts" / "readme_map.py"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert module["with_map"](readme) == readme, "run: python scripts/readme_map.py"
