"""API keys: from the environment alone, and cut out of everything that is written down."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from marathon_eval.errors import MarathonError

#: What servers that ask for no key are sent, because the SDKs refuse to send nothing.
NO_KEY = "no-key"
REDACTED = "<redacted>"
#: An error may quote a key that is not ours to compare with: an older one, a proxy's, one cut in its middle.
_LOOKS_SECRET = re.compile(
    r"sk-[\w*.-]{6,}|AIza[\w*-]{10,}|(?<=bearer )[^\s'\"]+|(?<=[?&]key=)[^&\s'\"]+", re.IGNORECASE
)
_MAX_REASON = 600
_SHORTEST_KEY = 8
_SECRET_NAME = re.compile(r"(key|token|secret|password|authorization|credentials?)$", re.IGNORECASE)
#: Settings that end like a secret and are none.
_NO_SECRETS = frozenset({"eos_token", "bos_token", "pad_token", "audio_token", "prediction_key"})


def key_from_environment(variables: Iterable[str], needed_by: str | None) -> str:
    """The first of `variables` that is set; NO_KEY when nobody needs one. Raises MarathonError naming them."""
    for variable in variables:
        if key := os.environ.get(variable, "").strip():
            return key
    if needed_by is None:
        return NO_KEY
    raise MarathonError(f"{needed_by} needs a key: set {' or '.join(variables)} in the environment")


def redacted(text: str, key: str) -> str:
    """`text` in one line without `key` or anything that looks like one, at most 600 characters."""
    if key and key != NO_KEY:
        text = text.replace(key, REDACTED)
    line = " ".join(_LOOKS_SECRET.sub(REDACTED, text).split())
    return line if len(line) <= _MAX_REASON else line[: _MAX_REASON - 1] + "…"


def without_secrets(value: Any) -> Any:
    """JSON in which every value under a name like `api_key` or `hf_token` is cut out, however deep it stands."""
    if isinstance(value, Mapping):
        return {
            name: REDACTED if _names_secret(str(name)) and item is not None else without_secrets(item)
            for name, item in value.items()
        }
    return [without_secrets(item) for item in value] if isinstance(value, (list, tuple)) else value


def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and name.lower() not in _NO_SECRETS


def without_keys(text: str) -> str:
    """`text` without what looks like a key, and without the values of key variables of this environment."""
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST_KEY and name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD")):
            text = text.replace(value, REDACTED)
    return _LOOKS_SECRET.sub(REDACTED, text)


def checked_url(url: str, where: str) -> str:
    """`url` without a trailing slash. Raises MarathonError for one that is no http(s) URL or that carries a secret."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is none
        known = False
    if not known:
        raise MarathonError(f"{where}: base_url must be http://HOST[:PORT][/PATH] or https://...")
    if parts.username or parts.password or parts.query or parts.fragment or _LOOKS_SECRET.search(url):
        raise MarathonError(
            f"{where}: base_url must hold no user, password or query, nor a key: it is written into results. "
            "Keys come from the environment"
        )
    return url.rstrip("/")
