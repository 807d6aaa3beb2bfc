"""Which OpenAI-compatible endpoint is asked, how, and with which key: it comes from an environment variable alone."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from deploytk.errors import InputError

#: The environment variable that has the key where no other is named.
KEY_ENV = "OPENAI_API_KEY"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where the answers come from, and how it is asked."""

    url: str
    model: str
    key_env: str = KEY_ENV
    max_tokens: int = 512
    concurrency: int = 4
    timeout_s: float = 60.0  # of one try, from the request to the last byte
    tries: int = 5
    backoff_s: float = 1.0  # the first pause; it doubles, and chance shortens it

    @property
    def loopback(self) -> bool:
        """Whether it is this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return host == "localhost" or ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False

    @property
    def asked(self) -> str:
        """The address that requests go to."""
        return f"{self.url.rstrip('/')}/chat/completions"

    @property
    def settings(self) -> dict[str, Any]:
        """What shapes an answer besides its prompt."""
        return {"max_tokens": self.max_tokens, "temperature": 0}


def require(endpoint: Endpoint) -> str | None:
    """The key for an endpoint, or None where this machine is asked and there is none.

    Raises:
        InputError: its address or the name of the variable is wrong, or there is no key. No message has a key in it.
    """
    try:
        parts = urlsplit(endpoint.url)
        _ = parts.port
    except ValueError as error:
        raise InputError("--baseline-api: no address; write https://HOST/v1") from error
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            "--baseline-api: only scheme, host and path belong into the address; a key is given by --api-key-env NAME"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("--baseline-api: no address; write https://HOST/v1")
    if parts.scheme == "http" and not endpoint.loopback:
        raise InputError(
            f"--baseline-api: {endpoint.url}: the texts and the key would cross the network readable by all; use "
            "https://, or a tunnel to localhost"
        )
    # What does not look like a variable's name may be the key itself: it is not repeated.
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", endpoint.key_env):
        raise InputError("--api-key-env takes the NAME of an environment variable (capitals), never the key itself")
    key = os.environ.get(endpoint.key_env, "").strip()
    if not key:
        if endpoint.loopback:
            return None
        name = KEY_ENV if endpoint.key_env == KEY_ENV else "the variable that --api-key-env names"
        raise InputError(f"no key for {parts.hostname}: {name} is not set; export it first")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("the key has characters that no key has (spaces, line ends or other than ASCII); copy it anew")
    return key
