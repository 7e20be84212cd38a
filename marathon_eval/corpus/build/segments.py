"""Cuts clips at the segment labels of the corpus (HAD: which stretches of an utterance are fake)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from marathon_eval.corpus.build.recipe import Segments
from marathon_eval.corpus.build.source import SourceClip
from marathon_eval.corpus.build.tables import Labelled
from marathon_eval.errors import MarathonError


def cut_at_labels(
    clips: Sequence[SourceClip], labels: Mapping[str, Labelled], rule: Segments
) -> list[SourceClip]:
    """Return one clip per labelled segment, with the fields `label` (its pool, real or fake) and `genuine`.

    As in the release, all segments of a clip with any fake part go to the fake pool, genuine ones too
    (`pool: clip`); `genuine` is True for a segment that is not fake itself.
    Raises MarathonError for an unlabelled clip and for a label outside its file.
    """
    return [part for clip in clips for part in _parts(clip, labels, rule)]


def _parts(clip: SourceClip, labels: Mapping[str, Labelled], rule: Segments) -> list[SourceClip]:
    labelled = labels.get(clip.fields["stem"])
    if labelled is None:
        raise MarathonError(f"{clip.path}: has no line in {rule.file}")
    parts = []
    for segment in labelled.segments:
        if segment.stop > clip.seconds + rule.tolerance_seconds:
            raise MarathonError(
                f"{labelled.where}: segment {segment.start}-{segment.stop} s is not inside {clip.path} "
                f"of {clip.seconds:.3f} s"
            )
        start = clip.start + round(segment.start * clip.rate)
        stop = min(clip.start + round(segment.stop * clip.rate), clip.stop)
        fake = labelled.has_fake if rule.pool == "clip" else not segment.genuine
        if start < stop:
            fields = {**clip.fields, "label": "fake" if fake else "real", "genuine": segment.genuine}
            parts.append(SourceClip(clip.path, start, stop, clip.rate, clip.channels, fields))
    return parts
