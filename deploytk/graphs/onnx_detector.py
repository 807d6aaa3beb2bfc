"""A detector's ONNX with what stands around it put inside: letterbox and normalisation before it, suppression after it.

Each part is a piece of graph, written in ONNX's own text form; a piece's nodes are named /deploy/PIECE/... The detector
itself is kept as it is: `images` (batch, 3, S, S) float32 0..1 RGB -> (batch, 4 + classes, anchors).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import onnx

from deploytk.errors import InputError

Inside = Literal["normalise", "letterbox"]

#: Where a model says what its input takes and what was put into it.
PREPROCESS, NMS, TAKES, GIVES = "deploytk.preprocess", "deploytk.nms", "deploytk.input", "deploytk.output"

_NORMALISE = """
normalise (uint8[batch, rows, columns, 3] images) => (float[batch, 3, rows, columns] inside) {
    planes = Transpose<perm = [0, 3, 1, 2]>(images)
    reals = Cast<to = 1>(planes)
    most = Constant<value = float {255}>()
    inside = Div(reals, most)
}"""

# The arithmetic of data/preparation.py's letterbox: in double, as Python's, for it decides about a row or a column.
_LETTERBOX = """
letterbox (uint8[1, height, width, 3] images) => (float[1, 3, rows, columns] inside) {
    shape = Shape(images)
    sides = Constant<value = int64[2] {1, 2}>()
    old = Gather(shape, sides)
    size = Constant<value = int64[2] {ROWS, COLUMNS}>()
    old_double = Cast<to = 11>(old)
    size_double = Cast<to = 11>(size)
    scales = Div(size_double, old_double)
    scale = ReduceMin<keepdims = 1>(scales)
    scaled = Mul(old_double, scale)
    whole = Ceil(scaled)
    fitting = Min(whole, size_double)
    new = Cast<to = 7>(fitting)

    planes = Transpose<perm = [0, 3, 1, 2]>(images)
    reals = Cast<to = 1>(planes)
    batch_and_channels = Constant<value = int64[2] {1, 3}>()
    sizes = Concat<axis = 0>(batch_and_channels, new)
    between = Resize<mode = "linear", coordinate_transformation_mode = "half_pixel">(reals, , , sizes)
    half = Constant<value = float {0.5}>()
    raised = Add(between, half)
    pixels = Floor(raised)

    two = Constant<value = int64 {2}>()
    rest = Sub(size, new)
    before = Div(rest, two)
    after = Sub(rest, before)
    none = Constant<value = int64[2] {0, 0}>()
    pads = Concat<axis = 0>(none, before, none, after)
    grey = Constant<value = float {114}>()
    padded = Pad(pixels, pads, grey)
    fixed = Constant<value = int64[4] {1, 3, ROWS, COLUMNS}>()
    square = Reshape(padded, fixed)
    most = Constant<value = float {255}>()
    inside = Div(square, most)
}"""

_ONTO_IMAGE = """
onto_image (float[1, channels, anchors] decoded, int64[2] old, int64[2] new, int64[2] before)
    => (float[1, channels, anchors] output) {
    parts = Constant<value = int64[3] {2, 2, CLASSES}>()
    centre, side, scores = Split<axis = 1>(decoded, parts)
    x_before_y = Constant<value = int64[2, 1] {1, 0}>()
    old_x_y = Gather(old, x_before_y)
    new_x_y = Gather(new, x_before_y)
    before_x_y = Gather(before, x_before_y)
    old_real = Cast<to = 1>(old_x_y)
    new_real = Cast<to = 1>(new_x_y)
    corner = Cast<to = 1>(before_x_y)
    factor = Div(old_real, new_real)
    from_corner = Sub(centre, corner)
    image_centre = Mul(from_corner, factor)
    image_side = Mul(side, factor)
    output = Concat<axis = 1>(image_centre, image_side, scores)
}"""

# As data/detections.py suppresses: an anchor has its best class only.
_SUPPRESSION = """
nms (float[batch, channels, anchors] decoded) => (float[batch, MOST, 6] output) {
    parts = Constant<value = int64[2] {4, CLASSES}>()
    boxes, scores = Split<axis = 1>(decoded, parts)
    label = ArgMax<axis = 1, keepdims = 1>(scores)
    classes = Constant<value = int64[CLASSES, 1] {LABELS}>()
    is_best = Equal(label, classes)
    zero = Constant<value = float {0}>()
    best_scores = Where(is_best, scores, zero)
    box_rows = Transpose<perm = [0, 2, 1]>(boxes)
    most = Constant<value = int64[1] {MOST}>()
    overlap = Constant<value = float[1] {OVERLAP}>()
    least = Constant<value = float[1] {LEAST}>()
    chosen = NonMaxSuppression<center_point_box = 1>(box_rows, best_scores, most, overlap, least)

    chosen_scores = GatherND(best_scores, chosen)
    image_and_anchor = Constant<value = int64[2] {0, 2}>()
    places = Gather<axis = 1>(chosen, image_and_anchor)
    shape = Shape(best_scores)
    images_and_anchors = Gather(shape, image_and_anchor)
    nothing = ConstantOfShape<value = float[1] {0}>(images_and_anchors)
    only_chosen = ScatterND(nothing, places, chosen_scores)
    score, anchor = TopK<axis = 1>(only_chosen, most)

    label_rows = Transpose<perm = [0, 2, 1]>(label)
    label_real = Cast<to = 1>(label_rows)
    rows = Concat<axis = 2>(box_rows, label_real)
    third = Constant<value = int64[1] {2}>()
    anchor_places = Unsqueeze(anchor, third)
    found = GatherND<batch_dims = 1>(rows, anchor_places)
    row_parts = Constant<value = int64[3] {2, 2, 1}>()
    centre, side, class = Split<axis = 2>(found, row_parts)
    half = Constant<value = float {0.5}>()
    half_side = Mul(side, half)
    low = Sub(centre, half_side)
    high = Add(centre, half_side)
    scores_column = Unsqueeze(score, third)
    all_rows = Concat<axis = 2>(low, high, scores_column, class)
    is_box = Greater(scores_column, zero)
    output = Where(is_box, all_rows, zero)
}"""

_WITHIN_IMAGE = """
within_image (float[1, most, 6] rows, uint8[1, height, width, 3] images) => (float[1, most, 6] output) {
    shape = Shape(images)
    x_y_x_y = Constant<value = int64[4] {2, 1, 2, 1}>()
    ends = Gather(shape, x_y_x_y)
    ends_real = Cast<to = 1>(ends)
    of_score_and_class = Constant<value = float[2] {60000, 60000}>()
    limits = Concat<axis = 0>(ends_real, of_score_and_class)
    zero = Constant<value = float {0}>()
    from_zero = Max(rows, zero)
    output = Min(from_zero, limits)
}"""


def with_preprocessing(model: onnx.ModelProto, how: Inside) -> onnx.ModelProto:
    """The detector with its preparation inside; `images` takes the RGB pixels of an image, 0..255.

    normalise: uint8 (batch, S, S, 3), letterboxed by the caller. letterbox: uint8 (1, height, width, 3), one image of
    any size as it was decoded; the boxes come out in pixels of that image.

    Raises:
        InputError: not the detector that this file is about.
    """
    rows, columns, classes, anchors = _sizes(model)
    made = _copy(model)
    if how == "normalise":
        batch = _dims(made.graph.input[0])[0]
        _put_before(made, "normalise", _NORMALISE, [batch, rows, columns, 3])
        _tell(made, PREPROCESS, how)
        return _finished(made, f"RGB pixels 0..255, letterboxed to {columns}x{rows}")
    _put_before(made, "letterbox", _filled(_LETTERBOX, ROWS=rows, COLUMNS=columns), [1, "height", "width", 3])
    theirs = {name: f"/deploy/letterbox/{name}" for name in ("old", "new", "before")}
    _put_after(made, "onto_image", _filled(_ONTO_IMAGE, CLASSES=classes), [1, 4 + classes, anchors], "decoded", theirs)
    _tell(made, PREPROCESS, how)
    return _finished(made, "RGB pixels 0..255 of one image of any size, as it was decoded")


def with_nms(model: onnx.ModelProto, *, confidence: float, iou: float, most: int) -> onnx.ModelProto:
    """The detector with its suppression inside: (batch, most, 6) with x1, y1, x2, y2, score, class.

    The most certain boxes come first, then rows of zeros. Where there are fewer anchors than `most`, there are as many
    rows as anchors. Boxes of a model with a letterbox inside end at the edges of the image.

    Args:
        confidence: only boxes with a higher score.
        iou: of two boxes of a class that overlap more, only the more certain one.

    Raises:
        InputError: not the detector that this file is about.
    """
    classes, anchors = _output_sizes(model)
    made, rows = _copy(model), min(most, anchors)
    batch = _dims(made.graph.input[0])[0]
    numbers = {"CLASSES": classes, "MOST": rows, "OVERLAP": iou, "LEAST": confidence}
    text = _filled(_SUPPRESSION, LABELS=", ".join(map(str, range(classes))), **numbers)
    _put_after(made, "nms", text, [batch, rows, 6], "decoded", {})
    if _told(made, PREPROCESS) == "letterbox":
        _put_after(made, "within_image", _WITHIN_IMAGE, [batch, rows, 6], "rows", {})
    _tell(made, NMS, json.dumps({"confidence": confidence, "iou": iou, "most": rows}))
    _tell(made, GIVES, "rows of x1, y1, x2, y2, score, class; rows of zeros where there are fewer boxes")
    return _finished(made)


def seams(model: onnx.ModelProto) -> tuple[str, str]:
    """The tensors that the detector itself takes and gives, in a model that has something put inside."""
    names = {name for node in model.graph.node for name in (*node.input, *node.output)}
    takes = (f"/deploy/{piece}/inside" for piece in ("normalise", "letterbox"))
    gives = (f"/deploy/{piece}/decoded" for piece in ("onto_image", "nms"))
    return (
        next((name for name in takes if name in names), model.graph.input[0].name),
        next((name for name in gives if name in names), model.graph.output[0].name),
    )


def _sizes(model: onnx.ModelProto) -> tuple[int, int, int, int]:
    """(rows, columns, classes, anchors) of a detector that takes floats."""
    dims = _dims(model.graph.input[0]) if len(model.graph.input) == 1 else []
    kind = model.graph.input[0].type.tensor_type.elem_type if dims else None
    if (
        kind != onnx.TensorProto.FLOAT
        or len(dims) != 4
        or dims[1] != 3
        or not all(isinstance(d, int) for d in dims[2:])
    ):
        raise InputError(
            f"the model takes {dims or 'several inputs'}; a preparation is put before (batch, 3, S, S) float32"
        )
    return int(dims[2]), int(dims[3]), *_output_sizes(model)


def _output_sizes(model: onnx.ModelProto) -> tuple[int, int]:
    """(classes, anchors) of the one decoded output."""
    dims = _dims(model.graph.output[0]) if len(model.graph.output) == 1 else []
    if len(dims) != 3 or not isinstance(dims[1], int) or not isinstance(dims[2], int) or not 4 < dims[1] < dims[2]:
        raise InputError(
            f"the model gives {dims or 'several outputs'}; boxes are read from (batch, 4 + classes, anchors)"
        )
    return dims[1] - 4, dims[2]


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model without the shapes of its inner tensors, which are others from now on."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    del made.graph.value_info[:]
    return made


def _put_before(model: onnx.ModelProto, piece: str, text: str, takes: Sequence[int | str]) -> None:
    """The piece between the model's input, which keeps its name, and what read it."""
    graph, name = model.graph, model.graph.input[0].name
    inner = f"/deploy/{piece}/inside"
    for node in graph.node:
        _rename(node.input, {name: inner})
    nodes = [*_nodes(piece, text, {"images": name, "inside": inner}), *graph.node]
    _replace(graph.node, nodes)
    _replace(graph.input, [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UINT8, list(takes))])


def _put_after(
    model: onnx.ModelProto, piece: str, text: str, gives: Sequence[int | str], reads: str, more: Mapping[str, str]
) -> None:
    """The piece behind the model's output, which keeps its name; `reads` is what the piece calls it before."""
    graph, name = model.graph, model.graph.output[0].name
    inner = f"/deploy/{piece}/{reads}"
    for node in graph.node:
        _rename(node.output, {name: inner})
        _rename(node.input, {name: inner})
    graph.node.extend(_nodes(piece, text, {reads: inner, "output": name, "images": graph.input[0].name, **more}))
    _replace(graph.output, [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(gives))])


def _nodes(piece: str, text: str, outer: Mapping[str, str]) -> list[onnx.NodeProto]:
    """The nodes of a piece; `outer` says what its inputs and outputs are called outside."""
    nodes = list(onnx.parser.parse_graph(text).node)
    inner = {name: f"/deploy/{piece}/{name}" for node in nodes for name in node.output}
    for node in nodes:
        node.name = f"/deploy/{piece}/{node.output[0]}"
        for side in (node.input, node.output):
            _rename(side, {**inner, **outer})
    return nodes


def _rename(names: Any, new: Mapping[str, str]) -> None:
    names[:] = [new.get(name, name) for name in names]


def _replace(held: Any, values: Sequence[Any]) -> None:
    """Other values in a repeated field; they may be its own."""
    kept = [type(value).FromString(value.SerializeToString()) for value in values]
    del held[:]
    held.extend(kept)


def _filled(text: str, **numbers: object) -> str:
    for name, number in numbers.items():
        text = text.replace(name, str(number))
    return text


def _dims(value: Any) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def _told(model: onnx.ModelProto, key: str) -> str:
    return next((str(p.value) for p in model.metadata_props if p.key == key), "")


def _tell(model: onnx.ModelProto, key: str, value: str) -> None:
    onnx.helper.set_model_props(model, {p.key: p.value for p in model.metadata_props} | {key: value})


def _finished(model: onnx.ModelProto, takes: str = "") -> onnx.ModelProto:
    """The model, checked; what it takes stands in its metadata and beside the input, where viewers show it."""
    if takes:
        _tell(model, TAKES, takes)
    model.graph.input[0].doc_string = _told(model, TAKES)
    model.graph.output[0].doc_string = _told(model, GIVES)
    onnx.checker.check_model(model, full_check=True)
    return model
