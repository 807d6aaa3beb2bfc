"""Answers of a model behind an OpenAI-compatible endpoint, by httpx and tenacity; each answer is kept and asked once.

The key comes from an environment variable and goes into one header: it stands in no file, message or report.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import tenacity

from deploytk.errors import InputError
from deploytk.files import sha256_of_value, write_json
from deploytk.text.endpoint import Endpoint, require

#: A server that asks for a longer pause than this is not waited for.
_LONGEST_WAIT_S = 120.0
_LONGEST_REASON = 200
_HIDDEN = "[key]"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer, or the reason why there is none."""

    text: str | None = None
    reason: str = ""
    latency_s: float | None = None  # of the try that succeeded; None for one from the cache
    cached: bool = False
    cut: bool = False  # it was longer than max_tokens
    tries: int = 0
    prompt_tokens: int | None = None  # as the endpoint counts them
    answer_tokens: int | None = None


def answers(
    endpoint: Endpoint, prompts: Sequence[str], cache: Path, told: Callable[[int], None] = lambda _done: None
) -> tuple[Answer, ...]:
    """The answer to each prompt, in their order; one that fails is a reason and stops no other.

    Args:
        cache: folder with one file per answer; what is in it is not asked again.
        told: called with the number of prompts that are done.

    Raises:
        InputError: see `require`.
    """
    key = require(endpoint)
    cache.mkdir(parents=True, exist_ok=True)
    return tuple(asyncio.run(_all(endpoint, prompts, cache, key, told)))


def only_model(endpoint: Endpoint) -> str:
    """The name of the one model that an endpoint has (GET URL/models).

    Raises:
        InputError: it has several, or does not tell; see also `require`.
    """
    key = require(endpoint)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    where = f"{endpoint.url.rstrip('/')}/models"
    try:
        response = httpx.get(where, headers=headers, timeout=endpoint.timeout_s, trust_env=not endpoint.loopback)
        told = json.loads(_without(key, response.text)) if response.status_code == 200 else None
        names = [str(each["id"]) for each in told["data"]] if told else []
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        names = []
    if len(names) == 1:
        return names[0]
    has = f"it has {', '.join(names[:10])}" if names else "it does not tell which it has"
    raise InputError(f"--baseline-api: name one of its models with --api-model NAME ({has})")


async def _all(
    endpoint: Endpoint, prompts: Sequence[str], cache: Path, key: str | None, told: Callable[[int], None]
) -> list[Answer]:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    gate, done = asyncio.Semaphore(endpoint.concurrency), 0
    # A proxy of the environment is for other machines.
    async with httpx.AsyncClient(
        headers=headers, timeout=endpoint.timeout_s, trust_env=not endpoint.loopback, follow_redirects=False
    ) as client:

        async def one(prompt: str) -> Answer:
            nonlocal done
            file = cache / f"{_name(endpoint, prompt)}.json"
            found = _kept(file)
            if found is None:
                async with gate:
                    found = await _fresh(client, endpoint, prompt, key)
                if found.text is not None:
                    write_json(file, _to_keep(found))
            done += 1
            told(done)
            return found

        return await asyncio.gather(*(one(prompt) for prompt in prompts))


async def _fresh(client: httpx.AsyncClient, endpoint: Endpoint, prompt: str, key: str | None) -> Answer:
    """The answer to one prompt, asked again while there is hope."""
    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, _Failed) and error.hope),
        wait=_Wait(endpoint.backoff_s),
        stop=tenacity.stop_after_attempt(endpoint.tries),
        reraise=True,
    )
    tries = 0

    async def attempt() -> Answer:
        nonlocal tries
        tries += 1
        return await _asked(client, endpoint, prompt, key)

    try:
        return replace(await retrying(attempt), tries=tries)
    except _Failed as error:
        after = f" ({tries} tries)" if tries > 1 else ""
        return Answer(reason=f"{error}{after}", tries=tries)


async def _asked(client: httpx.AsyncClient, endpoint: Endpoint, prompt: str, key: str | None) -> Answer:
    """One try."""
    messages = [{"role": "user", "content": prompt}]
    body = {"model": endpoint.model, "messages": messages, **endpoint.settings}
    began = time.perf_counter()
    try:
        # httpx has a limit for each read, none for a server that sends a byte now and then.
        async with asyncio.timeout(endpoint.timeout_s):
            response = await client.post(endpoint.asked, json=body)
    except (TimeoutError, httpx.TimeoutException):
        raise _Failed(f"no answer in {endpoint.timeout_s:g} s", hope=True) from None
    except httpx.TransportError as error:
        raise _Failed(f"no connection: {type(error).__name__}", hope=True) from None
    except httpx.HTTPError as error:
        raise _Failed(f"no answer: {type(error).__name__}", hope=False) from None
    took = time.perf_counter() - began
    said = _without(key, response.text)
    if response.status_code != 200:
        raise _refused(response.status_code, said, response.headers.get("retry-after"), endpoint)
    return replace(_read(said), latency_s=took)


def _refused(code: int, said: str, retry_after: str | None, endpoint: Endpoint) -> _Failed:
    if code in (401, 403):  # what such a server says may have a part of the key in it
        return _Failed(f"{code}: the key is not accepted (from ${endpoint.key_env})", hope=False)
    wait_s = _retry_after(retry_after)
    if wait_s > _LONGEST_WAIT_S:
        return _Failed(f"{code}: the server asks for a pause of {wait_s:.0f} s", hope=False)
    short = " ".join(said.split())[:_LONGEST_REASON]
    return _Failed(f"{code}: {short}".rstrip(": "), hope=code == 429 or code >= 500, wait_s=wait_s)


def _read(said: str) -> Answer:
    try:
        told = json.loads(said)
        choice = told["choices"][0]
        text, ended = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise _Failed("the answer is no chat completion (no choices[0].message.content)", hope=False) from None
    if not isinstance(text, str) or not text.strip():
        raise _Failed(f"the answer has no text (finish_reason: {ended})", hope=False)
    usage = told.get("usage")
    return Answer(
        # Half a surrogate pair, which JSON can say, is in no UTF-8 file.
        text=text.strip().encode(errors="replace").decode(),
        cut=ended == "length",
        prompt_tokens=_count(usage, "prompt_tokens"),
        answer_tokens=_count(usage, "completion_tokens"),
    )


def _count(usage: Any, name: str) -> int | None:
    told = usage.get(name) if isinstance(usage, Mapping) else None
    return told if isinstance(told, int) and not isinstance(told, bool) and told >= 0 else None


class _Failed(Exception):
    """One try had no answer."""

    def __init__(self, message: str, *, hope: bool, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.hope, self.wait_s = hope, wait_s


class _Wait(tenacity.wait.wait_base):
    """How long to wait: as the server says, and no less than an exponential pause of random length."""

    def __init__(self, first_s: float) -> None:
        self._own = tenacity.wait_random_exponential(multiplier=first_s, max=30)

    def __call__(self, retry_state: tenacity.RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        return max(self._own(retry_state), error.wait_s if isinstance(error, _Failed) else 0.0)


def _retry_after(said: str | None) -> float:
    """Seconds of a Retry-After header: a number, or a date."""
    if not said:
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", said.strip()):
        return float(said)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(said).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def _name(endpoint: Endpoint, prompt: str) -> str:
    return sha256_of_value([endpoint.asked, endpoint.model, prompt, endpoint.settings])


def _to_keep(answer: Answer) -> dict[str, Any]:
    return {name: getattr(answer, name) for name in _KEPT}


_KEPT = ("text", "cut", "prompt_tokens", "answer_tokens")


def _kept(file: Path) -> Answer | None:
    """The answer in a file of the cache; None where there is none that can be used."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(told["text"], str):
            return None
        return Answer(
            text=told["text"],
            cached=True,
            cut=bool(told["cut"]),
            prompt_tokens=_count(told, "prompt_tokens"),
            answer_tokens=_count(told, "answer_tokens"),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _without(key: str | None, text: str) -> str:
    """What a server says, without the key: it may repeat what it was sent."""
    return text.replace(key, _HIDDEN) if key else text
