"""Answers of an endpoint: what is asked again and what is not, what is kept, and where the key never is."""

from __future__ import annotations

import email.utils
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, Reply, completion, serving

from deploytk.errors import InputError
from deploytk.text import endpoint, remote
from deploytk.text.endpoint import Endpoint

SECRET = "sk-loopback-0123456789"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)


def at(server: ChatServer, **more: Any) -> Endpoint:
    return Endpoint(url=server.url, model="m", **{"backoff_s": 0.01, "timeout_s": 10.0, **more})


def test_every_prompt_is_answered_in_its_order(tmp_path: Path) -> None:
    steps: list[int] = []
    with serving(lambda prompt, _n: completion(f" {prompt}! ")) as server:
        told = remote.answers(at(server, max_tokens=7), ["가", "나", "다"], tmp_path, steps.append)

    assert [each.text for each in told] == ["가!", "나!", "다!"]
    assert all(each.latency_s and each.latency_s > 0 and each.tries == 1 and not each.cached for each in told)
    assert (told[0].prompt_tokens, told[0].answer_tokens) == (10, 4)
    assert server.keys == [f"Bearer {SECRET}"] * 3
    assert {key: server.bodies[0][key] for key in ("model", "max_tokens", "temperature")} == {
        "model": "m",
        "max_tokens": 7,
        "temperature": 0,
    }
    assert steps == [1, 2, 3]


@pytest.mark.parametrize("code", [429, 500, 502, 503])
def test_a_busy_or_broken_server_is_asked_again(code: int, tmp_path: Path) -> None:
    with serving(lambda _p, n: completion("ok") if n == 2 else (code, {}, "busy")) as server:
        (told,) = remote.answers(at(server), ["a"], tmp_path)

    assert told.text == "ok" and told.tries == 3 and len(server.prompts) == 3


@pytest.mark.parametrize("code", [301, 400, 401, 403, 404, 422])
def test_a_refusal_is_not_asked_again(code: int, tmp_path: Path) -> None:
    with serving(lambda _p, _n: (code, {"Location": "/elsewhere"}, "no such model m")) as server:
        (told,) = remote.answers(at(server), ["a"], tmp_path)

    assert told.text is None and told.reason.startswith(f"{code}: ") and len(server.prompts) == 1
    assert ("key is not accepted" if code in (401, 403) else "no such model m") in told.reason
    assert not list(tmp_path.iterdir())


def test_after_its_tries_a_prompt_is_a_reason_and_the_others_are_answered(tmp_path: Path) -> None:
    with serving(lambda prompt, _n: (500, {}, "down") if prompt == "b" else completion(prompt)) as server:
        told = remote.answers(at(server, tries=3), ["a", "b", "c"], tmp_path)

    assert [each.text for each in told] == ["a", None, "c"]
    assert told[1].reason == "500: down (3 tries)" and server.prompts.count("b") == 3


def test_the_pause_that_a_server_asks_for_is_made(tmp_path: Path) -> None:
    times: list[float] = []

    def reply(_prompt: str, before: int) -> Reply:
        times.append(time.monotonic())
        return completion("ok") if before else (429, {"Retry-After": "0.6"}, "slow down")

    with serving(reply) as server:
        (told,) = remote.answers(at(server), ["a"], tmp_path)

    assert told.text == "ok" and times[1] - times[0] >= 0.6
    assert told.latency_s is not None and told.latency_s < 0.6  # the pause is not the answer's


def test_a_pause_too_long_is_not_made(tmp_path: Path) -> None:
    later = email.utils.formatdate(time.time() + 3600, usegmt=True)
    with serving(lambda _p, _n: (429, {"Retry-After": later}, "")) as server:
        (told,) = remote.answers(at(server), ["a"], tmp_path)

    assert "asks for a pause of 3" in told.reason and len(server.prompts) == 1


def test_a_server_that_hangs_is_given_up(tmp_path: Path) -> None:
    with serving(lambda prompt, _n: 1.5 if prompt == "slow" else completion("ok")) as server:
        told = remote.answers(at(server, timeout_s=0.2, tries=2), ["slow", "fast"], tmp_path)

    assert told[0].reason == "no answer in 0.2 s (2 tries)" and told[1].text == "ok"


def test_where_nothing_listens_there_is_a_reason(tmp_path: Path) -> None:
    with serving(lambda _p, _n: completion("ok")) as server:
        gone = at(server, tries=2)
    (told,) = remote.answers(gone, ["a"], tmp_path)

    assert told.reason == "no connection: ConnectError (2 tries)"


@pytest.mark.parametrize(
    "reply",
    [
        (200, {}, "<html>"),
        (200, {}, []),
        (200, {}, "[" * 100_000),
        (200, {}, {"choices": []}),
        (200, {}, {"choices": [{"message": None}]}),
        completion(None, ended="length"),
        completion("  "),
    ],
)
def test_an_answer_without_a_text_is_a_reason(reply: Reply, tmp_path: Path) -> None:
    with serving(lambda _p, _n: reply) as server:
        (told,) = remote.answers(at(server), ["a"], tmp_path)

    assert told.text is None and "the answer" in told.reason and len(server.prompts) == 1


@pytest.mark.parametrize("said", ["soon", "Mon, 01 Jan 0001 00:00:00 +2300", "-5", "1e9"])
def test_a_pause_that_cannot_be_read_is_our_own(said: str, tmp_path: Path) -> None:
    with serving(lambda _p, n: completion("ok") if n else (503, {"Retry-After": said}, "")) as server:
        assert remote.answers(at(server), ["a"], tmp_path)[0].text == "ok"


def test_half_a_letter_can_be_written(tmp_path: Path) -> None:
    with serving(lambda _p, _n: completion("a\ud83d")) as server:
        (told,) = remote.answers(at(server), ["a"], tmp_path)
    assert told.text == "a?"


def test_usage_that_is_not_told_is_not_made_up(tmp_path: Path) -> None:
    with serving(lambda _p, _n: completion("cut off", ended="length", usage=None)) as server:
        (told,) = remote.answers(at(server), ["a"], tmp_path)

    assert told.prompt_tokens is None and told.answer_tokens is None and told.cut


def test_no_more_run_at_one_time_than_allowed(tmp_path: Path) -> None:
    def reply(prompt: str, _before: int) -> Reply:
        time.sleep(0.02)
        return completion(prompt)

    with serving(reply) as server:
        remote.answers(at(server, concurrency=2), [str(i) for i in range(10)], tmp_path)

    assert server.most == 2


def test_an_answer_is_asked_for_once(tmp_path: Path) -> None:
    with serving(lambda prompt, _n: completion(prompt)) as server:
        first = remote.answers(at(server), ["a", "b"], tmp_path)
        again = remote.answers(at(server), ["b", "a", "c"], tmp_path)
        other = remote.answers(at(server, max_tokens=9), ["a"], tmp_path)
        damaged = next(iter(sorted(tmp_path.iterdir())))
        damaged.write_text('{"text": 3')
        remote.answers(at(server), ["a", "b", "c"], tmp_path)

    assert not first[0].cached and not other[0].cached
    assert [each.cached for each in again] == [True, True, False]
    assert again[0].text == "b" and again[0].latency_s is None and again[0].answer_tokens == 4
    assert len(server.prompts) in (4, 5)  # the damaged file may be the one of max_tokens=9
    assert len(list(tmp_path.iterdir())) == 4


def test_the_key_is_nowhere_though_the_server_repeats_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    repeated = {"echo": completion(f"you sent {SECRET}"), "bad": (400, {}, "x" * 190 + f" {SECRET}")}
    with serving(lambda prompt, _n: repeated.get(prompt, (401, {}, SECRET))) as server:
        told = remote.answers(at(server), ["echo", "bad", "denied"], tmp_path)

    assert told[0].text == "you sent [key]" and server.keys == [f"Bearer {SECRET}"] * 3
    files = "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    seen = "".join(capfd.readouterr())
    for place in (repr(told), files, caplog.text, seen):
        assert "sk-" not in place


def test_proxies_of_the_environment_are_not_asked_about_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    with serving(lambda _p, _n: completion("ok")) as server:
        assert remote.answers(at(server), ["a"], tmp_path)[0].text == "ok"


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"url": f"https://user:{SECRET}@host/v1"}, "only scheme, host and path"),
        ({"url": f"https://host/v1?key={SECRET}"}, "only scheme, host and path"),
        ({"url": SECRET}, "no address"),
        ({"url": "https://host:port/v1"}, "no address"),
        ({"url": "https://[::1/v1"}, "no address"),
        ({"url": "http://192.0.2.1/v1"}, "readable by all"),
        ({"url": "https://host/v1", "key_env": SECRET}, "never the key itself"),
        ({"url": "https://host/v1", "key_env": "NOT_SET_HERE"}, "no key for host"),
        ({"url": "https://host/v1", "key_env": "ODD_KEY"}, "characters that no key has"),
    ],
)
def test_a_wrong_address_or_key_is_told_without_it(
    told: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ODD_KEY", f"{SECRET} and more")
    with pytest.raises(InputError, match=message) as caught:
        endpoint.require(Endpoint(model="m", **told))  # type: ignore[arg-type]
    assert SECRET not in str(caught.value) and "sk-" not in str(caught.value)


def test_this_machine_needs_no_key_and_a_line_end_is_no_part_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{SECRET}\n")
    assert endpoint.require(Endpoint(url="https://host/v1", model="m")) == SECRET
    monkeypatch.delenv("OPENAI_API_KEY")
    for host in ("localhost", "127.0.0.1", "[::1]"):
        assert endpoint.require(Endpoint(url=f"http://{host}:8000/v1", model="m")) is None
    with pytest.raises(InputError, match="OPENAI_API_KEY is not set"):
        endpoint.require(Endpoint(url="https://host/v1", model="m"))


def test_the_one_model_of_an_endpoint_need_not_be_named() -> None:
    with serving(lambda prompt, _n: completion(prompt)) as server:
        assert remote.only_model(at(server)) == "chat"
        server.models = ["a", "b"]
        with pytest.raises(InputError, match=r"--api-model NAME \(it has a, b\)"):
            remote.only_model(at(server))
    with pytest.raises(InputError, match="it does not tell which it has"):
        remote.only_model(at(server))
