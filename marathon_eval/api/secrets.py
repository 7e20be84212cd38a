"""Reads API keys from the environment, and removes them from everything that is written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from marathon_eval.errors import MarathonError

#: Sent to servers that need no key, because the SDKs refuse to send none.
NO_KEY = "no-key"
REDACTED = "<redacted>"
#: An error may quote a key that differs from the one in use: an older key, a proxy's key, or a shortened one.
_LOOKS_SECRET = re.compile(
    r"sk-[\w*.-]{6,}|AIza[\w*-]{10,}|(?<=bearer )[^\s'\"]+|(?<=[?&]key=)[^&\s'\"]+", re.IGNORECASE
)
_MAX_REASON = 600
_SHORTEST_KEY = 8
_SECRET_NAME = re.compile(r"(key|token|secret|password|authorization|credentials?)$", re.IGNORECASE)
#: Settings whose names end like a secret's although they hold none.
_NO_SECRETS = frozenset({"eos_token", "bos_token", "pad_token", "audio_token", "prediction_key"})


def key_from_environment(variables: Iterable[str], needed_by: str | None) -> str:
    """Return the value of the first environment variable that is set.

    Without any, returns NO_KEY where `needed_by` is None, else raises MarathonError that names the variables.
    """
    for variable in variables:
        if key := os.environ.get(variable, "").strip():
            return key
    if needed_by is None:
        return NO_KEY
    raise MarathonError(f"{needed_by} needs a key: set {' or '.join(variables)} in the environment")


def redacted(text: str, key: str) -> str:
    """Return `text` in one line of at most 600 characters, without `key` and anything that looks like a key."""
    if key and key != NO_KEY:
        text = text.replace(key, REDACTED)
    line = " ".join(_LOOKS_SECRET.sub(REDACTED, text).split())
    return line if len(line) <= _MAX_REASON else line[: _MAX_REASON - 1] + "…"


def without_secrets(value: Any) -> Any:
    """Replace every value under a name like `api_key` or `hf_token` by `<redacted>`, at any depth of the JSON."""
    if isinstance(value, Mapping):
        return {
            name: REDACTED if _names_secret(str(name)) and item is not None else without_secrets(item)
            for name, item in value.items()
        }
    return [without_secrets(item) for item in value] if isinstance(value, (list, tuple)) else value


def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and name.lower() not in _NO_SECRETS


def without_keys(text: str) -> str:
    """Remove what looks like a key, and the values of this environment's key variables, from `text`."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_KEY and name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")):
            text = text.replace(value, REDACTED)
    return _LOOKS_SECRET.sub(REDACTED, text)


def checked_url(url: str, where: str) -> str:
    """Return `url` without a trailing slash. Raises MarathonError unless it is an http(s) URL without secrets."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # an incomplete IPv6 address, or a port that is not a number
        valid = False
    if not valid:
        raise MarathonError(f"{where}: base_url must be http://HOST[:PORT][/PATH] or https://...")
    if parts.username or parts.password or parts.query or parts.fragment or _LOOKS_SECRET.search(url):
        raise MarathonError(
            f"{where}: base_url must hold no user, password or query, nor a key: it is written into results. "
            "Keys come from the environment"
        )
    return url.rstrip("/")
