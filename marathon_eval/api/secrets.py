"""Reads API keys from the environment, and removes them from everything that is written.

A fingerprint must differ where a secret differs, and is written into caches and results. It therefore holds a slow hash in
place of each secret (PBKDF2, https://www.rfc-editor.org/rfc/rfc8018): equal secrets stay equal, and guessing is costly.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.errors import MarathonError

#: Sent to servers that need no key, because the SDKs refuse to send none.
NO_KEY = "no-key"
REDACTED = "<redacted>"
#: An error may quote a key that differs from the one in use: an older key, a proxy's key, or a shortened one.
_LOOKS_SECRET = lazy_pattern(
    r"sk-[\w*.-]{6,}|AIza[\w*-]{10,}|(?<=bearer )[^\s'\"]+|(?<=[?&]key=)[^&\s'\"]+", re.IGNORECASE
)
#: Keys of common vendors, by their prefix: https://docs.github.com/en/code-security/secret-scanning
_CERTAIN = lazy_pattern(
    r"(?<![A-Za-z0-9])(?:sk-(?=[\w-]*\d)[\w-]{16,}|AIza[\w-]{20,}|hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{16,})"
)
_MARK = lazy_pattern(r"<redacted:[0-9a-f]{16}>")
#: A special token of a tokenizer.
_SPECIAL = lazy_pattern(r"<.*>|\[.*\]", re.DOTALL)
_MAX_REASON = 600
#: Shorter texts are not searched for: they may stand anywhere by chance.
SHORTEST_KEY = 8
_SECRET_NAME = lazy_pattern(r"(key|token|secret|password|authorization|credentials?)$", re.IGNORECASE)
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
            name: REDACTED if _is_secret(str(name), item) else without_secrets(item)
            for name, item in value.items()
        }
    return [without_secrets(item) for item in value] if isinstance(value, (list, tuple)) else value


def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None and name.lower() not in _NO_SECRETS


def _is_secret(name: str, value: Any) -> bool:
    """Return whether the name says so and there is a value; a special token such as `<|audio|>` is no secret."""
    special = isinstance(value, str) and name.lower().endswith("token") and _SPECIAL.fullmatch(value)
    return _names_secret(name) and value is not None and not special


def without_keys(text: str) -> str:
    """Remove what looks like a key, and the values of this environment's key variables, from `text`."""
    return _LOOKS_SECRET.sub(REDACTED, without_values(text, environment_keys()))


def environment_keys() -> tuple[str, ...]:
    """Return the values of this environment's key variables, such as OPENAI_API_KEY."""
    return tuple(
        value
        for name, value in os.environ.items()
        if len(value) >= SHORTEST_KEY and name.endswith(("_KEY", "_TOKEN", "_SECRET", "_PASSWORD"))
    )


def secret_values(settings: Any) -> tuple[str, ...]:
    """Return the texts under names like `api_key`, at any depth, that are long enough to be searched for elsewhere.

    A special token of a model, such as `<|audio|>`, is none: the argument `token=` of `hf` names one.
    """
    return tuple(dict.fromkeys(_secret_values(settings, False)))


def _secret_values(value: Any, secret: bool) -> Iterator[str]:
    if hasattr(value, "get_secret_value"):  # pydantic's SecretStr
        value, secret = value.get_secret_value(), True
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _secret_values(item, secret or _names_secret(str(name)))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _secret_values(item, secret)
    elif secret and isinstance(value, str) and len(value) >= SHORTEST_KEY and not _SPECIAL.fullmatch(value):
        yield value


def without_values(value: Any, secrets: Iterable[str]) -> Any:
    """Replace each secret, wherever it stands in the texts of a JSON value, by `<redacted>`."""
    return _replaced(value, [*secrets], lambda secret: REDACTED)


def without_all_secrets(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Remove secrets by name and by value, those of the environment included, and what is certainly a key."""
    found = [*secrets, *secret_values(value), *environment_keys(), *_certain_keys(value)]
    return without_values(without_secrets(value), found)


def distinguishable(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Replace what `without_all_secrets` removes by `<redacted:HASH>`, so that other secrets make another value."""
    found = [*secrets, *secret_values(value), *environment_keys(), *_certain_keys(value)]
    return _replaced(_named_marked(value), found, _mark)


def _named_marked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            name: _mark_of(item) if _is_secret(str(name), item) else _named_marked(item)
            for name, item in value.items()
        }
    return [_named_marked(item) for item in value] if isinstance(value, (list, tuple)) else value


def _mark_of(value: Any) -> str:
    if isinstance(value, str) and _MARK.fullmatch(value):
        return value
    return _mark(value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str))


@lru_cache(maxsize=256)
def _mark(secret: str) -> str:
    import hashlib

    digest = hashlib.pbkdf2_hmac("sha256", secret.encode(errors="surrogatepass"), b"marathon_eval", 50_000)
    return f"<redacted:{digest.hex()[:16]}>"


def _certain_keys(value: Any) -> Iterator[str]:
    """Yield what is a key by its form; names such as `task-specific-7b` are none."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _certain_keys(item)
    elif isinstance(value, str):
        yield from _CERTAIN.findall(value)


def _replaced(value: Any, secrets: list[str], mark: Callable[[str], str]) -> Any:
    if not secrets:
        return value
    if isinstance(value, Mapping):
        return {name: _replaced(item, secrets, mark) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replaced(item, secrets, mark) for item in value]
    if not isinstance(value, str):
        return value
    # the longest first, for one may contain another; also as URLs and JSON spell them
    for secret in sorted(dict.fromkeys(secrets), key=len, reverse=True):
        for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1]):
            if form in value:
                value = value.replace(form, mark(secret))
    return value


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
