"""Opens a cache for programs of the user: a dict of its entries that cannot be changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.cache.answers import FILE_NAME
from marathon_eval.cache.database import TABLE
from marathon_eval.cache.entries import opened_read_only
from marathon_eval.cache.entry import storable
from marathon_eval.files import default_folder

if TYPE_CHECKING:
    from sqlitedict import SqliteDict


def cached_answers(folder: str | Path | None = None) -> SqliteDict:
    """Open a cache's folder (default: the user's) as a read-only SqliteDict: keys to entries, decoded from JSON.

    A key begins with `response/`, `fingerprint/`, `audio/` or `file/`. Close the dict after use, or use it in a `with`
    statement; a run may write to the cache meanwhile. Raises MarathonError where there is no cache, and RuntimeError
    when an entry is assigned. https://github.com/piskvorky/sqlitedict
    """
    from sqlitedict import SqliteDict

    path = (Path(folder) if folder is not None else default_folder()) / FILE_NAME
    with opened_read_only(path):  # refuses what is no cache, which SqliteDict would change or wait for
        pass
    # WAL is the mode of the file already: the default would try to change it
    return SqliteDict(
        str(path), tablename=TABLE, flag="r", journal_mode="WAL", encode=storable, decode=json.loads
    )
