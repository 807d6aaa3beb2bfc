"""The words for the precision that a runtime really computes in."""

from __future__ import annotations

from collections.abc import Mapping

#: The most reduced first: what a reader looks for.
_ORDER = ("int4", "dynamic int8", "int8", "float8", "float16", "bfloat16", "float32", "float64")


def told(operators: Mapping[str, int], otherwise: str = "unknown") -> str:
    """`float32`, or `int8 (62 of 65 weighted operators), float32 (3)` where operators differ.

    Args:
        operators: precision -> how many operators with weights compute in it.
        otherwise: the words for a graph without such an operator.
    """
    kinds = sorted((k for k, count in operators.items() if count), key=_rank)
    if len(kinds) < 2:
        return kinds[0] if kinds else otherwise
    first, *rest = kinds
    others = ", ".join(f"{kind} ({operators[kind]})" for kind in rest)
    return f"{first} ({operators[first]} of {sum(operators.values())} weighted operators), {others}"


def _rank(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)
