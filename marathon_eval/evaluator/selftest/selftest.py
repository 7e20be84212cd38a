"""Runs the self-test of a model: the local one on loaded weights, or that of a server."""

from __future__ import annotations

import time
from pathlib import Path

from marathon_eval.api.model import Model
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.http.adapter import APIAudio
from marathon_eval.evaluator.selftest.verdicts import NotApplicable, SelfTestResult


def selftest(model: Model, folder: Path) -> SelfTestResult:
    """Check a model and return the lines; sounds are written into `folder`.

    Raises MarathonError when the model can't be loaded or its server is not there.
    """
    model.check()
    result = SelfTestResult(model.name(), model.fingerprint)
    started = time.monotonic()
    try:
        if isinstance(model, APIAudio):
            from marathon_eval.evaluator.selftest.server import check_server

            check_server(model, folder, result)
        elif isinstance(model, HFAudio):
            from marathon_eval.evaluator.selftest.local import check_local

            check_local(model, folder, result)
        else:
            result.check("model", lambda: _unknown(model))
    finally:
        model.close()
    result.seconds = time.monotonic() - started
    return result


def _unknown(model: Model) -> str:
    raise NotApplicable(f"{model.name()} is neither a local transformers model nor a server's")
