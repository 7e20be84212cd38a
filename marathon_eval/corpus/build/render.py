"""Renders one planned file to bytes, and lists the source of every frame in it."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.sound import (
    Laid,
    below_ceiling,
    faded,
    gain_to,
    mixed_on_silence,
    peak_of,
    resampled,
    to_pcm16,
)
from marathon_eval.corpus.build.item import Item, Piece
from marathon_eval.errors import AudioError, MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Frames that are rounded to 16 bits at a time.
ROUNDED_FRAMES = 1 << 20


class Rendered(NamedTuple):
    """Holds an encoded file, its spans (which output frames come from which frames of which source), and its peak."""

    data: bytes
    spans: list[dict[str, Any]]
    peak: float


def render_file(item: Item, root: Path) -> Rendered:
    """Decode, join and encode one file, holding only this file and one piece of it in memory.

    Raises MarathonError: damaged source, or a silent piece that has a target level.
    """
    gains: list[float] = []

    def sounds() -> Iterator[Laid]:
        for piece in item.pieces:
            samples, gain = sound_of(piece, item.rate, root)
            gains.append(gain)
            yield Laid(piece.at, samples)

    whole, turned = below_ceiling(mixed_on_silence(item.frames, sounds()))
    spans = spans_of(item, [gain + turned for gain in gains])
    return Rendered(encoded(whole, item), spans, peak_of(whole))


def sound_of(piece: Piece, rate: int, root: Path) -> tuple[NDArray[np.float32], float]:
    """Return a piece's samples [length] as they go into the file, and the gain in dB that was applied to them."""
    import numpy as np

    samples = resampled(stretch(root / piece.source, piece.start, piece.stop), piece.rate, rate)
    samples = np.pad(samples, (0, max(0, piece.length - len(samples))))[: piece.length]
    gain = 0.0
    if piece.level_db is not None:
        gain = gain_to(samples, rate, piece.level_db, piece.source)
        samples = samples * np.float32(10 ** (gain / 20))
    return faded(samples, piece.fade_in, piece.fade_out), gain


def stretch(path: Path, start: int, stop: int) -> NDArray[np.float32]:
    """Read the mono samples [stop - start] of a file, averaging channels. Raises MarathonError if any are missing."""
    import numpy as np

    from marathon_eval.api.decoding.sound_file import opened_sound

    try:
        with opened_sound(path) as sound:
            if sound.fault is not None:
                raise AudioError(sound.fault)
            blocks = [_as_mono(block) for block in sound.blocks(start, stop)]
    except AudioError as error:
        raise MarathonError(f"{path}: {error}") from None
    return np.concatenate(blocks)


def _as_mono(block: NDArray[np.float32]) -> NDArray[np.float32]:
    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)


def encoded(samples: NDArray[np.float32], item: Item) -> bytes:
    """Encode samples as mono 16-bit FLAC if the file's name ends so, else as WAV, block by block."""
    import soundfile

    buffer = io.BytesIO()
    kind = "FLAC" if item.audio.endswith(".flac") else "WAV"
    with soundfile.SoundFile(buffer, "w", item.rate, 1, subtype="PCM_16", format=kind) as file:
        for start in range(0, len(samples), ROUNDED_FRAMES):
            file.write(to_pcm16(samples[start : start + ROUNDED_FRAMES]))
    return buffer.getvalue()


def spans_of(item: Item, gains: Sequence[float]) -> list[dict[str, Any]]:
    """Return the source of every output frame, in order of time; `source` None marks inserted silence.

    Spans overlap only where sounds are mixed: in cross-fades, and where an event lies over a bed.
    """
    spans: list[dict[str, Any]] = []
    covered = 0
    for piece, gain in sorted(zip(item.pieces, gains, strict=True), key=lambda pair: pair[0].at):
        if piece.at > covered:
            spans.append({"start": covered, "stop": piece.at, "source": None})
        stop = piece.at + piece.length
        span: dict[str, Any] = {"start": piece.at, "stop": stop, "source": piece.source}
        span |= {"source_start": piece.start, "source_stop": piece.stop, "source_rate": piece.rate}
        extra = {"gain_db": round(gain, 4), "fade_in": piece.fade_in, "fade_out": piece.fade_out}
        spans.append(span | {name: value for name, value in extra.items() if value} | dict(piece.fields))
        covered = max(covered, stop)
    if covered < item.frames:
        spans.append({"start": covered, "stop": item.frames, "source": None})
    return spans
