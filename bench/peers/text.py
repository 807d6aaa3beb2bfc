"""A text model of KoBART's size as torch, float ONNX and INT8 ONNX: answers in turns in one run, sizes, peak memory.

python bench/peers/text.py --data PAIRS.csv [--batches 1,8] [--tokens 16] [--seconds 240]  # bench/results/text.*

The weights are drawn: what is measured does not depend on what they say, and no hub is asked. The network is that of
the shipped profile `kobart`, the tokenizer is trained on the data. INT8 is what the other two are compared with.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from int8_ways import call
from results import keep, parser

from deploytk import profile_loading, usage
from deploytk.artifact import versions_of
from deploytk.budget import Budget
from deploytk.measurement import Measurement
from deploytk.stages import bench_text, export_text_steps, text_models
from deploytk.stages.bench_text import Asked
from deploytk.text import description, exporting, pairs

PROFILE, TEXTS = "kobart", 32
KINDS = {"int8": "onnx/int8", "torch": "model", "fp32": "onnx/fp32"}


def drawn(out: str, texts: list[str]) -> dict[str, Any]:
    """In a child: a network of the profile's size with drawn weights, and a tokenizer trained on `texts`."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from transformers import AutoModelForSeq2SeqLM, PreTrainedTokenizerFast

    from deploytk.backends.text import sources

    profile = profile_loading.load(PROFILE, {})
    assert profile.text is not None
    folder = Path(out)
    shutil.rmtree(folder, ignore_errors=True)
    made = ByteLevelBPETokenizer()
    special = ["<unk>", "</s>", "<mask>", "<pad>"]  # their ids are those of the profile
    made.train_from_iterator(texts, vocab_size=profile.text.config["vocab_size"], special_tokens=special)
    names = {"unk_token": "<unk>", "eos_token": "</s>", "bos_token": "</s>", "pad_token": "<pad>"}
    torch.manual_seed(0)
    network = AutoModelForSeq2SeqLM.from_config(sources.config_of(profile.text))
    network.save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, **names).save_pretrained(folder)
    settings = {**description.Description.settings_of(profile.text), "max_source": 128}
    description.write(folder, "seq2seq", "torch", "fp32", settings)
    return {"parameters": sum(p.numel() for p in network.parameters()), "peak_rss_mb": usage.peak_rss_mb()}


def exported(source: str, out: str) -> dict[str, Any]:
    """In a child: the float ONNX."""
    exporting.to_onnx(Path(source), Path(out), 17)
    return {"peak_rss_mb": usage.peak_rss_mb()}


def quantized(source: str, out: str) -> dict[str, Any]:
    """In a child: INT8 as `deploytk export` makes it on this CPU."""
    export_text_steps.to_int8(source, out)
    return {"peak_rss_mb": usage.peak_rss_mb()}


def bytes_of(folder: Path) -> int:
    """What the weights of a model take on disk."""
    kinds = (".safetensors", ".onnx", ".onnx_data")
    return sum(part.stat().st_size for part in folder.iterdir() if part.suffix in kinds)


def main() -> None:
    """Make the three, compare their answers, measure them in turns, write the results."""
    options = _options()
    found = pairs.drawn(pairs.of_file(options.data, options.column, options.column), TEXTS)
    texts = [pair.source for pair in found]
    folder, logs = options.work, options.work / "logs"
    everything = [pair.source for pair in pairs.of_file(options.data, options.column, options.column)]
    paths = {kind: folder / place for kind, place in KINDS.items()}
    for part in ("onnx",):
        shutil.rmtree(folder / part, ignore_errors=True)
    made = {
        "torch": call("text:drawn", "draw", logs, out=str(paths["torch"]), texts=everything),
        "fp32": call("text:exported", "export", logs, source=str(paths["torch"]), out=str(paths["fp32"])),
        "int8": call("text:quantized", "quantize", logs, source=str(paths["fp32"]), out=str(paths["int8"])),
    }
    proofs = {
        kind: call(
            "deploytk.stages.export_text_steps:proof",
            f"prove_{kind}",
            logs,
            source=str(paths["torch"]),
            model=str(paths[kind]),
            texts=texts[:8],
            targets=texts[:8],
        )
        for kind in ("fp32", "int8")
    }
    asked = Asked(
        data=options.data,
        source=options.column,
        samples=TEXTS,
        tokens=options.tokens,
        batches=options.batches,
        time_limit_s=options.seconds,
    )
    budget = Budget(latency_ms=60_000)
    report = bench_text.compare(list(paths.values()), asked, budget=budget, tolerance=0.05, out=folder / "bench")
    rows, ratios = _rows(report, paths), report.sections["ratio"]["rows"]
    sizes = {kind: bytes_of(path) for kind, path in paths.items()}
    keep(
        options.out,
        "text",
        sentence=_sentence(ratios, sizes, proofs, made),
        how=(
            f"BART of {made['torch']['parameters'] / 1e6:.0f} M drawn weights ({PROFILE}), {TEXTS} texts, "
            f"{options.tokens} tokens an answer, {options.seconds:g} s; each in a process of its own, in turns."
        ),
        rows=rows,
        versions=versions_of("torch", "transformers", "optimum-onnx", "onnxruntime"),
        ratios=ratios,
        sizes=sizes,
        making={kind: told["peak_rss_mb"] for kind, told in made.items()},
        identical={kind: proof["identical"] for kind, proof in proofs.items()},
        measurements=[_kept(m) for m in report.measurements],
    )


def _kept(m: Measurement) -> dict[str, Any]:
    """A measurement without the paths of this machine."""
    told = m.as_dict()
    details = {name: value for name, value in told["details"].items() if name != "inputs"}
    return {**{name: value for name, value in told.items() if name not in ("command", "log")}, "details": details}


def _rows(report: Any, paths: dict[str, Path]) -> list[dict[str, Any]]:
    by_sha = {text_models.artifact_of(bench_text.opened(path)).sha256: kind for kind, path in paths.items()}
    rows = []
    for m in report.measurements:
        if not m.samples_ms:
            rows.append({"model": by_sha[m.artifact_sha256], "batch": m.batch, "why": m.reason})
            continue
        told = bench_text.row(m)
        rows.append(
            {
                "model": by_sha[m.artifact_sha256],
                "batch": m.batch,
                "first token p50 ms": told["first_token_p50_ms"],
                "further token p50 ms": told["per_token_p50_ms"],
                "answer p50 ms": m.percentile_ms(50),
                "tokens/s": told["tokens_per_second"],
                "load s": told["load_s"],
                "peak MB": told["peak_rss_mb"],
                "n": told["n"],
            }
        )
    return rows


def _sentence(ratios: Any, sizes: dict[str, int], proofs: Any, made: Any) -> str:
    names = list(KINDS)[1:]
    told = [
        f"{names[i % len(names)]} takes {row['ratio']:.2f} times as long as INT8 at batch {row['batch']} "
        f"({row['low']:.2f} to {row['high']:.2f})"
        for i, row in enumerate(ratios)
        if "ratio" in row
    ]
    mb = {kind: size / 1e6 for kind, size in sizes.items()}
    making = ", ".join(f"{kind} {one['peak_rss_mb']:.0f}" for kind, one in made.items())
    return (
        f"{'; '.join(told)}. Of 8 greedy answers, {proofs['fp32']['different']} of them different, "
        f"{proofs['fp32']['identical']:.0%} are torch's in float ONNX and {proofs['int8']['identical']:.0%} in INT8; "
        f"the first token's scores are {proofs['fp32']['apart']:.1g} and {proofs['int8']['apart']:.1g} of their range "
        "apart. "
        f"INT8 is {mb['int8']:.0f} MB: {mb['torch'] / mb['int8']:.2f} times smaller than the checkpoint "
        f"({mb['torch']:.0f} MB) and {mb['fp32'] / mb['int8']:.2f} times smaller than the float ONNX ({mb['fp32']:.0f} "
        f"MB). Peak memory in making them, MB: {making}."
    )


def _options() -> argparse.Namespace:
    made = parser(__doc__.splitlines()[0], "text")
    made.add_argument("--data", type=Path, required=True, help="a table of texts")
    made.add_argument("--column", default="Q", help="its column")
    made.add_argument("--batches", type=lambda text: [int(n) for n in text.split(",")], default=[1, 8])
    made.add_argument("--tokens", type=int, default=16, help="of each answer")
    made.add_argument("--seconds", type=float, default=240.0, help="for all measurements")
    made.add_argument("--work", type=Path, default=Path("runs") / "text-size", help="where the models are made")
    return made.parse_args()


if __name__ == "__main__":
    main()
