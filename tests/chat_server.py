"""An OpenAI-compatible endpoint on this machine that answers, or fails, as a test scripts it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: (status, headers, body); a dict is sent as JSON, a float is slept for instead of an answer.
Reply = tuple[int, dict[str, str], Any]


def completion(text: str | None, *, ended: str = "stop", usage: tuple[int, int] | None = (10, 4)) -> Reply:
    """A reply with a text, and the tokens of prompt and answer."""
    told: dict[str, Any] = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": ended}]}
    if usage:
        told["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return 200, {}, told


class ChatServer(ThreadingHTTPServer):
    """What was asked, and the most requests at one time."""

    daemon_threads = True

    def __init__(self, reply: Callable[[str, int], Reply | float]) -> None:
        """`reply` is called with the prompt and how often it has been asked before."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply, self.lock = reply, threading.Lock()
        self.prompts: list[str] = []
        self.keys: list[str | None] = []
        self.bodies: list[dict[str, Any]] = []
        self.now = self.most = 0
        self.models = ["chat"]

    @property
    def url(self) -> str:
        """The address without /chat/completions."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, _request: Any, _address: Any) -> None:
        """A client that has gone away is no fault."""


class _Handler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_GET(self) -> None:
        """Tell which models there are."""
        raw = json.dumps({"data": [{"id": name} for name in self.server.models]}).encode()
        self.send_response(200 if self.path == "/v1/models" else 404)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def do_POST(self) -> None:
        """Answer as the test says."""
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        with server.lock:
            before = server.prompts.count(prompt)
            server.prompts.append(prompt)
            server.keys.append(self.headers.get("Authorization"))
            server.bodies.append(body)
            server.now += 1
            server.most = max(server.most, server.now)
        told = server.reply(prompt, before)
        if isinstance(told, float):
            time.sleep(told)
            told = completion("late")
        with server.lock:
            server.now -= 1
        status, headers, value = told
        raw = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(reply: Callable[[str, int], Reply | float]) -> Iterator[ChatServer]:
    """A server that runs."""
    with ChatServer(reply) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
