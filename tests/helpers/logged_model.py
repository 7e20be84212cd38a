"""Logs every answer when it is finished: `--model tests/helpers/logged_model.py`.

Environment variables configure it, so that a run's flags and cache keys stay the same: LOGGED_TO (the log file), LOGGED_SLEEP (seconds
per answer) and LOGGED_FROM (the answer in the log from which on it sleeps). An answer depends on the request and the fingerprint alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from marathon_eval.api.model import Model, ModelSettings, Request, Response
from marathon_eval.api.press import EvictionPress, Press, PruningPress
from marathon_eval.files import sha256_of


class _Settings(ModelSettings):
    #: A letter for a question with options, two scores for a judge.
    says: Literal["letter", "scores"] = "letter"


class Logged(Model):
    Settings: ClassVar[type[ModelSettings]] = _Settings
    settings: _Settings
    carries: ClassVar[tuple[type[Press], ...]] = (PruningPress, EvictionPress)

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        seconds, first = float(os.environ.get("LOGGED_SLEEP", "0")), int(os.environ.get("LOGGED_FROM", "0"))
        log_file = Path(os.environ["LOGGED_TO"])
        fingerprint = sha256_of(self.fingerprint)
        assert self.cache is not None
        for request in requests:
            if first == 0 or (log_file.exists() and log_file.stat().st_size >= 65 * first):
                time.sleep(seconds)
            known, _ = self.cache.facts(request.audios)
            asked = [
                fingerprint,
                request.prompt,
                request.system,
                [known[audio].sha256 for audio in request.audios],
            ]
            drawn = hashlib.sha256(json.dumps(asked).encode()).digest()
            # one write of one line, so that processes do not mix theirs
            with log_file.open("a") as log:
                log.write(f"{drawn.hex()}\n")
            text = f"{drawn[0] % 10 + 1} {drawn[1] % 10 + 1}"
            yield request, Response(text if self.settings.says == "scores" else "ABCD"[drawn[2] % 4])
