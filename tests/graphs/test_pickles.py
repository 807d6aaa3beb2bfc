"""Pickles are read, never loaded; what they would run is named."""

from __future__ import annotations

import collections
import pickle
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploytk.errors import InputError
from deploytk.graphs import pickles


class Runs:
    """Something whose pickle calls a function."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self) -> tuple[object, ...]:
        return self.call


def checkpoint(path: Path, value: object, protocol: int = 2) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(value, protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_the_globals_of_every_protocol_are_found(tmp_path: Path, protocol: int) -> None:
    path = checkpoint(tmp_path / "m.pt", {"x": Runs(eval, ("1",))}, protocol)
    assert pickles.look(path).foreign in [("builtins.eval",), ("__builtin__.eval",)]
    with pytest.raises(InputError, match=r"refused, --trust or not: loading it would run \w+\.eval"):
        pickles.require_loadable(path, trust=True)


def test_a_stream_of_names_put_together_on_the_stack_is_seen_through(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x8c\x05other\x940h\x00h\x01\x93.")
    assert pickles.look(path).globals == ("os.system",)


def test_a_name_that_is_computed_is_foreign(tmp_path: Path) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x04K\x01K\x02\x93.")
    assert pickles.look(path).foreign == ("a name that is computed",)


@pytest.mark.parametrize(
    "name", ["torch.hub load", "ultralytics.nn.tasks parse_model", "numpy.testing._private.utils runstring"]
)
def test_functions_of_trusted_libraries_are_refused_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(b"\x80\x02c" + name.replace(" ", "\n").encode() + b"\n.")
    assert pickles.look(path).foreign == (name.replace(" ", "."),)


def test_whose_checkpoint_it_is(tmp_path: Path) -> None:
    ordered = collections.OrderedDict(a=1)
    ours = checkpoint(tmp_path / "a.pt", {"format": pickles.DETECTOR, "state_dict": ordered})
    assert pickles.checkpoint_kind(ours) == "deploytk-detector"
    assert pickles.require_loadable(ours, trust=False) == "deploytk-detector"
    assert pickles.checkpoint_kind(checkpoint(tmp_path / "b.pt", ordered)) == "state_dict"
    assert pickles.checkpoint_kind(checkpoint(tmp_path / "c.pt", [1, 2])) == "other"


def test_a_foreign_ultralytics_checkpoint_needs_trust(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n.")
    with pytest.raises(InputError, match="only with --trust"):
        pickles.require_loadable(path, trust=False)
    assert pickles.require_loadable(path, trust=True) == "ultralytics"


def test_real_malicious_pickles_are_refused_even_with_trust(data_dir: Path) -> None:
    bad = sorted((data_dir / "bad" / "picklescan").glob("*mal*"))
    assert len(bad) == 7
    for path in bad:
        with pytest.raises(InputError, match="refused, --trust or not"):
            pickles.require_loadable(path, trust=True)


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, 400), noise=st.binary(max_size=20))
def test_a_damaged_stream_is_read_without_an_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes
) -> None:
    whole = pickle.dumps({"a": [1, 2.5, "x", b"y", (None, True)], "b": Runs(eval, ("1",)), "c": {"d": 10**30}}, 4)
    path = tmp_path_factory.mktemp("cut") / "m.pkl"
    path.write_bytes(whole[:cut] + noise)
    found = pickles.look(path)
    if cut >= len(whole):
        assert found.foreign[:1] == ("builtins.eval",)
    with pytest.raises(InputError):
        pickles.require_loadable(path, trust=True)
