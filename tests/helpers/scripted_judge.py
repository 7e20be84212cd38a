"""Judges with scripted replies: `--judge_model tests/helpers/scripted_judge.py --judge_args script=rules.json,log=FILE`.

The script is a list of {"has": [texts in the prompt], "replies": [one per try] or [[one per try] per rater]}. The
first rule whose texts all occur in the prompt decides. "FAIL" fails the call, "REFUSE" refuses it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import ClassVar

from marathon_eval.api.model import Model, ModelSettings, Request, Response

SEED = 42


class _Settings(ModelSettings):
    script: str
    log: str
    identity: str = "scripted"


class ScriptedJudge(Model):
    Settings: ClassVar[type[ModelSettings]] = _Settings
    settings: _Settings
    transport: ClassVar[frozenset[str]] = Model.transport | {"log"}

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        rules = json.loads(Path(self.settings.script).read_text())
        for request in requests:
            with Path(self.settings.log).open("a") as log:
                log.write(json.dumps([request.prompt, request.system, asdict(request.generation)]) + "\n")
            yield request, self._reply(request, rules)

    def _reply(self, request: Request, rules: list[dict[str, list[str]]]) -> Response:
        rule = next(rule for rule in rules if all(text in request.prompt for text in rule["has"]))
        seed = request.generation.seed or 0
        rater, attempt = divmod(seed - SEED, 100) if seed >= SEED else (0, seed)
        replies = rule["replies"][rater] if isinstance(rule["replies"][0], list) else rule["replies"]
        text = replies[min(attempt, len(replies) - 1)]
        if text == "FAIL":
            return Response.failed("no judge at home")
        if text == "REFUSE":
            return Response("", "content_filter", "refused", "not for me")
        return Response(text)
