"""Holds rows for metrics that read the right answer from a column of their own, not from the target."""

from __future__ import annotations

import json
from typing import Any

SPOKEN = [{"start": 1.0, "end": 2.0, "word": "Rome"}], [{"start": 8.0, "end": 9.0, "word": "Oslo"}]
#: By metric, lists of rows that the metric tells apart.
BY_COLUMN: dict[str, list[list[dict[str, Any]]]] = {
    "blab.seconds": [[{"q": "?", "a": n, "groundtruth": n, "answer_type": "seconds"} for n in ("75", "9")]],
    "blab.words": [[{"q": "?", "a": f"Heard: {json.dumps(said)}", "groundtruth": said} for said in SPOKEN]],
    "blab.frames": [
        [
            {
                "q": "?",
                "a": "Heard: " + json.dumps([{**one, "entity": one["word"]}]),
                "groundtruth": {
                    "entities": [{"entity": one["word"], "start": one["start"], "end": one["end"]}],
                    "word_timestamp": [{"word": f"#{one['word']}", "start": one["start"], "end": one["end"]}],
                },
            }
            for (one,) in SPOKEN
        ]
    ],
}
