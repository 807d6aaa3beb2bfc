"""What is wrong with a .tflite for an Ethos-U, in sentences: the rules NPU001 to NPU010."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from deploytk.graphs.litert import Graph, Node
from deploytk.report import Finding
from deploytk.targets.npu.score import plain_reason
from deploytk.targets.npu.vela import Placed

_EXPORT = "deploytk export RUN --target npu makes a full-integer INT8 model from real calibration images"
_WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "BATCH_MATMUL"})
_ENDS = frozenset({"QUANTIZE", "DEQUANTIZE"})


def of_graph(graph: Graph) -> Iterator[Finding]:
    """What the file itself shows, before any compiler has seen it."""
    name = graph.path.name
    if graph.compiled:
        yield Finding(
            rule="NPU003",
            severity="error",
            where=name,
            message="already compiled by Vela: it holds a command stream, nothing is left to place",
            fix="give the INT8 model from before Vela",
        )
    elif is_float(graph):
        yield _float(graph)
    else:
        yield from _islands(graph)
    if graph.subgraphs > 1:
        message = f"only the first of {graph.subgraphs} subgraphs was assessed"
        yield Finding(rule="NPU009", severity="warning", where=name, message=message)


def is_float(graph: Graph) -> bool:
    """Whether nothing in it is computed in quantized integers."""
    return all(t.is_float for node in graph.nodes for t in node.outputs)


def of_placement(graph: Graph, ops: Sequence[Placed], segments: int) -> Iterator[Finding]:
    """What Vela's placement shows."""
    cpu = [op for op in ops if op.target == "cpu"]
    told = {n.index for n in graph.float_nodes}  # by NPU001, NPU002 or NPU004 already
    groups: dict[tuple[str, str], list[Placed]] = defaultdict(list)
    for op in (op for op in cpu if op.index not in told):
        groups[op.op, plain_reason(op.reason)].append(op)
    for (kind, reason), group in groups.items():
        yield Finding(
            rule="NPU005",
            severity="warning",
            where=_few(op.name for op in group),
            message=f"{len(group)} {kind} on the CPU: {reason}",
            fix="see SUPPORTED_OPS of Vela (vela --supported-ops-report) for what the NPU takes",
        )
    if len(cpu) == len(ops) and not is_float(graph):
        message = "no operator reaches the NPU; Vela still ends with exit code 0 and an estimate of 0.0 ms"
        yield Finding(rule="NPU006", severity="error", where=graph.path.name, message=message, fix=_EXPORT)
    if segments > 1:
        message = f"the model is cut into {segments} NPU segments with the CPU between them"
        yield Finding(rule="NPU008", severity="warning", where=graph.path.name, message=message)


def of_memory(graph: Graph, sram_kib: float, budget_kib: int) -> Iterator[Finding]:
    """Whether the model fits the SRAM: Vela itself never fails on that."""
    if sram_kib > budget_kib:
        yield Finding(
            rule="NPU007",
            severity="error",
            where=graph.path.name,
            message=f"needs {sram_kib:.0f} KiB of SRAM, the NPU profile has {budget_kib} KiB",
            fix="use a smaller input or model, or an NPU profile with more SRAM or a Dedicated_Sram memory mode",
        )


def _float(graph: Graph) -> Finding:
    weights = Counter(t.dtype for n in graph.nodes if n.op in _WEIGHTED for t in n.inputs[1:2])
    weights += Counter(n.inputs[0].dtype for n in graph.nodes if n.op == "DEQUANTIZE" and n.inputs[0].constant)
    if weights["int8"] or weights["uint8"]:
        message = "dynamic-range quantized: INT8 weights but float activations, so nothing reaches the NPU"
        return Finding(rule="NPU002", severity="error", where=graph.path.name, message=message, fix=_EXPORT)
    message = "float model: an Ethos-U computes integers only, so nothing reaches the NPU"
    return Finding(rule="NPU001", severity="error", where=graph.path.name, message=message, fix=_EXPORT)


def _islands(graph: Graph) -> Iterator[Finding]:
    """Float operators inside an integer model, and float inputs or outputs."""
    ends = {t.index for t in (*graph.inputs, *graph.outputs)}
    inside = [n for n in graph.float_nodes if not _is_end(n, ends)]
    counts = Counter(n.op for n in inside)
    if inside:
        told = ", ".join(f"{number} {op}" for op, number in counts.most_common())
        yield Finding(
            rule="NPU004",
            severity="error",
            where=_few(n.name for n in inside),
            message=f"float islands in an integer model: {told}",
            fix="quantize with deploytk export --target npu, which repairs float LeakyReLU islands",
        )
    if not graph.integer_io:
        sides = _few(t.name for t in (*graph.inputs, *graph.outputs) if t.is_float)
        message = "float inputs or outputs: each costs a QUANTIZE or DEQUANTIZE on the CPU"
        yield Finding(rule="NPU010", severity="warning", where=sides or graph.path.name, message=message, fix=_EXPORT)


def _is_end(node: Node, ends: set[int]) -> bool:
    """Whether it only turns an input of the model into integers, or integers into an output."""
    tensors = {t.index for t in (*node.inputs, *node.outputs) if t.is_float}
    return node.op in _ENDS and tensors <= ends


def _few(names: Iterable[str], most: int = 3) -> str:
    """The first names, each cut short, and how many more there are."""
    listed = [name if len(name) <= 80 else "..." + name[-77:] for name in names]
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(listed[:most]) + more
