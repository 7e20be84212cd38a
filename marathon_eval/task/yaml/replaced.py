"""Explains names that an included file uses and that the including file has replaced: keys replace included ones whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from marathon_eval.errors import MarathonError, did_you_mean, unknown

if TYPE_CHECKING:
    from marathon_eval.task.yaml.loader import Document, KeyPath

#: Keys whose names other keys use, each with the keys to write beside it.
_BESIDE = {"filter_list": "metric_list and headline", "metric_list": "headline"}


def unknown_in(
    document: Document, keys: KeyPath, at: str, kind: str, name: str, known: Iterable[str], defined_by: str
) -> MarathonError:
    """Build the error for a name that `defined_by`, a key of the same task, does not define.

    It begins with `at`, but where the file itself sets `defined_by` and only an included one uses the name, it begins
    there and says what happened.
    """
    if not _replaced(document, keys, defined_by):
        return unknown(at, kind, name, known)
    names = sorted(known)
    return MarathonError(
        f"{document.where(defined_by)}: {defined_by} replaces the included one whole, but {keys[0]} still comes from "
        f"{document.where(*keys)} and names the {kind} '{name}', which is gone.{did_you_mean(name, names)} Known: "
        f"{', '.join(names) or 'none'}. Write {_BESIDE[defined_by]} in your file too"
    )


def _replaced(document: Document, keys: KeyPath, defined_by: str) -> bool:
    """Return whether the file itself sets `defined_by`, and an included one the value at `keys`."""
    own = document.file_of()
    return document.file_of(defined_by) == own != document.file_of(*keys) and defined_by in document.values
