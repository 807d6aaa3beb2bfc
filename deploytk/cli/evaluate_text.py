"""The options of `deploytk evaluate` that a text model has."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploytk.cli.common import progress
from deploytk.cli.options import Number
from deploytk.errors import InputError

if TYPE_CHECKING:
    from deploytk.report import Report
    from deploytk.stages.text_systems import Baseline

OPTIONS = (
    click.option("--samples", type=click.IntRange(1), help="Of a text model: pairs that are drawn (default 50)."),
    click.option("--seed", type=int, help="Of the draw (default 0)."),
    click.option("--source-column", help="Of a text model: the column of --data that it reads."),
    click.option("--target-column", help="Of a text model: the column that says what it should answer."),
    click.option(
        "--rouge",
        type=click.Choice(["whitespace", "character", "model"]),
        help="What ROUGE counts: words, characters or the model's own tokens (default: as it was trained).",
    ),
    click.option("--baseline-api", metavar="URL", help="Compare with an OpenAI-compatible endpoint: https://HOST/v1."),
    click.option("--api-model", metavar="NAME", help="The endpoint's model (default: the one it has)."),
    click.option("--api-prompt", metavar="TEXT", help="What the endpoint is told; {source} stands for the text."),
    click.option(
        "--api-key-env", metavar="NAME", help="The environment variable that has the key (default OPENAI_API_KEY)."
    ),
    click.option("--api-max-tokens", type=click.IntRange(1), help="Tokens of one of its answers (default 512)."),
    click.option("--api-concurrency", type=click.IntRange(1), help="Requests at the same time (default 4)."),
    click.option("--api-timeout", type=Number(0, min_open=True), metavar="S", help="Of one try (default 60)."),
    click.option(
        "--api-cache",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder with its answers, each asked for once (default ~/.cache/deploytk/answers).",
    ),
    click.option("--price-in", type=Number(0), help="Price of a million tokens of prompts."),
    click.option("--price-out", type=Number(0), help="Price of a million tokens of answers."),
)
_NAMES = (
    *("samples", "seed", "source_column", "target_column", "rouge", "baseline_api", "api_model", "api_prompt"),
    *("api_key_env", "api_max_tokens", "api_concurrency", "api_timeout", "api_cache", "price_in", "price_out"),
)
_OF_ENDPOINT = ("api_", "price_")


def refuse(values: Mapping[str, Any]) -> None:
    """Raise InputError where an option of text models is given for a pipeline."""
    for name in _NAMES:
        if values[name] is not None:
            raise InputError(f"--{name.replace('_', '-')} is for text models; this is a pipeline, or no model at all")


def run_text(
    model: Path,
    data: Path | None,
    against: Sequence[Path],
    max_drop: float,
    out: Path | None,
    values: Mapping[str, Any],
) -> Report:
    """The report of a text model.

    Raises:
        InputError: the options do not fit each other.
    """
    from deploytk.stages.evaluate_text import evaluate

    with progress("evaluate") as listen:
        return evaluate(
            model,
            data,
            against=against,
            baseline=_baseline(values),
            prompt=values["api_prompt"],
            samples=values["samples"] or 50,
            seed=values["seed"] or 0,
            source=values["source_column"],
            target=values["target_column"],
            tokenizer=values["rouge"],
            max_drop=max_drop,
            out=out,
            listen=listen,
        )


def _baseline(values: Mapping[str, Any]) -> Baseline | None:
    from deploytk.plugins import import_or_explain
    from deploytk.stages.text_systems import Baseline
    from deploytk.text.endpoint import KEY_ENV, Endpoint

    if values["baseline_api"] is None:
        for name in _NAMES:
            if name.startswith(_OF_ENDPOINT) and values[name] is not None:
                raise InputError(f"--{name.replace('_', '-')} is for an endpoint; name it with --baseline-api URL")
        return None
    if (values["price_in"] is None) != (values["price_out"] is None):
        raise InputError("--price-in and --price-out belong together: both kinds of tokens are paid for")
    given = {
        "max_tokens": values["api_max_tokens"],
        "concurrency": values["api_concurrency"],
        "timeout_s": values["api_timeout"],
    }
    endpoint = Endpoint(
        url=values["baseline_api"],
        model=values["api_model"] or "",
        key_env=values["api_key_env"] or KEY_ENV,
        **{name: value for name, value in given.items() if value is not None},
    )
    if not endpoint.model:
        endpoint = replace(endpoint, model=import_or_explain("deploytk.text.remote").only_model(endpoint))
    cache = values["api_cache"] or _cache()
    return Baseline(endpoint=endpoint, cache=cache, price_in=values["price_in"], price_out=values["price_out"])


def _cache() -> Path:
    """Where answers are kept; $XDG_CACHE_HOME is honoured."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "deploytk" / "answers"
