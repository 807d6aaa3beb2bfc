"""Make a trained text model ready for ONNX Runtime or OpenVINO, float or INT8, and prove that it answers the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from deploytk import ratio, worker
from deploytk.artifact import Artifact, finished, stage_key, versions_of
from deploytk.budget import Verdict
from deploytk.errors import EXIT_PARITY, EXIT_PASS, InputError
from deploytk.files import size_of
from deploytk.measurement import Machine
from deploytk.profile import Profile
from deploytk.report import Report
from deploytk.stages import export_text_steps
from deploytk.stages import proof as kept_proofs
from deploytk.stages.run_folder import RunFolder
from deploytk.text import pairs
from deploytk.worker import Listener

_STEPS = "deploytk.stages.export_text_steps"
_DISTRIBUTIONS = {
    "onnx": ("deploytk", "optimum-onnx", "transformers", "onnxruntime", "torch"),
    "openvino": ("deploytk", "optimum-intel", "transformers", "openvino", "nncf", "torch"),
}
#: target -> what makes the float model, and the INT8 of it.
_MAKERS = {"onnx": ("to_onnx", "to_int8"), "openvino": ("to_openvino", "to_openvino_int8")}
_NAMES = {"onnx": "ONNX", "openvino": "OpenVINO"}
#: Tokens of each answer that is timed.
_TOKENS = 16
#: Answers of float models that may differ: a tie between two tokens falls as the last bit of a sum says.
_IDENTICAL = 0.98
#: Of the range of a float model's scores; OpenVINO may compute in bfloat16.
_APART = 0.05


def require(profile: Profile) -> str:
    """The precision of what is made.

    Raises:
        InputError: the target, or the precision, is not for text models.
    """
    export = profile.export
    if export.target not in _MAKERS:
        targets = " or ".join(_MAKERS)
        raise InputError(f"the target {export.target} is not for text models: use --target {targets}")
    precision = export.precision or "fp32"
    if precision not in ("fp32", "int8"):
        raise InputError(f"text models are exported in fp32 or int8, not {precision}; choose --precision fp32 or int8")
    return precision


def export(run: RunFolder, profile: Profile, listen: Listener | None = None) -> Report:
    """The report of the float model, and with precision int8 of the INT8 made of it.

    Raises:
        InputError: a target or precision that is not for text models, no data, no trained model.
        StepFailed: the exporter crashed or ran out of time.
    """
    precision = require(profile)
    with run.alone():
        return _Export(run, profile, listen).report(precision)


class _Export:
    def __init__(self, run: RunFolder, profile: Profile, listen: Listener | None) -> None:
        self.run, self.profile, self.listen = run, profile, listen
        self.source = Artifact.load(run.model)
        assert profile.text is not None
        some = pairs.drawn(pairs.read(profile).val, profile.text.score)
        self.digest = pairs.digest(some)
        self.texts, self.targets = [p.source for p in some], [p.target for p in some]
        self.target = profile.export.target
        self.versions = versions_of(*_DISTRIBUTIONS[self.target])
        self.skipped: dict[str, bool] = {}
        self.reasons: list[str] = []

    def report(self, precision: str) -> Report:
        """Make, prove and judge."""
        to_float, to_int8 = _MAKERS[self.target]
        settings = {"opset": self.profile.export.opset} if self.target == "onnx" else {}
        chain = [self.source, self._made("fp32", self.source, to_float, **settings)]
        rows = {"fp32": self._proved(chain[1])}
        failed = self._float_differs(rows["fp32"])
        if precision == "int8" and not failed:
            chain.append(self._made("int8", chain[1], to_int8))
            rows["int8"] = self._proved(chain[2])
            speed = self._speed(chain[1], chain[2])
            rows["int8"]["speed"] = speed
            failed = self._int8_is_worse(rows["int8"], speed)
        rows = {
            name: {**row, "target": _NAMES[self.target], "sizes": self._sizes(chain, i)}
            for i, (name, row) in enumerate(rows.items(), 1)
        }
        verdict = Verdict(status="fail" if failed else "pass", reasons=tuple(self.reasons))
        return Report(
            command="export",
            title=self.profile.name,
            verdict=verdict,
            exit_code=EXIT_PARITY if failed else EXIT_PASS,
            artifact=chain[-1],
            chain=tuple(chain),
            machine=Machine.this(),
            versions=self.versions,
            sections={"text_export": rows, "skipped": self.skipped},
        )

    def _call(self, function: str, name: str, **kwargs: Any) -> Any:
        timeout_s = self.profile.export.timeout_s
        return worker.call(
            f"{_STEPS}:{function}", kwargs, logs=self.run.logs, name=name, timeout_s=timeout_s, listen=self.listen
        )

    def _made(self, precision: str, source: Artifact, function: str, **settings: Any) -> Artifact:
        out = self.run.exported(self.target) / precision
        key = stage_key(function, [source.sha256], settings, self.versions)
        kept = finished(out, key)
        self.skipped[f"text {precision}"] = kept is not None
        if kept is not None:
            return kept
        self._call(function, f"export_{precision}", source=str(source.path), out=str(out), **settings)
        return Artifact.record(
            out,
            format=f"{self.target}-text",
            precision=precision,
            made_by="export" if precision == "fp32" else "quantize",
            key=key,
            made_from=(source,),
            settings=settings,
            versions=self.versions,
        )

    def _proved(self, made: Artifact) -> dict[str, Any]:
        """The answers beside the trained model's, kept with the model that they are of."""
        kept = made.settings.get("proof", {})
        same = kept.get("digest") == self.digest and kept.get("source") == self.source.sha256
        if same and "apart" in kept["found"]:
            return dict(kept["found"])
        found = self._call(
            "proof",
            f"prove_{made.precision}",
            source=str(self.source.path),
            model=str(made.path),
            texts=self.texts,
            targets=self.targets,
        )
        kept_proofs.kept(made, proof={"digest": self.digest, "source": self.source.sha256, "found": found})
        return dict(found)

    def _float_differs(self, row: dict[str, Any]) -> bool:
        share = f"{row['identical']:.1%} of {row['samples']} greedy answers ({row['different']} different)"
        scores = f"the first token's scores are {row['apart']:.1g} of their range apart at most"
        told = f"{_NAMES[self.target]} fp32: {share} are those of the trained model; {scores}"
        if row["apart"] > _APART:
            self.reasons.append(f"{told}, more than {_APART:g}")
            return True
        if row["identical"] >= _IDENTICAL:
            self.reasons.append(told)
            return False
        first = row["first"]
        said = f"{first['text']!r}: {first['trained']!r} became {first['converted']!r}"
        self.reasons.append(f"{told}; fewer than {_IDENTICAL:.0%} are the same, the first that differs: {said}")
        return True

    def _int8_is_worse(self, row: dict[str, Any], speed: dict[str, Any]) -> bool:
        lost = row["change"]["rouge1"]["mean"]
        allowed = self.profile.budget.max_accuracy_drop
        self.reasons.append(
            f"INT8: {row['identical']:.1%} identical answers; ROUGE-1 ({row['tokenizer']}) "
            f"{row['converted']['rouge1']:.3f}, {lost:+.3f} against the trained model ({allowed:g} less is allowed); "
            f"the first token's scores {row['apart']:.1g} of their range apart at most"
        )
        low, high = speed["low"], speed["high"]
        self.reasons.append(
            f"INT8 takes {speed['ratio']:.2f} times as long as fp32 ({low:.2f} to {high:.2f}, {speed['rounds']} rounds)"
        )
        slower = low > 1
        assert self.profile.text is not None
        if slower and self.profile.text.tiny:
            self.reasons.append("slower than float, which is not judged: the network is a tiny one, to try all else")
            slower = False
        elif slower:
            self.reasons.append("INT8 is slower than float on this CPU: deploy the float model")
        return bool(lost < -allowed or slower)

    def _speed(self, one: Artifact, other: Artifact) -> dict[str, Any]:
        told = self._call(
            "speed", "speed_int8", one=str(one.path), other=str(other.path), texts=self.texts, tokens=_TOKENS
        )
        found = ratio.paired(told["one"], told["other"])
        seconds = {"fp32_s": told["one"], "int8_s": told["other"]}
        rounds = export_text_steps.ROUNDS
        return {
            "ratio": found.value,
            "low": found.low,
            "high": found.high,
            "rounds": rounds,
            "tokens": _TOKENS,
            **seconds,
        }

    def _sizes(self, chain: list[Artifact], at: int) -> dict[str, Any]:
        """Bytes of the weights' files, beside the checkpoint's and the float model's: two shares, each named."""
        mine, checkpoint, whole = (_weights(chain[i].path) for i in (at, 0, 1))
        return {
            "bytes": mine,
            "checkpoint_bytes": checkpoint,
            "of_checkpoint": round(mine / checkpoint, 3),
            "float_bytes": whole,
            "of_float": round(mine / whole, 3),
        }


def _weights(folder: Path) -> int:
    parts = [p for p in folder.rglob("*") if p.suffix in {".safetensors", ".onnx", ".onnx_data", ".bin"}]
    return sum(map(size_of, parts))
