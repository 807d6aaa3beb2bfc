"""The main job for real, small: draw data, train, export to ONNX and the NPU, check, bench, judge, resume."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

SMALL = ("--epochs", "1", "--imgsz", "64", "--batch", "8", "--batches", "1,4", "--time-limit", "20")


def deploytk(*args: str | Path, expect: int | None = None) -> dict[str, Any]:
    argv = [sys.executable, "-m", "deploytk.cli.main", *map(str, args), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    assert told["exit_code"] == done.returncode
    if expect is not None:
        assert done.returncode == expect, (told["reasons"], done.stderr)
    return told


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "data"
    deploytk("demo-data", out, "--train", "16", "--val", "8", "--imgsz", "96", expect=0)
    return out / "data.yaml"


@pytest.fixture(scope="module")
def ran(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("ran") / "run"
    # One epoch on 16 drawn images learns nothing: the pipeline must end, and must not call that a pass.
    return out, deploytk("run", "npu-level4-leaky", "--data", data, *SMALL, "--out", out)


def test_an_untrained_model_is_inconclusive_not_a_pass(ran: tuple[Path, dict[str, Any]]) -> None:
    _, told = ran
    assert (told["verdict"], told["exit_code"]) == ("inconclusive", 4)
    assert any("loss of accuracy cannot be seen" in r for r in told["reasons"])


def test_a_training_that_learned_nothing_is_inconclusive_too(ran: tuple[Path, dict[str, Any]], data: Path) -> None:
    told = deploytk("train", "--profile", "npu-level4-leaky", "--data", data, *SMALL[:6], "--out", ran[0], expect=4)
    assert told["sections"]["skipped"] == {"train": True}
    assert "has not learned to find anything" in told["reasons"][0]


def test_leaky_relu_is_int8_inside_one_npu_segment(ran: tuple[Path, dict[str, Any]]) -> None:
    npu = ran[1]["sections"]["npu"]
    assert (npu["compatibility"], npu["segments"], npu["cpu_ops"], npu["grade"]) == (100.0, 1, 0, "full")
    assert 80 < npu["ethos_score"] < 100  # LeakyReLU costs cycles on U55, but is on the NPU
    assert npu["kind"] == "estimated"
    assert npu["time_ms"] > 0


def test_the_contract_holds_in_every_graph_on_the_way(ran: tuple[Path, dict[str, Any]]) -> None:
    stages = {s["where"]: s for s in ran[1]["sections"]["contract"]["stages"]}
    assert {"onnx", "litert fp32", "litert int8"} <= set(stages)
    assert all(s["ok"] for s in stages.values())
    assert {k for kinds in stages["onnx"]["sections"].values() for k in kinds} == {"leaky_relu"}


def test_float_conversions_do_what_the_trained_model_does(ran: tuple[Path, dict[str, Any]]) -> None:
    rows = {(r["what"], r["metric"]): r for r in ran[1]["sections"]["parity"]}
    for name in ("model.onnx", "model_fp32.tflite"):
        assert rows[name, "SQNR of boxes, dB"]["converted"] > 40
        assert rows[name, "SQNR of scores, dB"]["converted"] > 40


def test_every_number_is_keyed_to_a_file_of_the_chain(ran: tuple[Path, dict[str, Any]]) -> None:
    _, told = ran
    chain = {a["sha256"] for a in told["chain"]}
    assert {m["artifact_sha256"] for m in told["measurements"]} <= chain
    assert {m["kind"] for m in told["measurements"]} == {"measured", "estimated"}
    assert all(set(a["made_from"]) <= chain for a in told["chain"])


def test_the_report_stands_beside_and_needs_no_network(ran: tuple[Path, dict[str, Any]]) -> None:
    out, told = ran
    assert json.loads((out / "report.json").read_text())["verdict"] == told["verdict"]
    html = (out / "report.html").read_text()
    assert "inconclusive" in html.lower()
    assert "<script src" not in html
    assert 'src="http' not in html
    assert (out / "report.md").is_file()


def test_running_again_skips_everything_and_says_the_same(ran: tuple[Path, dict[str, Any]], data: Path) -> None:
    out, told = ran
    before = {p: p.stat().st_mtime_ns for p in out.rglob("model*") if p.suffix in {".pt", ".onnx", ".tflite"}}
    again = deploytk("run", "npu-level4-leaky", "--data", data, *SMALL, "--out", out)
    assert all(again["sections"]["skipped"].values())
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert again["reasons"] == told["reasons"]
    assert [m["samples_ms"] for m in again["measurements"]] == [m["samples_ms"] for m in told["measurements"]]


def test_a_changed_setting_makes_only_what_depends_on_it(ran: tuple[Path, dict[str, Any]], data: Path) -> None:
    out, _ = ran
    told = deploytk("run", "npu-level4-leaky", "--data", data, *SMALL, "--npu", "ethos-u65-512", "--out", out)
    skipped = told["sections"]["skipped"]
    assert skipped["model_int8.tflite"]
    assert not skipped["model_int8_vela.tflite"]
    assert told["sections"]["npu"]["accelerator"] == "ethos-u65-512"


def test_the_openvino_ir_does_what_the_trained_model_does(ran: tuple[Path, dict[str, Any]]) -> None:
    out, _ = ran
    for precision in ("fp32", "fp16"):
        told = deploytk("export", out, "--target", "openvino", "--precision", precision, expect=4)
        name = f"model_{precision}.xml"
        rows = {r["metric"]: r["converted"] for r in told["sections"]["parity"] if r["what"] == name}
        # OpenVINO computes in bfloat16 where the CPU has it.
        assert min(rows["SQNR of boxes, dB"], rows["SQNR of scores, dB"]) > 25
        assert (Path(told["artifact"]["path"]).name, told["artifact"]["precision"]) == (name, precision)
    assert deploytk("export", out, "--target", "openvino", "--precision", "fp16")["sections"]["skipped"][name]
    (out / "export" / "openvino" / "model_fp16.bin").write_bytes(b"changed")
    again = deploytk("export", out, "--target", "openvino", "--precision", "fp16", expect=4)
    assert not again["sections"]["skipped"][name]


def test_another_image_size_is_made_and_proved_beside_the_trained_one(ran: tuple[Path, dict[str, Any]]) -> None:
    out, _ = ran
    told = deploytk("export", out, "--target", "onnx", "--imgsz", "96")
    assert told["exit_code"] in (0, 4)
    assert told["artifact"]["path"].endswith("onnx-96/model.onnx")
    assert all(p["ok"] for p in told["sections"]["parity"])
    assert (out / "export" / "onnx" / "model.onnx").is_file()
    same = deploytk("parity", out / "model.pt", out / "export" / "onnx-96" / "model.onnx", "--out", out / "parity")
    assert (same["exit_code"], same["sections"]["agreement"]["rows"][0]["size"]) == (0, [96, 96])


def test_check_of_our_own_files(ran: tuple[Path, dict[str, Any]]) -> None:
    out, _ = ran
    assert deploytk("check", out / "model.pt", "--profile", "npu-level4-leaky", expect=0)["verdict"] == "pass"
    wrong = deploytk("check", out / "model.pt", "--profile", "npu-level4-relu", expect=5)
    assert "leaky_relu" in " ".join(wrong["reasons"])
    assert deploytk("check", out / "export" / "npu" / "model_int8.tflite", expect=0)["sections"]["npu"]["segments"] == 1
    compiled = next((out / "export" / "npu").rglob("*_vela.tflite"))
    assert "already compiled" in " ".join(deploytk("check", compiled, expect=2)["reasons"])


def test_bench_of_the_compiled_model_is_an_estimate(ran: tuple[Path, dict[str, Any]]) -> None:
    compiled = next((ran[0] / "export" / "npu").rglob("*_vela.tflite"))
    told = deploytk("bench", compiled, "--budget", "50ms", expect=0)
    assert {m["kind"] for m in told["measurements"]} == {"estimated"}
    assert deploytk("bench", compiled, "--budget", "0.01ms", expect=3)["verdict"] == "fail"


def test_the_graph_with_all_inside_has_its_lineage_and_is_benched_from_photos_on(
    ran: tuple[Path, dict[str, Any]], data: Path
) -> None:
    told = deploytk("export", ran[0], "--target", "onnx", "--preprocess", "letterbox", "--nms", "in", expect=4)
    chain = {Path(a["path"]).name: a for a in told["chain"]}
    deployed = chain["model_deploy.onnx"]
    assert deployed["made_from"] == [chain["model.onnx"]["sha256"]]
    assert deployed["settings"]["same_boxes"]["lost"] == 0
    # The untrained detector finds nothing in any photo: zeros, whatever the photo, are no result to be timed.
    timed = deploytk(
        "bench", deployed["path"], "--boundary", "end_to_end", "--images", data, "--batches", "1,2",
        "--budget", "5s", "--time-limit", "5", expect=3,
    )  # fmt: skip
    assert [m["status"] for m in timed["measurements"]] == ["bad_output", "fixed_batch"]
    assert "All outputs are the same" in timed["measurements"][0]["reason"]


def test_the_pickled_checkpoint_is_refused_without_trust(ran: tuple[Path, dict[str, Any]]) -> None:
    told = deploytk("check", ran[0] / "weights" / "best.pt", expect=2)
    assert "--trust" in " ".join(told["reasons"])


def test_a_killed_run_leaves_nothing_half_written_and_goes_on(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    argv = [sys.executable, "-m", "deploytk.cli.main", "run", "npu-level4-relu", "--target", "onnx"]
    argv += ["--data", str(data), *SMALL, "--out", str(out), "--json"]
    for seconds in (4, 11):
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for path in out.rglob("*.json"):
            if path.name != "args.json":
                json.loads(path.read_text())  # whole, or not there
    told = deploytk(*argv[3:-1])
    assert told["exit_code"] in (0, 4)
    assert not list(out.rglob(".*.tmp*"))


def test_a_changed_artifact_is_made_again(ran: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(ran[0], out)
    onnx = out / "export" / "onnx" / "model.onnx"
    onnx.write_bytes(onnx.read_bytes()[:-100])
    told = deploytk("export", out, "--target", "onnx")
    assert told["sections"]["skipped"] == {"model.onnx": False}
    assert told["exit_code"] == 4
