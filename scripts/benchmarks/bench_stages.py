"""Measures the CPU time of each stage of a run in one process: build, cache write and read, score, decode, features.

Rows have the released layouts (tests/helpers/make_audiomarathon_data.py) and are answered by the dummy model. Prints
JSON, which scripts/bench formats.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marathon_eval.api.audio import Audio
from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.evaluator.compressed_responses import Responses
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import build_model, load_tasks
from marathon_eval.evaluator.requests import RunResponses, docs_of_tasks, requests_of_docs
from marathon_eval.evaluator.score_run import TaskScores

SECONDS, RATES = 60, (16000, 44100)
CLIPS, REPEATS = 8, 3


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of this process for `work`, and its result."""
    started = time.process_time()
    found = work()
    return time.process_time() - started, found


def rows(data: Path) -> dict[str, float]:
    """Measure each stage in CPU seconds per 1,000 rows; `score` covers every reading, metric and interval."""
    import numpy as np

    np.random.default_rng(0)  # loading numpy is no row's cost
    config = RunConfig(model="dummy", tasks=("audiomarathon",), data_dir=str(data), subset="full")
    registry = Registry()
    tasks, _ = load_tasks(registry, config.tasks)
    model = build_model(registry, "dummy", {})
    with tempfile.TemporaryDirectory() as folder:
        with ResponseCache(Path(folder)) as cache:
            model.cache = cache
            build, pool = timed(
                lambda: requests_of_docs(tasks, docs_of_tasks(tasks, config), config, "dummy")
            )
            requests = pool.requests()
            hashing, _ = timed(lambda: cache.facts(audio for one in requests for audio in one.audios))
            write, _ = timed(lambda: [list(cache.answer(model, requests)), cache.commit()])
        with ResponseCache(Path(folder)) as cache:
            read, answered = timed(lambda: list(cache.answer(model, requests)))
    if not all(one.cached for one in answered):
        raise SystemExit("an answer was not in the cache")
    held = Responses((one.request, one.response) for one in answered)
    answers = RunResponses(held, set(held), {}, False)

    def score() -> None:
        for name, task in tasks.items():
            scores = TaskScores(task, config)
            scores.add(pool.doc_requests[name], answers)
            scores.aggregation.result(pool.docs[name])

    spent = {
        "build": build,
        "hash of new audio": hashing,
        "cache write": write,
        "cache read": read,
        "score": timed(score)[0],
    }
    return {name: seconds * 1000 / len(requests) for name, seconds in spent.items()}


def listening() -> dict[str, float]:
    """Measure seconds of audio per CPU second: decoding to 16 kHz mono, and Whisper's features of the samples."""
    import marathon_eval.backends.hf.engine  # isort: skip  # noqa: F401 - hides a torchvision that would break transformers
    import numpy as np
    import soundfile
    from transformers import WhisperFeatureExtractor

    from marathon_eval.backends.hf.inputs import RATE
    from marathon_eval.backends.hf.mel import mel_frames

    extractor = WhisperFeatureExtractor(feature_size=128, chunk_length=300, return_attention_mask=True)
    found = {}
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for rate, suffix in ((RATES[0], "wav"), (RATES[1], "flac")):
            path = Path(folder) / f"{rate}.{suffix}"
            soundfile.write(path, draw.standard_normal((SECONDS * rate, 2)) * 0.1, rate)
            one = Audio(str(path))
            wave = one.samples(RATE)
            spent, _ = timed(lambda one=one: [one.samples(RATE) for _ in range(CLIPS)])  # type: ignore[misc]
            found[f"decode {suffix}, {rate / 1000:g} kHz stereo"] = CLIPS * SECONDS / spent
    mel_frames(extractor, wave)
    spent, _ = timed(lambda: [mel_frames(extractor, wave) for _ in range(CLIPS)])
    return {**found, "log-mel features, 128 bands": CLIPS * SECONDS / spent}


def main() -> None:
    stages = [rows(Path(sys.argv[1])) for _ in range(REPEATS)]
    middle = {name: sorted(one[name] for one in stages)[REPEATS // 2] for name in stages[0]}
    print(json.dumps({"per_1000": middle, "x_real_time": listening()}))


if __name__ == "__main__":
    main()
