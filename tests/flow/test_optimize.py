"""`deploytk optimize` for real, small: an untrained detector, two runtimes, a folder that works, and a second call."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from deploytk.artifact import Artifact
from deploytk.data import synthetic
from deploytk.profile import Profile
from deploytk.stages.run_folder import RunFolder

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of a run whose training taught nothing: what is searched is how to deploy it all the same."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("ultralytics")
    from deploytk.backends.ultralytics import checkpoint, network

    folder = RunFolder(tmp_path_factory.mktemp("optimize") / "run")
    data = synthetic.make_dataset(folder.path.parent / "data", train=8, val=2, imgsz=64)
    told = {"name": "small", "data": {"path": str(data)}, "train": {"imgsz": 64}}
    folder.save_profile(Profile.model_validate(told))
    torch.manual_seed(0)
    silu = dict.fromkeys(("backbone", "neck", "head"), "silu")
    model = network.build("yolov8", "n", len(synthetic.CLASSES), silu, 0.1)
    # Without statistics of images the activations fade from layer to layer, for bfloat16 to nothing.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.rand(8, 3, 64, 64))
        for branch in model.model[-1].cv3:
            branch[-1].bias.fill_(-3.0)  # the usual -11 is rounded to 0.06 by bfloat16, and with it each score by 6 %
    packed = checkpoint.pack(model, arch="yolov8", scale="n", imgsz=64, names=list(synthetic.CLASSES))
    checkpoint.write(packed, folder.model)
    Artifact.record(folder.model, format="pt", precision="fp32", made_by="train")
    return folder


def optimize(run: RunFolder, *args: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "deploytk.cli.main", "optimize", str(run.path), *args, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["exit_code"] == done.returncode
    return told


def test_a_search_ends_with_a_folder_that_works_and_the_same_again_finds_all_of_it(run: RunFolder) -> None:
    asked = ("--targets", "openvino", "--precisions", "fp32", "--threads", "1", "--budget", "1s")
    told = optimize(run, *asked)
    section = told["sections"]["optimize"]
    assert told["exit_code"] == 4, told["reasons"]  # it finds nothing, so a loss could not be seen
    assert [row["name"] for row in section["rows"]] == ["onnx fp32 64 px, 1 thread", "openvino fp32 64 px, 1 thread"]
    assert all(row["kind"] == "final" for row in section["rows"]), section["rows"]
    verdict = json.loads((run.path / "deploy" / "verdict.json").read_text())
    assert verdict["candidate"]["name"] == section["chosen"]
    assert section["deployed"]["example"]["images"] == 2
    again = optimize(run, *asked)["sections"]["optimize"]
    # What other processes disturbed is measured again: looks and the final round, never a model or a proof.
    anew = [name for name, found in again["skipped"].items() if not found]
    assert all(name == "final round" or name.startswith("look ") for name in anew)
