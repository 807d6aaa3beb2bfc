"""Which layers of two models are the same one."""

from __future__ import annotations

from deploytk.graphs.layers import Layer, pairs


def layer(name: str, op: str = "Conv", reader: str = "") -> Layer:
    return Layer(name=name, op=op, reader=reader)


def names(source: list[Layer], converted: list[Layer]) -> list[tuple[str, str]]:
    return [(mine.name, theirs.name) for mine, theirs in pairs(source, converted)]


def test_a_module_path_and_a_node_name_are_one_place() -> None:
    assert names([layer("model.0.conv.Conv")], [layer("/model.0/conv/Conv")]) == [
        ("model.0.conv.Conv", "/model.0/conv/Conv")
    ]


def test_layers_that_only_one_of_the_two_has_are_left_out() -> None:
    assert names([layer("a"), layer("b")], [layer("b"), layer("c")]) == [("b", "b")]


def test_a_convolution_that_took_in_its_relu_gives_what_the_relu_gave() -> None:
    source = [layer("a", reader="n"), layer("n", "BatchNormalization", "r"), layer("r", "Relu", "b"), layer("b")]
    assert names(source, [layer("a"), layer("b")]) == [("r", "a"), ("b", "b")]


def test_another_operator_is_never_taken_for_folded() -> None:
    source = [layer("a", reader="s"), layer("s", "Sigmoid", "b"), layer("b")]
    assert names(source, [layer("a"), layer("b")]) == [("a", "a"), ("b", "b")]
