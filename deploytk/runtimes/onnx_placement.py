"""Which provider each node of a graph really runs on, as ONNX Runtime says it (onnxruntime)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnxruntime as ort

from deploytk.errors import InputError

#: The setting under which ONNX Runtime remembers it.
RECORD = "session.record_ep_graph_assignment_info"
_CPU = "CPUExecutionProvider"
#: Operators that compute sizes: ONNX Runtime puts these on the CPU on purpose, as their values are needed there.
_SIZES = frozenset(
    {
        "Shape", "Size", "Gather", "Concat", "Unsqueeze", "Squeeze", "Cast", "Slice", "Constant", "ConstantOfShape",
        "Range", "Add", "Sub", "Mul", "Div", "Mod", "Equal", "Where", "Expand", "Identity", "Reshape", "ReduceProd",
        "Floor", "Ceil", "Min", "Max", "Neg", "Not", "And", "Or", "Less", "Greater",
    }
)  # fmt: skip


def placed(session: ort.InferenceSession, path: Path) -> dict[str, Any]:
    """`{"nodes": {provider: how many}}`; "unknown" where this ONNX Runtime does not tell.

    Raises:
        InputError: a node that computes more than sizes runs on the CPU: it is no measurement of the GPU.
    """
    try:
        groups = session.get_provider_graph_assignment_info()
    except AttributeError:  # before ONNX Runtime 1.24
        return {"nodes": f"unknown (ONNX Runtime {ort.__version__} does not tell)"}
    nodes = [(group.ep_name, node.op_type) for group in groups for node in group.get_nodes()]
    require_none_fell_back(path, nodes)
    return {"nodes": dict(Counter(provider for provider, _ in nodes))}


def require_none_fell_back(path: Path, nodes: Iterable[tuple[str, str]]) -> None:
    """Nothing, where the CPU has none of the (provider, operator) but those that compute sizes.

    Raises:
        InputError: it has others; which, and how many.
    """
    fell = Counter(op for provider, op in nodes if provider == _CPU and op not in _SIZES)
    if fell:
        told = ", ".join(f"{op} ({count})" for op, count in fell.most_common())
        raise InputError(
            f"{path}: parts of it run on the CPU, as ONNX Runtime has no kernel for them on the GPU: {told}; "
            "bench it with --runtime onnx, or export it without them"
        )
