"""Writes a page for reviewing a random sample of a data set by ear.

The paper's authors checked 10 % of AudioMarathon by hand. The page is one HTML file beside the audio. It needs no
server, keeps verdicts in the browser until the reviewer saves them as JSON, and escapes all text of the data.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from marathon_eval.corpus.audit.survey import Survey, SurveyRow

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio


def review_sample(surveyed: Survey, share: float, seed: int) -> list[SurveyRow]:
    """Draw a share of each task's rows, at least one, with the seed from the rows sorted by key."""
    chosen = []
    for task, rows in sorted(surveyed.tasks().items()):
        ordered = sorted(rows, key=lambda row: (row.key, row.where))
        count = min(len(ordered), max(1, round(share * len(ordered))))
        drawn = random.Random(f"{seed}:review:{task}").sample(ordered, count)
        chosen += sorted(drawn, key=lambda row: (row.key, row.where))
    return chosen


def page(surveyed: Survey, rows: Sequence[SurveyRow], beside: Path, share: float, seed: int) -> bytes:
    """Render the review page as HTML; its links to the audio are relative to `beside`, the folder of the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    shown_rows = [
        {
            "task": row.task,
            "key": row.key,
            "sources": _sources(row, beside),
            "question": row.question or "",
            "options": list(row.options),
            "answer": row.answer,
            "gold": row.gold or "",
            "reference": row.reference or "",
        }
        for row in rows
    ]
    head = {"dataset": surveyed.root.name, "seed": seed, "share": share, "of": len(surveyed.rows)}
    return environment.get_template("review.html.j2").render(rows=shown_rows, head=head).encode()


def _sources(row: SurveyRow, beside: Path) -> list[str]:
    """Return the addresses of a row's clips, relative to the page; a stretch is a media fragment.

    Source: https://www.w3.org/TR/media-frags/#naming-time
    """
    if row.clips:
        return [quote(os.path.relpath(clip.path, beside)) + _fragment(clip) for clip in row.clips]
    return [quote(os.path.relpath(row.audio, beside))] if row.audio is not None else []


def _fragment(clip: Audio) -> str:
    if (clip.start, clip.stop) == (0.0, None):
        return ""
    return f"#t={clip.start:g}" + ("" if clip.stop is None else f",{clip.stop:g}")
