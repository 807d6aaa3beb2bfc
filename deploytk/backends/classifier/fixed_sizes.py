"""Which of timm's networks hold one image size, as most transformers do: told by its source, which is not imported."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

_SAYS = "fixed_input_size"
#: What a network is built with that bends its position embedding to the size of each image.
_BENDS = "dynamic_img_size"


@lru_cache(maxsize=8)
def holds_its_size(arch: str) -> bool:
    """Whether a network runs at the image size alone that it was built for; False where timm does not say."""
    found = importlib.util.find_spec("timm")
    places = found.submodule_search_locations if found else None
    files = [file for place in places or () for file in (Path(place) / "models").glob("*.py")]
    texts = (file.read_text(encoding="utf-8") for file in files)
    trees = (ast.parse(text) for text in texts if f"\ndef {arch}(" in text and _SAYS in text)
    return any(arch in _of_file(tree) and not _bends(tree, arch) for tree in trees)


def _bends(tree: ast.Module, arch: str) -> bool:
    """Whether the function that builds a network has it take images of any size."""
    builders = (f for f in tree.body if isinstance(f, ast.FunctionDef) and f.name == arch)
    arguments = (node for f in builders for node in ast.walk(f) if isinstance(node, ast.keyword))
    return any(a.arg == _BENDS and isinstance(a.value, ast.Constant) and a.value.value is True for a in arguments)


def _of_file(tree: ast.Module) -> Iterator[str]:
    """The networks of which their settings, or those that all of their file share, say so."""
    usual = any(isinstance(f, ast.FunctionDef) and "_cfg" in f.name and _said(f) for f in tree.body)
    for table in ast.walk(tree):
        if isinstance(table, ast.Dict):
            for key, value in zip(table.keys, table.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and isinstance(value, ast.Call):
                    own = _said(value)
                    if usual if own is None else own:
                        yield key.value.split(".")[0]


def _said(part: ast.AST) -> bool | None:
    """What a call or a function says of it, as an argument or as an entry of its dictionary; None for nothing."""
    for node in ast.walk(part):
        if isinstance(node, ast.keyword) and node.arg == _SAYS and isinstance(node.value, ast.Constant):
            return bool(node.value.value)
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == _SAYS and isinstance(value, ast.Constant):
                    return bool(value.value)
    return None
