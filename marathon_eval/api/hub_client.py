"""Holds the hub's client to what its replies may say: `HF_ENDPOINT` may name a server that lies.

huggingface_hub makes paths below its cache of two headers, the commit and the ETag of a file, without looking at them:
an ETag `/home/me/.bashrc` would be written there. Here a reply with such a header is refused, and hub_replies.py bounds
the bodies.
Source: huggingface_hub/file_download.py, `_hf_hub_download_to_cache_dir`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

from marathon_eval.api.hub_replies import HubLie, bound_body, note_size
from marathon_eval.api.unpacked_reply import REPLY_ENCODINGS
from marathon_eval.errors import MarathonError

#: Most pages of one listing; the hub's have 1,000 files each.
MAX_PAGES = 2000
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[^/\\\x00-\x1f\x7f]{1,200}")
#: Headers that name the content of a file, and with it the file in the cache.
_ETAGS = ("x-linked-etag", "etag")


@cache
def guard_hub_client() -> None:
    """Check every reply to the hub's client from now on. Call it before the hub is asked for anything."""
    import huggingface_hub
    from huggingface_hub.utils import _http

    def guarded() -> Any:
        client = _http.default_client_factory()
        asked = [*client.event_hooks.get("request", ()), _ask_for_known_encodings, _count_pages()]
        heard = [*client.event_hooks.get("response", ()), refuse_lies, note_size, bound_body]
        client.event_hooks = {"request": asked, "response": heard}
        return client

    huggingface_hub.set_client_factory(guarded)


def _ask_for_known_encodings(request: Any) -> None:
    """Ask for encodings that are unpacked within bounds, unless the client asks for the plain bytes."""
    if request.headers.get("accept-encoding") != "identity":
        request.headers["accept-encoding"] = REPLY_ENCODINGS


def _count_pages() -> Callable[[Any], None]:
    """Return a hook that refuses a listing without an end: an empty page may name another one for ever."""
    pages: Counter[str] = Counter()

    def count(request: Any) -> None:
        if "cursor" in request.url.params:
            pages[request.url.path] += 1
            if pages[request.url.path] > MAX_PAGES:
                raise HubLie(f"the hub's listing has more than {MAX_PAGES} pages")

    return count


def refuse_lies(response: Any) -> None:
    """Raise HubLie for a reply whose commit is none, or whose ETag is no plain name."""
    commit = response.headers.get("x-repo-commit")
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise HubLie(f"the hub's reply names no commit: {commit[:80]!r}")
    if response.request.method != "HEAD":  # of other replies no path is made
        return
    for name in _ETAGS:
        value = response.headers.get(name)
        bare = "x" if value is None else value.lstrip("W/").strip('"')
        if not _ETAG.fullmatch(bare) or bare.strip(".") == "":
            raise HubLie(f"the hub's reply has an {name} that is no name of a file: {value[:80]!r}")


def full_commit(name: object, where: str) -> str:
    """Return the commit that the hub names. Raises MarathonError, which begins with `where`, for anything else."""
    if not isinstance(name, str) or not _COMMIT.fullmatch(name):
        raise MarathonError(f"{where}: the hub names no commit: {str(name)[:80]!r}")
    return name


def plain_name(name: object, where: str) -> str:
    """Return the name of a file in a repository. Raises MarathonError for one that leaves the repository's folder."""
    text = name if isinstance(name, str) else ""
    parts = text.split("/")
    if "\\" in text or "\0" in text or re.match(r"[A-Za-z]:", text) or {"", ".", ".."} & set(parts):
        raise MarathonError(f"{where}: the hub lists a file outside the repository: {str(name)[:80]!r}")
    return text
