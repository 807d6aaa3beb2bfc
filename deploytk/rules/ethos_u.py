"""Which nodes of an ONNX graph an Ethos-U will not take after INT8 conversion, predicted by rules.

A converter may write something else than expected, so only a compile (`check` of the INT8 .tflite, or
`export --target npu`) proves the placement.
"""

from __future__ import annotations

from collections.abc import Iterator

from deploytk.graphs.onnx import Graph, Node
from deploytk.report import Finding
from deploytk.rules.ethos_u_ops import FREE, Family
from deploytk.rules.ethos_u_rules import RULES, Rule

_NAMED = 3


def predict(graph: Graph, family: Family) -> list[tuple[Finding, tuple[str, ...]]]:
    """Each finding with the names of the nodes it is about: what is predicted to stay on the CPU of this family."""
    groups: dict[tuple[type[Rule], str], list[Node]] = {}
    for node in computing(graph):
        for rule in RULES:
            if family in rule.families and (not rule.ops or node.op in rule.ops):
                said = rule.check(node, graph, family)
                if said:
                    groups.setdefault((rule, said), []).append(node)
    return [(_finding(rule, said, nodes), tuple(n.name for n in nodes)) for (rule, said), nodes in groups.items()]


def computing(graph: Graph) -> Iterator[Node]:
    """The nodes that compute on data: not on constants, and not on shapes."""
    data = {t.name for t in graph.inputs}
    for node in graph.nodes:
        if node.op in {"Shape", "Size"} or not data & set(node.inputs):
            continue
        data.update(o for o in node.outputs if o)
        if node.op not in FREE:
            yield node


def _finding(rule: type[Rule], said: str, nodes: list[Node]) -> Finding:
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    where = ", ".join(n.title for n in nodes[:_NAMED]) + more
    sentence = (rule.__doc__ or "").strip().rstrip(".")
    return Finding(rule=rule.code, severity="error", where=where, message=f"{said} (rule: {sentence})", fix=rule.fix)
