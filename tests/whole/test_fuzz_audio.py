"""Tests audio files with changed bytes: they are decoded, or refused with their name."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.fuzz_cases import cases, mutated, survives
from marathon_eval.api.audio import MAX_SECONDS, Audio

FORMATS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "ogg": ("OGG", "VORBIS"),
    "float.wav": ("WAV", "FLOAT"),
}


def sound(form: str) -> bytes:
    import soundfile

    container, subtype = FORMATS[form]
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).normal(0, 0.1, 800).astype(np.float32)
    soundfile.write(buffer, noise, 16000, format=container, subtype=subtype)
    return buffer.getvalue()


SOUNDS = {form: sound(form) for form in FORMATS}


@pytest.mark.parametrize("form", FORMATS)
def test_changed_bytes_are_heard_or_refused(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"clip.{form}"

    @cases(400)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        path.write_bytes(data.draw(st.composite(lambda draw: mutated(SOUNDS[form], draw))()))
        clip = Audio(str(path), 0.0, data.draw(st.sampled_from([None, 0.01])))
        facts = survives(clip.facts)
        assert facts is None or 0 < facts.seconds <= MAX_SECONDS
        samples = survives(lambda: clip.samples(8000))
        assert samples is None or (samples.dtype == np.float32 and samples.ndim == 1)

    check()


@given(st.floats(), st.none() | st.floats())
@cases(300)
def test_any_stretch_is_heard_or_refused(start: float, stop: float | None) -> None:
    path = Path(__file__).resolve().parents[1] / "data" / "absent.wav"
    assert survives(lambda: Audio(str(path), start, stop).facts()) is None


def test_any_stretch_of_a_real_clip_is_heard_or_refused(make_wav) -> None:
    path = str(make_wav())

    @cases(400)
    @given(st.floats() | st.floats(-1, 2), st.none() | st.floats() | st.floats(-1, 2))
    def check(start: float, stop: float | None) -> None:
        facts = survives(lambda: Audio(path, start, stop).facts())
        assert facts is None or math.isclose(
            facts.seconds, (1.0 if stop is None else stop) - start, abs_tol=1e-3
        )

    check()


@pytest.mark.parametrize("hours", [5, 10, 100_000])
def test_a_header_of_many_hours_is_refused_unread(hours: int, tmp_path: Path) -> None:
    """A FLAC's STREAMINFO may claim 2 ** 36 samples; nothing of that length is ever allocated."""
    content = bytearray(SOUNDS["flac"])
    frames = min(hours * 3600 * 16000, 2**36 - 1)
    content[21] = (content[21] & 0xF0) | frames >> 32
    content[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    path = tmp_path / "long.flac"
    path.write_bytes(content)
    with pytest.raises(Exception, match="over the limit of 14400 s"):
        Audio(str(path)).facts()
