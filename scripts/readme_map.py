"""Writes the map of the README: each module with the first line of its docstring (`python scripts/readme_map.py`)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- map -->\n", "<!-- /map -->"


def first_sentence(path: Path) -> str:
    """The first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else None
    return text.splitlines()[0] if text else ""


def lines(folder: Path, depth: int = 2) -> Iterator[str]:
    """One line for each module and package below `folder`, files first."""
    pad = "    " * depth
    for path in sorted(folder.iterdir(), key=lambda p: (p.is_dir(), p.name)):
        if path.is_dir() and (path / "__init__.py").is_file():
            yield f"{pad + path.name + '/':<34}{first_sentence(path / '__init__.py')}"
            yield from lines(path, depth + 1)
        elif path.suffix == ".py" and not path.name.startswith("__"):
            yield f"{pad + path.name:<34}{first_sentence(path)}"


def with_map(readme: str) -> str:
    """`readme` with its map made anew."""
    before, _, rest = readme.partition(START)
    _, _, after = rest.partition(END)
    told = "\n".join(line.rstrip() for line in lines(ROOT / "deploytk"))
    return f"{before}{START}\n    deploytk/\n{told}\n\n{END}{after}"


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_map(path.read_text(encoding="utf-8")), encoding="utf-8")
