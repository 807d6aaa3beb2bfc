"""The rules of Ethos-U, one class each; the docstring is the sentence that the user reads.

The constraints quoted are those of Vela 5.2.0, `vela --supported-ops-report`.
"""

from __future__ import annotations

import math
from typing import ClassVar

from deploytk.graphs.onnx import STANDARD, Graph, Node
from deploytk.rules.ethos_u_nodes import axes, by, constant, depthwise, ints, known, padded, scales, whole, window
from deploytk.rules.ethos_u_ops import SUPPORTED, TFLITE, Family

_ALL: frozenset[Family] = frozenset({"u55", "u65", "u85"})
_SMALL: frozenset[Family] = frozenset({"u55", "u65"})
_UNQUANTIZABLE = frozenset({"string", "int64", "uint64", "float64", "complex64", "complex128", "undefined"})


class Rule:
    """What one rule has: a code, where it applies, and `check`, which says what is wrong or "" for nothing."""

    code: ClassVar[str]
    families: ClassVar[frozenset[Family]] = _ALL
    ops: ClassVar[frozenset[str]] = frozenset()  # empty: every operator
    fix: ClassVar[str] = ""

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:
        """What is wrong with this node; empty where nothing is."""
        raise NotImplementedError


class EU001(Rule):
    """The operator is one that Ethos-U has."""

    code = "EU001"
    fix = "replace the operator, or leave it to the host after the model"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:
        # Summary table of SUPPORTED_OPS: "any other TFLite operator will be scheduled on the CPU".
        if node.domain not in STANDARD:
            return ""  # EU002
        if node.op == "Div" and node.input(1) in graph.weights:
            return ""  # by a constant: the converter writes MUL
        lost = [t for t in TFLITE.get(node.op, (node.op,)) if t not in SUPPORTED[family]]
        return f"{node.op} becomes {', '.join(lost)}, which Ethos-{family.upper()} does not have" if lost else ""


class EU002(Rule):
    """The operator is ONNX's own, not one of an extension."""

    code = "EU002"
    fix = "leave pre- and postprocessing out of the exported model"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        return "" if node.domain in STANDARD else f"{node.domain}.{node.op} has no TFLite operator"


class EU003(Rule):
    """Stride is 1, 2 or 3 in both directions, or there is neither padding nor dilation."""

    code = "EU003"
    families = _SMALL
    ops = frozenset({"Conv", "MaxPool", "AveragePool"})
    fix = "use strides of at most 3, or no padding"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # CONV_2D, MAX_POOL_2D, AVERAGE_POOL_2D: "Stride>3 is only supported IF (dilation = 1 AND padding = VALID)".
        plain = max(ints(node, "dilations", 1)) == 1 and not padded(node)
        too_long = max(ints(node, "strides", 1)) > 3 and not plain and not depthwise(node, graph)
        return f"strides are {by(ints(node, 'strides', 1))} with padding or dilation" if too_long else ""


class EU004(Rule):
    """A depthwise convolution has a stride of 1, 2 or 3 in both directions."""

    code = "EU004"
    families = _SMALL
    ops = frozenset({"Conv"})
    fix = "use strides of at most 3"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # DEPTHWISE_CONV_2D: "Kernel stride must be in the range (1,3)."
        strides = ints(node, "strides", 1)
        return f"strides are {by(strides)}" if depthwise(node, graph) and max(strides) > 3 else ""


class EU005(Rule):
    """A max-pooling window is at most 256 high and 256 x 256 in all."""

    code = "EU005"
    ops = frozenset({"MaxPool"})
    fix = "pool in two steps"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # MAX_POOL_2D: "kernel product must be less than or equal to 256*256 and kernel height ... 256".
        return window(ints(node, "kernel_shape", 1))


class EU006(Rule):
    """An average-pooling window is at most 8 x 8 with padding, else 256 high and 256 x 256 in all."""

    code = "EU006"
    ops = frozenset({"AveragePool"})
    fix = "pool without padding, or in two steps"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # AVERAGE_POOL_2D: "Kernel constraints".
        kernel = ints(node, "kernel_shape", 1)
        if not padded(node):
            return window(kernel)
        return f"the window is {by(kernel)} with padding" if max(kernel) > 8 else ""


class EU007(Rule):
    """A pooling window has no dilation."""

    code = "EU007"
    ops = frozenset({"MaxPool", "AveragePool"})
    fix = "use a pooling without dilation"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # TFLite's pooling operators have no dilation, so that a converter must write something else.
        dilations = ints(node, "dilations", 1)
        return f"dilations are {by(dilations)}" if max(dilations) > 1 else ""


class EU008(Rule):
    """A transposed convolution has a stride of 1 x 1 or 2 x 2."""

    code = "EU008"
    families = _SMALL
    ops = frozenset({"ConvTranspose"})
    fix = "upsample with Resize (nearest, x2) and a convolution"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # TRANSPOSE_CONV: "Stride values WxH must be: 1x1 OR 2x2 OR 2x1 (if IFM height and kernel height is 1) ...".
        strides = ints(node, "strides", 1)
        kernel = ints(node, "kernel_shape", 0)
        line = len(kernel) == 2 and 1 in kernel and sorted(strides) == [1, 2]
        return "" if strides in ((1, 1), (2, 2)) or line else f"strides are {by(strides)}"


class EU009(Rule):
    """A resize is nearest or linear."""

    code = "EU009"
    ops = frozenset({"Resize", "Upsample"})
    fix = "use nearest"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # TFLite has RESIZE_NEAREST_NEIGHBOR and RESIZE_BILINEAR only.
        mode = str(node.attributes.get("mode", "nearest"))
        return "" if mode in {"nearest", "linear"} else f"the mode is {mode}"


class EU010(Rule):
    """A resize is by 2, 4 or 8, the same in both directions (Ethos-U85: bilinear by a power of two)."""

    code = "EU010"
    ops = frozenset({"Resize", "Upsample"})
    fix = "resize by 2, 4 or 8"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:
        # RESIZE_NEAREST_NEIGHBOR: "Scale-factor must be one of: 2x/4x/8x"; RESIZE_BILINEAR on U55/U65: with half pixel
        # centers 2x only; on U85 "an integer power of two", at most 1024.
        factors = scales(node, graph)
        if factors is None or min(factors) <= 0 or set(factors) == {1.0}:
            return ""
        linear = node.attributes.get("mode") == "linear"
        half = str(node.attributes.get("coordinate_transformation_mode", "half_pixel")).endswith("half_pixel")
        told = f"scales are {by(factors)}"
        if family == "u85":
            good = max(factors) <= 1024 and (not linear or all(math.log2(s).is_integer() for s in factors))
            return "" if good else told
        allowed = {2.0} if linear and half else {2.0, 4.0, 8.0}
        return "" if factors[0] == factors[1] and factors[0] in allowed else told


class EU011(Rule):
    """A softmax is over fewer than 65536 positions."""

    code = "EU011"
    ops = frozenset({"Softmax"})
    fix = "leave the softmax to the host"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # SOFTMAX: "The product of IFM width and height must be less than 65536".
        shape = known(graph.shape(node.input(0)))
        if shape is None or len(shape) < 3:
            return ""
        axis = whole(node, "axis", -1) % len(shape)
        positions = math.prod(d for i, d in enumerate(shape) if i not in (0, axis))
        return f"it is over {positions} positions" if positions >= 65536 else ""


class EU012(Rule):
    """An argmax is along the channels, of which there are at most 127."""

    code = "EU012"
    families = _SMALL
    ops = frozenset({"ArgMax"})
    fix = "leave the argmax to the host"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # ARG_MAX: "IFM depth must be less than or equal to 127", "must be performed along the depth axis".
        shape = known(graph.shape(node.input(0)))
        if shape is None:
            return ""
        axis = whole(node, "axis", 0) % max(1, len(shape))
        if len(shape) == 4 and axis != 1:
            return f"the axis is {axis}"
        return f"there are {shape[axis]} channels" if shape[axis] > 127 else ""


class EU013(Rule):
    """A mean is over axes shorter than 4096."""

    code = "EU013"
    ops = frozenset({"ReduceMean", "GlobalAveragePool"})
    fix = "take the mean in two steps"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # MEAN: "Reduced axis must be less than 4096".
        shape = known(graph.shape(node.input(0)))
        if shape is None:
            return ""
        longest = max((shape[a] for a in axes(node, graph, len(shape)) if a < len(shape)), default=0)
        return f"an axis is {longest} long" if longest >= 4096 else ""


class EU014(Rule):
    """A mean is over a batch of 1."""

    code = "EU014"
    ops = frozenset({"ReduceMean", "GlobalAveragePool"})
    fix = "export with batch 1 or a free batch axis"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # MEAN: "Batch must be 1."
        shape = graph.shape(node.input(0)) or ()
        fixed = len(shape) == 4 and isinstance(shape[0], int) and shape[0] > 1
        return f"the batch is {shape[0]}" if fixed else ""


class EU015(Rule):
    """Every dimension but the batch has a fixed size."""

    code = "EU015"
    fix = "export with a fixed input size"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # Generic: "Only the first dimension of tensors can be dynamic."
        free = {t.name for t in graph.inputs if any(isinstance(d, str) for d in t.shape[1:])}
        told = ", ".join(sorted(free & set(node.inputs)))
        return f"the input {told} has free dimensions" if told else ""


class EU016(Rule):
    """The image is not text, 64-bit or complex."""

    code = "EU016"
    fix = "export with a float32 or 8-bit input"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # Generic: 'Feature-map dataTypes must be one of {"INT16", "INT32", "INT64", "INT8", "UINT8"}', "64-bit
        # feature-maps are not supported"; float32 and float16 become INT8.
        bad = {t.name: t.dtype for t in graph.inputs if t.dtype in _UNQUANTIZABLE}
        found = [f"{name} is {dtype}" for name, dtype in bad.items() if name in node.inputs]
        return ", ".join(found)


class EU017(Rule):
    """A convolution is over two dimensions, not three."""

    code = "EU017"
    ops = frozenset({"Conv", "ConvTranspose", "MaxPool", "AveragePool"})
    fix = "use two-dimensional convolutions"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # CONV_3D is in no table of SUPPORTED_OPS.
        rank = len(ints(node, "kernel_shape", 0)) or len(graph.shape(node.input(1)) or (0, 0)) - 2
        return f"it is over {rank} dimensions" if rank > 2 else ""


class EU018(Rule):
    """A bias is a constant."""

    code = "EU018"
    ops = frozenset({"Conv", "ConvTranspose", "Gemm"})
    fix = "fold the computed bias into a constant"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV: "Bias tensors must be constant".
        bias = node.input(2)
        return f"{bias} is computed" if bias and not constant(bias, graph) else ""


class EU019(Rule):
    """A transpose is of at most 8 dimensions."""

    code = "EU019"
    ops = frozenset({"Transpose"})
    fix = "transpose fewer dimensions"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # TRANSPOSE: "Tensor dimension must be <= 8".
        rank = len(ints(node, "perm", 0))
        return f"it is of {rank} dimensions" if rank > 8 else ""


class EU020(Rule):
    """A product of two computed matrices is over fewer than 65537 columns and rows."""

    code = "EU020"
    families = _SMALL
    ops = frozenset({"MatMul"})
    fix = "split the product"

    @staticmethod
    def check(node: Node, graph: Graph, family: Family) -> str:  # noqa: ARG004
        # BATCH_MATMUL: "OFM depth" and "Reduced axis must be less than or equal to 2^16".
        shape = known(graph.shape(node.input(1)))
        if shape is None or constant(node.input(1), graph) or len(shape) < 2:
            return ""
        return f"the matrix is {by(shape[-2:])}" if max(shape[-2:]) > 65536 else ""


RULES: tuple[type[Rule], ...] = (
    EU001, EU002, EU003, EU004, EU005, EU006, EU007, EU008, EU009, EU010,
    EU011, EU012, EU013, EU014, EU015, EU016, EU017, EU018, EU019, EU020,
)  # fmt: skip
