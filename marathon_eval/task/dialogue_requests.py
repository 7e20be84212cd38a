"""Builds the requests of a dialogue: each turn's request holds the turns and the model's answers before it."""

from __future__ import annotations

from collections.abc import Sequence

from marathon_eval.api.doc import Doc
from marathon_eval.api.model import CLIP_MARK, Generation, Request
from marathon_eval.api.request import Turn
from marathon_eval.errors import RowError
from marathon_eval.task.prompt.dialogue import Script, clip_places


def check_script(doc: Doc, script: Script) -> None:
    """Raise RowError unless the turns have a place for each clip, and one right answer or one for each turn asked."""
    clips = len(doc.audio)
    # the document of an archive has no clips
    if clips and script.clips != clips:
        raise RowError(
            f"row {doc.doc_id}: the turns have {CLIP_MARK} {script.clips} times for {clips} clips: it stands where each "
            "clip does"
        )
    if isinstance(doc.target, tuple) and len(doc.target) != script.asked:
        raise RowError(
            f"row {doc.doc_id}: doc_to_target gives {len(doc.target)} right answers for {script.asked} turns that are asked"
        )


def turn_request(doc: Doc, turns: Sequence[Turn], generation: Generation, system: str | None) -> Request:
    """Return the request whose prompt is the last of these turns; it has the clips up to there."""
    audios = doc.audio[: clip_places(turns)]
    return Request(turns[-1].text, audios, generation, system, placed=bool(audios), earlier=tuple(turns[:-1]))
