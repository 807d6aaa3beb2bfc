"""ONNX: a model file as a list of nodes with shapes, read without running it (the one file that reads ONNX graphs)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import inliner, numpy_helper, shape_inference

from deploytk.artifact import TensorSpec
from deploytk.errors import InputError
from deploytk.graphs import sections

Shape = tuple[int | str, ...]

#: The domains of ONNX itself; operators of any other come from an extension that the runtime must have.
STANDARD = frozenset({"", "ai.onnx", "ai.onnx.ml"})
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_INTEGER_OPS = frozenset({"ConvInteger", "MatMulInteger", "DynamicQuantizeLinear"})
#: Constants up to this many elements are read as values: bounds, slopes, scales, axes.
_SMALL = 64
#: Protobuf cannot serialize more for the shape inference.
_MAX_INFER_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operator of the main graph."""

    index: int
    op: str
    domain: str
    name: str  # its own, or that of its first output where it has none
    inputs: tuple[str, ...]  # "" for an optional one that is left out
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    section: str = ""  # backbone, neck, head; "" where it cannot be told

    @property
    def title(self) -> str:
        """How a message calls it: its name and operator."""
        return f"{self.name} ({self.op})"

    def input(self, place: int) -> str:
        """The tensor at a place; "" where it is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""


@dataclass(frozen=True, kw_only=True)
class Graph:
    """The main graph of an ONNX file."""

    path: Path
    nodes: tuple[Node, ...]
    inputs: tuple[TensorSpec, ...]  # weights that are listed as inputs (IR version 3) apart
    outputs: tuple[TensorSpec, ...]
    opset: int
    producer: str
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, str]
    constants: Mapping[str, np.ndarray]  # the small ones
    weights: frozenset[str]  # the names of all constants
    inlined: bool = False  # whether the file has functions, whose nodes stand here in their place

    @property
    def batch(self) -> int | None:
        """The fixed batch size; None where it is free or there is no batch axis."""
        first = self.inputs[0].shape[:1] if self.inputs else ()
        return first[0] if first and isinstance(first[0], int) else None

    @property
    def quantized_ops(self) -> dict[str, int]:
        """How many quantizing operators there are of each kind; empty for a float model."""
        names = (n.op for n in self.nodes)
        return dict(Counter(n for n in names if n in {QUANTIZE, DEQUANTIZE} | _INTEGER_OPS or n.startswith("QLinear")))

    @property
    def quantized(self) -> bool:
        """Whether it computes in integers (QDQ, QLinear or dynamic)."""
        return any(name != DEQUANTIZE for name in self.quantized_ops)

    @property
    def custom_domains(self) -> dict[str, tuple[str, ...]]:
        """The operators of each domain that is not ONNX's own."""
        found: dict[str, set[str]] = {}
        for node in self.nodes:
            if node.domain not in STANDARD:
                found.setdefault(node.domain, set()).add(node.op)
        return {domain: tuple(sorted(ops)) for domain, ops in sorted(found.items())}

    @cached_property
    def makers(self) -> dict[str, Node]:
        """The node that makes each tensor."""
        return {o: n for n in self.nodes for o in n.outputs if o}

    @cached_property
    def readers(self) -> dict[str, tuple[Node, ...]]:
        """The nodes that read each tensor."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for tensor in dict.fromkeys(node.inputs):
                found.setdefault(tensor, []).append(node)
        return {tensor: tuple(nodes) for tensor, nodes in found.items()}

    def shape(self, tensor: str) -> Shape | None:
        """The shape of a tensor; None where it is not known."""
        return self.shapes.get(tensor)

    def scalar(self, tensor: str) -> float | None:
        """The one value of a small constant, through quantization and casts; None where it is none."""
        value = self.constants.get(tensor)
        if value is not None:
            flat = value.reshape(-1)
            return float(flat[0]) if flat.size and flat.dtype.kind in "fiub" and (flat == flat[0]).all() else None
        maker = self.makers.get(tensor)
        if maker is None or maker.op not in {DEQUANTIZE, QUANTIZE, "Cast", "Identity"}:
            return None
        inner = self.scalar(maker.input(0))
        return self._dequantized(maker, inner) if maker.op == DEQUANTIZE and inner is not None else inner

    def _dequantized(self, maker: Node, inner: float) -> float | None:
        scale = self.scalar(maker.input(1))
        zero = self.scalar(maker.input(2)) if maker.input(2) else 0.0
        return None if scale is None or zero is None else (inner - zero) * scale


def is_operator(node: Node) -> bool:
    """Whether ONNX has an operator of that name, in whatever version."""
    return bool(onnx.defs.has(node.op, domain=node.domain if node.domain != "ai.onnx" else ""))


def read(path: Path) -> Graph:
    """The graph in an ONNX file, shapes inferred where they can be.

    Raises:
        InputError: not ONNX, truncated, without operators, or its external data is missing.
    """
    model = _parsed(path)
    _require_external_data(path, model)
    inlined = bool(model.functions)
    if inlined:
        model = inliner.inline_local_functions(model)
    graph = _graph(path, _inferred(model))
    _require_wired(graph)
    return replace(graph, inlined=inlined)


def _parsed(path: Path) -> Any:
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise InputError(f"{path}: not an ONNX model, or a truncated one; copy or download it again") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not model.HasField("graph") or not model.graph.node:
        raise InputError(f"{path}: a protobuf file without an ONNX graph; give the .onnx of a model")
    if not model.opset_import:
        raise InputError(f"{path}: an ONNX graph that names no opset; it is damaged, export it again")
    if not all(isinstance(text, str) for text in _texts(model)):
        raise InputError(f"{path}: damaged: a name in it is no text; copy or download it again")
    return model


def _texts(model: Any) -> Iterator[Any]:
    """Every name in the model: what is not UTF-8 comes as bytes."""
    graph = model.graph
    yield from (model.producer_name, model.producer_version, *(o.domain for o in model.opset_import))
    for tensor in graph.initializer:
        yield from (tensor.name, *(text for entry in tensor.external_data for text in (entry.key, entry.value)))
    for node in graph.node:
        yield from (node.op_type, node.domain, node.name, *node.input, *node.output, *(a.name for a in node.attribute))
        yield from (text for meta in node.metadata_props for text in (meta.key, meta.value))
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield from (value.name, *(d.dim_param for d in value.type.tensor_type.shape.dim))


def _require_external_data(path: Path, model: Any) -> None:
    """Refuse a model whose weights stand in files that are not there."""
    for tensor in model.graph.initializer:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        location = next((e.value for e in tensor.external_data if e.key == "location"), "")
        if not location or not (path.parent / location).is_file():
            raise InputError(
                f"{path}: its weights stand in {location or 'a file it does not name'!r}, which is not there; "
                "copy that file beside it"
            )


def _inferred(model: Any) -> Any:
    if model.ByteSize() > _MAX_INFER_BYTES:
        return model
    try:
        return shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # of any kind: shapes that cannot be inferred stay unknown, which rules must live with
        return model


def _graph(path: Path, model: Any) -> Graph:
    graph = model.graph
    weights = {t.name for t in graph.initializer} | {t.values.name for t in graph.sparse_initializer}
    shapes, dtypes = _types(path, graph)
    nodes = _nodes(graph)
    made = frozenset(o for n in nodes if n.op == "Constant" for o in n.outputs)
    return Graph(
        path=path,
        nodes=_with_sections(nodes, graph),
        inputs=tuple(_spec(v) for v in graph.input if v.name not in weights),
        outputs=tuple(_spec(v) for v in graph.output),
        opset=max((o.version for o in model.opset_import if o.domain in {"", "ai.onnx"}), default=0),
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        shapes=shapes,
        dtypes=dtypes,
        constants=_constants(graph, nodes),
        weights=frozenset(weights) | made,
    )


def _nodes(graph: Any) -> tuple[Node, ...]:
    return tuple(
        Node(
            index=index,
            op=node.op_type,
            domain=node.domain,
            name=node.name or next((o for o in node.output if o), f"{node.op_type}_{index}"),
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes={a.name: _attribute(a) for a in node.attribute},
        )
        for index, node in enumerate(graph.node)
    )


def _with_sections(nodes: tuple[Node, ...], graph: Any) -> tuple[Node, ...]:
    """The nodes with their sections, told from module paths in their names or their metadata (torch.onnx, dynamo)."""
    steps = [
        sections.Step(name=_path(node, proto), op=node.op, inputs=node.inputs, outputs=node.outputs)
        for node, proto in zip(nodes, graph.node, strict=True)
    ]
    found = sections.sections(steps, [o.name for o in graph.output])
    return tuple(replace(node, section=section) for node, section in zip(nodes, found, strict=True))


def _path(node: Node, proto: Any) -> str:
    meta = {m.key: m.value for m in getattr(proto, "metadata_props", ())}
    scopes = meta.get("namespace", "") or meta.get("pkg.torch.onnx.name_scopes", "")
    return f"{node.name} {scopes}"


def _attribute(attribute: Any) -> Any:
    """The value of an attribute; subgraphs and other big ones as None, text as str."""
    try:
        value = onnx.helper.get_attribute_value(attribute)
    except ValueError:
        return None
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, onnx.TensorProto):
        return _small(value)
    if isinstance(value, int | float):
        return value
    if isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value):
        return tuple(value)
    return None


def _small(tensor: Any) -> np.ndarray | None:
    """The values of a tensor of few elements; None for a big, external or damaged one."""
    elements = 1
    for dim in tensor.dims:
        elements *= max(0, int(dim))
    if elements > _SMALL or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError, KeyError):
        return None


def _constants(graph: Any, nodes: tuple[Node, ...]) -> dict[str, np.ndarray]:
    found = {t.name: _small(t) for t in graph.initializer}
    for node in nodes:
        if node.op != "Constant" or not node.outputs:
            continue
        value = next(iter(node.attributes.values()), None)
        found[node.outputs[0]] = None if value is None or isinstance(value, str) else np.asarray(value)
    return {name: value for name, value in found.items() if value is not None}


def _types(path: Path, graph: Any) -> tuple[dict[str, Shape], dict[str, str]]:
    shapes: dict[str, Shape] = {t.name: tuple(int(d) for d in t.dims) for t in graph.initializer}
    dtypes = {t.name: _dtype(t.data_type) for t in graph.initializer}
    try:
        for value in (*graph.value_info, *graph.input, *graph.output):
            if value.type.HasField("tensor_type"):
                dtypes[value.name] = _dtype(value.type.tensor_type.elem_type)
                if value.type.tensor_type.HasField("shape"):
                    shapes[value.name] = _spec(value).shape
    except KeyError as error:
        raise InputError(f"{path}: unknown element type {error}; it is damaged, export it again") from error
    return shapes, dtypes


def _spec(value: Any) -> TensorSpec:
    tensor = value.type.tensor_type
    dims = (d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in tensor.shape.dim)
    return TensorSpec(name=value.name, shape=tuple(dims), dtype=_dtype(tensor.elem_type))


def _dtype(number: int) -> str:
    try:
        name: str = onnx.TensorProto.DataType.Name(number)
    except ValueError:
        return "undefined"
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(name, name.lower())


def _require_wired(graph: Graph) -> None:
    """Refuse a graph in which a node reads what nothing before it makes, or that makes a tensor twice."""
    known = {"", *graph.weights, *(t.name for t in graph.inputs)}
    made = set(known) - {o for n in graph.nodes if n.op == "Constant" for o in n.outputs}
    for node in graph.nodes:
        lost = [t for t in node.inputs if t not in known]
        if lost:
            raise InputError(f"{graph.path}: damaged: {node.title} reads {lost[0]!r}, which nothing before it makes")
        twice = [t for t in node.outputs if t and t in made]
        if twice:
            raise InputError(f"{graph.path}: damaged: {node.title} makes {twice[0]!r} a second time")
        known.update(node.outputs)
        made.update(node.outputs)
    if not graph.outputs:
        raise InputError(f"{graph.path}: damaged: the graph has no output")
