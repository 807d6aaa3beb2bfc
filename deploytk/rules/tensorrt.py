"""Which nodes of an ONNX graph TensorRT would not take, and why: its parser's complaints, explained by rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploytk.graphs.onnx import STANDARD, Graph, Node
from deploytk.report import Finding
from deploytk.rules.tensorrt_rules import RULES, TRT005, TRT010, TRT020, TRT022, Rule

_NAMED = 3
#: What the parser says of an input or a weight of such a type names no node.
_OF_TYPES = (TRT005, TRT010)


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One node that a rule has something to say of."""

    rule: type[Rule]
    said: str
    node: Node


def predict(graph: Graph) -> list[Hit]:
    """What the rules say of each node; TensorRT is not asked."""
    return [
        Hit(rule=rule, said=said, node=node)
        for node in graph.nodes
        for rule in RULES
        if (not rule.ops or node.op in rule.ops) and (said := rule.check(node, graph))
    ]


def explained(graph: Graph, told: Mapping[str, Any]) -> list[tuple[Finding, tuple[int, ...]]]:
    """Each finding with the places of the nodes it is about: what the rules say, corrected by what the parser said.

    Args:
        told: what `targets.tensorrt.support.parsed` gives.
    """
    complaints = [(node, c) for c in told["complaints"] if (node := _node(graph, c)) is not None]
    whole = [c for c in told["complaints"] if _node(graph, c) is None]
    named = {node.index: c["code"] for node, c in complaints}
    hits = [h for h in predict(graph) if _stands(h, told, named, whole)]
    known = {h.node.index for h in hits if h.rule.severity == "error"}
    found = _grouped(hits, named)
    for node, complaint in complaints:
        if node.index not in known:
            known.add(node.index)  # the parser repeats itself
            found.append((_refused(node.title, complaint, node, told), (node.index,)))
    of_types = any(h.rule in _OF_TYPES for h in hits)
    found += [(_refused(_inside(graph, c), c, None, told), ()) for c in whole if c["op"] or not of_types]
    if not told["accepted"] and not any(f.severity == "error" for f, _ in found):
        said = next(iter(told["log"][-1:]), "it does not say why")
        found.append((_finding(TRT020, graph.path.name, f"the parser refuses the file: {said}"), ()))
    return found + _float_rest(graph, told)


def _node(graph: Graph, complaint: Mapping[str, Any]) -> Node | None:
    """The node that a complaint is about; None for the file, an input, a weight or a node inside another."""
    place: int = complaint["index"]
    if complaint["inside"] or place < 0:
        return None
    if graph.inlined:  # its nodes have other places in the file
        return next((n for n in graph.nodes if n.name == complaint["name"] and n.op == complaint["op"]), None)
    known = place < len(graph.nodes) and graph.nodes[place].op == complaint["op"]
    return graph.nodes[place] if known else None


def _inside(graph: Graph, complaint: Mapping[str, Any]) -> str:
    """Where a complaint is about no node of the main graph: a node in the body of an If or a Loop, or the file."""
    if not complaint["op"]:
        return graph.path.name
    return " in ".join([f"{complaint['name']} ({complaint['op']})", *complaint["inside"][:1]])


def _stands(hit: Hit, told: Mapping[str, Any], named: Mapping[int, str], whole: Sequence[Any]) -> bool:
    """Whether the parser leaves the rule's word standing: it is right about what it takes, and what it lists."""
    if hit.rule.silent:
        return True
    if told["accepted"]:
        return False
    if not hit.rule.listed or hit.node.index in named:
        return True
    return bool(whole) and hit.node.op in told["lacking"]


def _grouped(hits: Sequence[Hit], named: Mapping[int, str]) -> list[tuple[Finding, tuple[int, ...]]]:
    """One finding for each rule that has something to say, in the order of the graph."""
    groups: dict[type[Rule], list[Hit]] = {}
    for hit in hits:
        groups.setdefault(hit.rule, []).append(hit)
    found = []
    for rule, these in groups.items():
        codes = sorted({named[h.node.index] for h in these if h.node.index in named})
        parser = f" [{', '.join(codes)}]" if codes and rule.severity == "error" else ""
        said = _listed(list(dict.fromkeys(h.said for h in these)))
        finding = _finding(rule, _listed([h.node.title for h in these]), said + parser)
        found.append((finding, tuple(h.node.index for h in these)))
    return found


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more


def _refused(where: str, complaint: Mapping[str, Any], node: Node | None, told: Mapping[str, Any]) -> Finding:
    """A complaint that no rule explains, in the parser's own words."""
    said = complaint["said"]
    if said == "false":
        said = f"{complaint['op']} is not in the parser"
    elif "lugin" in said and node is not None and node.domain in STANDARD and told["rtx"]:
        said = f"it takes {node.op} by a plugin, and TensorRT-RTX comes without (TensorRT may have it)"
    return _finding(TRT020, where, f"{complaint['code']}: {said}")


def _float_rest(graph: Graph, told: Mapping[str, Any]) -> list[tuple[Finding, tuple[int, ...]]]:
    """The warning that a quantized network computes in float32 beside what is in INT8."""
    computes = told.get("computes") or {}
    rest = computes.get("float32", 0)
    if not computes.get("int8") or not rest:
        return []
    said = f"{rest} of {sum(computes.values())} layers with weights compute in float32"
    return [(_finding(TRT022, graph.path.name, said), ())]


def _finding(rule: type[Rule], where: str, said: str) -> Finding:
    sentence = (rule.__doc__ or "").strip().rstrip(".")
    message = f"{said} (rule: {sentence})" if rule is not TRT020 else said
    return Finding(rule=rule.code, severity=rule.severity, where=where, message=message, fix=rule.fix)
