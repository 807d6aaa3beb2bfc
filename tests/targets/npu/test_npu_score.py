"""The Ethos score as a pure function."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploytk.targets.npu.score import Swap, improvements, plain_reason, score

counts = st.integers(min_value=0, max_value=5000)
cycles = st.none() | st.integers(min_value=1, max_value=10**12)
WHOLE = {"segments": 1, "int8_io": True, "sram_fits": True}


@given(
    npu=counts,
    cpu=counts,
    cycles=cycles,
    twin=cycles,
    segments=st.integers(0, 99),
    io=st.booleans(),
    fits=st.booleans(),
)
def test_the_score_is_a_percentage_and_its_parts_multiply(
    npu: int, cpu: int, cycles: int | None, twin: int | None, segments: int, io: bool, fits: bool
) -> None:
    got = score(
        npu_ops=npu, cpu_ops=cpu, cycles=cycles, twin_cycles=twin, segments=segments, int8_io=io, sram_fits=fits
    )
    assert 0 <= got.ethos_score <= got.compatibility <= 100
    if got.activation_efficiency is not None:
        assert cpu == 0
        assert got.ethos_score == pytest.approx(got.compatibility * got.activation_efficiency / 100)
    if npu == 0:
        assert (got.ethos_score, got.grade) == (0, "none")
    if got.grade == "full":
        assert (cpu, segments, io, fits) == (0, 1, True, True)
        assert got.compatibility == 100


@given(npu=st.integers(1, 5000), cpu=counts)
def test_an_operator_moved_to_the_npu_never_lowers_the_compatibility(npu: int, cpu: int) -> None:
    def at(on_npu: int) -> float:
        rest = npu + cpu - on_npu
        return score(npu_ops=on_npu, cpu_ops=rest, cycles=None, twin_cycles=None, **WHOLE).compatibility

    assert at(npu) >= at(npu - 1)


def test_the_measured_table_gives_its_own_scores() -> None:
    """Ethos-U55-256, YOLOv8n at 256: ReLU 100, LeakyReLU 92, SiLU 73 (cycles as Vela 5.2 estimates them)."""
    model = {"npu_ops": 123, "cpu_ops": 0, "twin_cycles": 5_584_000, **WHOLE}
    assert score(cycles=5_584_000, **model).ethos_score == 100
    assert score(cycles=6_061_000, **model).ethos_score == pytest.approx(92.1, abs=0.1)
    assert score(cycles=7_614_000, **model).ethos_score == pytest.approx(73.3, abs=0.1)


def test_cpu_operators_leave_the_efficiency_unknown() -> None:
    """Vela counts them as zero cycles, so that the worse model would look faster."""
    got = score(npu_ops=130, cpu_ops=175, cycles=100, twin_cycles=100, segments=62, int8_io=True, sram_fits=True)
    assert got.activation_efficiency is None
    assert got.ethos_score == pytest.approx(42.623, abs=1e-3)
    assert got.grade == "partial"


@pytest.mark.parametrize("broken", [{"segments": 2}, {"int8_io": False}, {"sram_fits": False}])
def test_one_missing_condition_makes_it_partial(broken: dict[str, object]) -> None:
    facts = {"npu_ops": 5, "cpu_ops": 0, "cycles": 10, "twin_cycles": 10, **WHOLE, **broken}
    assert score(**facts).grade == "partial"  # type: ignore[arg-type]


def test_improvements_come_with_what_they_save_and_the_most_first() -> None:
    cpu = [{"index": i, "op": "CAST", "target": "cpu", "reason": "Unsupported opType"} for i in range(3)]
    npu = [{"index": 3, "op": "ADD", "target": "npu", "reason": ""}]
    moved = improvements(cpu + npu, [], None)
    assert [(i["cycles_saved"], i["points"], i["ops"]) for i in moved] == [(None, 75.0, [0, 1, 2])]
    assert "3 CAST" in moved[0]["what"]
    assert "Unsupported opType" in moved[0]["what"]
    swaps = [Swap(kind="LeakyReLU", count=4, cycles=90), Swap(kind="SiLU", count=9, cycles=70)]
    told = improvements(npu, swaps, 100)
    assert [(i["what"], i["cycles_saved"]) for i in told] == [
        ("train with ReLU in place of 9 SiLU", 30),
        ("train with ReLU in place of 4 LeakyReLU", 10),
    ]


def test_a_swap_that_saves_nothing_is_not_advised() -> None:
    assert improvements([], [Swap(kind="LeakyReLU", count=57, cycles=100)], 100) == []


def test_reasons_that_differ_in_a_tensor_name_only_are_one_reason() -> None:
    one = "Operation has tensor with unsupported DataType Float32 (model/a;b_act); must be INT8"
    two = "Operation has tensor with unsupported DataType Float32 (other); must be INT8"
    assert plain_reason(one) == plain_reason(two)
