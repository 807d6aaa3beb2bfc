"""The contract says per section what was found against what was asked, and names each offender."""

from __future__ import annotations

from deploytk.profile import Activation as Wanted
from deploytk.rules.activations import Activation, Contract, Expected

SECTIONS = ("backbone", "neck", "head")


def contract(*found: Activation, profile: Wanted | None = None) -> Contract:
    expected = None
    if profile is not None:
        expected = Expected(sections={**profile.expected()}, slope=profile.negative_slope)
    return Contract(where="m.onnx", found=found, convolutions=9, expected=expected)


def act(kind: str, section: str = "backbone", node: str = "", slope: float | None = None) -> Activation:
    return Activation(kind=kind, section=section, node=node or f"/{section}/{kind}", slope=slope)  # type: ignore[arg-type]


def rules(made: Contract) -> list[tuple[str, str]]:
    return [(f.rule, f.where) for f in made.findings]


RELU = Wanted(kind="relu")


def test_the_asked_activation_everywhere_holds() -> None:
    made = contract(*(act("relu", s) for s in SECTIONS), profile=RELU)
    assert not made.findings
    assert not made.broken
    assert made.counts == {s: {"relu": 1} for s in SECTIONS}


def test_six_silu_left_in_the_head_are_named() -> None:
    """What Ultralytics does to a ReLU network that starts from SiLU weights with other classes."""
    left = [act("silu", "head", f"/model.22/cv3.{i}/act") for i in range(6)]
    made = contract(*(act("relu", s) for s in SECTIONS), *left, profile=RELU)
    assert rules(made) == [("ACT001", "head")]
    assert "6 of 7 activations are silu instead of relu: /model.22/cv3.0/act" in made.findings[0].message
    assert "and 3 more" in made.findings[0].message
    assert [o["node"] for o in made.as_dict()["offenders"]] == [a.node for a in left]
    assert made.as_dict()["ok"] is False


def test_a_level_asks_for_its_sections_only() -> None:
    level2 = Wanted(kind="relu", sections=("backbone",), rest="silu")
    made = contract(act("relu"), act("silu", "neck"), act("silu", "head"), profile=level2)
    assert not made.findings
    assert rules(contract(act("relu"), act("relu", "neck"), act("silu", "head"), profile=level2)) == [
        ("ACT001", "neck")
    ]


def test_no_activation_at_all_fails_with_and_without_a_profile() -> None:
    for profile in (RELU, None):
        made = contract(profile=profile)
        assert rules(made) == [("ACT002", "m.onnx")]
        assert made.broken


def test_a_graph_without_convolutions_and_activations_is_no_failure() -> None:
    assert not Contract(where="m", found=(), convolutions=0).findings


def test_identity_where_an_activation_is_expected_fails() -> None:
    made = contract(*(act("relu", s) for s in SECTIONS), act("identity", "neck"), profile=RELU)
    assert rules(made) == [("ACT003", "neck")]


def test_nothing_but_identity_is_nothing() -> None:
    assert rules(contract(act("identity"), profile=RELU)) == [("ACT002", "m.onnx")]


def test_another_slope_fails() -> None:
    leaky = Wanted(kind="leaky_relu", negative_slope=0.1)
    found = [act("leaky_relu", s, slope=0.1) for s in SECTIONS]
    assert not contract(*found, profile=leaky).findings
    made = contract(*found[:2], act("leaky_relu", "head", slope=0.01), profile=leaky)
    assert rules(made) == [("ACT004", "head")]
    assert "slope 0.01 instead of 0.1" in made.findings[0].message


def test_a_section_without_activations_fails() -> None:
    assert rules(contract(act("relu"), act("relu", "neck"), profile=RELU)) == [("ACT005", "head")]


def test_sections_that_cannot_be_told_are_compared_together() -> None:
    level2 = Wanted(kind="relu", sections=("backbone",), rest="silu")
    assert rules(contract(act("relu", ""), act("silu", ""), profile=level2)) == [("ACT006", "m.onnx")]
    assert rules(contract(act("gelu", ""), profile=level2)) == [("ACT006", "m.onnx"), ("ACT001", "network")]
    assert not contract(act("relu", ""), profile=RELU).findings


def test_without_a_profile_costly_activations_are_a_warning() -> None:
    made = contract(act("relu"), act("silu", "head"))
    assert rules(made) == [("ACT007", "m.onnx"), ("ACT008", "m.onnx")]
    assert not made.broken
    assert not contract(act("relu"), act("relu6", "backbone")).findings[:-1]
    assert made.as_dict()["ok"] is None
