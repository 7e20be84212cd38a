"""The cache's file is a table as sqlitedict makes them, so that a user may open it with that package too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from marathon_eval.cache import FILE_NAME, ResponseCache

#: In a process of its own: sqlitedict closes its worker thread when its objects are collected.
OPENED = """
import json, sys
from sqlitedict import SqliteDict
with SqliteDict(sys.argv[1], tablename="entries", flag="r", decode=json.loads, outer_stack=False) as found:
    print(json.dumps(dict(found.items())))
"""


def test_sqlitedict_reads_what_was_stored(tmp_path: Path) -> None:
    entries = {"response/a": {"text": "B", "places": [1, None]}, "fingerprint/é": {"name": "ü\u2028"}}
    with ResponseCache(tmp_path) as cache:
        for key, value in entries.items():
            cache.put(key, value)
    command = [sys.executable, "-c", OPENED, str(tmp_path / FILE_NAME)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == entries
