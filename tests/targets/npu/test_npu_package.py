"""The package as the stages see it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deploytk import plugins


def test_the_steps_are_offered_by_name() -> None:
    target = plugins.load("targets", "npu")
    assert target.SOURCE == "torch"
    assert "ethos-u-vela" in target.DISTRIBUTIONS
    assert callable(target.assess)
    assert callable(target.predictor)
    with pytest.raises(AttributeError):
        _ = target.compile


def test_importing_the_package_imports_no_library() -> None:
    code = (
        "import sys; from deploytk import plugins; plugins.load('targets', 'npu'); heavy = {'torch', 'litert_torch', "
        "'ethosu', 'ai_edge_litert', 'ai_edge_quantizer', 'numpy'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
