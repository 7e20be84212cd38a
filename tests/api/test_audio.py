"""Tests how sections of audio files are decoded and hashed, and which are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from marathon_eval.api.audio import Audio
from marathon_eval.errors import AudioError


def test_samples_are_mono_float32_at_the_asked_rate(tmp_path: Path) -> None:
    left = np.full(22050, 0.5, dtype=np.float32)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, -left / 2], axis=1), 22050, subtype="FLOAT")
    samples = Audio(str(tmp_path / "stereo.wav")).samples(16000)
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    assert samples[4000:12000].mean() == pytest.approx(0.125, abs=1e-3)


def test_a_stretch_is_cut_exactly(make_wav) -> None:
    path = make_wav(seconds=3)
    whole = Audio(str(path)).samples(16000)
    stretch = Audio(str(path), 1.0, 2.5)
    assert stretch.seconds == 1.5
    np.testing.assert_array_equal(stretch.samples(16000), whole[16000:40000])


def test_hash_is_of_the_sound_not_of_the_container(tmp_path: Path, make_wav) -> None:
    wav = make_wav(seconds=2)
    data, rate = soundfile.read(wav, dtype="int16")
    soundfile.write(tmp_path / "same.flac", data, rate)
    data[100] += 1
    soundfile.write(tmp_path / "other.flac", data, rate)
    facts = [Audio(str(path)).facts() for path in (wav, tmp_path / "same.flac", tmp_path / "other.flac")]
    assert facts[0] == facts[1]
    assert facts[0].sha256 != facts[2].sha256
    assert facts[0].seconds == 2.0


def test_hash_differs_by_stretch_and_rate(tmp_path: Path, make_wav) -> None:
    path = make_wav(seconds=2)
    data, _ = soundfile.read(path, dtype="int16")
    soundfile.write(tmp_path / "slow.wav", data, 8000)
    hashes = {
        audio.facts().sha256
        for audio in (
            Audio(str(path)),
            Audio(str(path), 0, 1),
            Audio(str(path), 0.9991, 2),
            Audio(str(tmp_path / "slow.wav")),
        )
    }
    assert len(hashes) == 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such audio file"),
        (b"", "not readable"),
        (b"RIFF....WAVE", "not readable"),
        (b"text" * 99, "not readable"),
    ],
)
def test_what_is_no_audio_is_an_audio_error(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "x.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError, match=reason):
        Audio(str(path)).samples(16000)


def test_zero_seconds_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "empty.wav", np.zeros(0, dtype=np.float32), 16000)
    with pytest.raises(AudioError, match="holds no audio"):
        Audio(str(tmp_path / "empty.wav")).facts()


def test_a_file_shorter_than_its_header_says_is_not_shortened_silently(tmp_path: Path, make_wav) -> None:
    flac = tmp_path / "cut.flac"
    data, rate = soundfile.read(make_wav(seconds=4))
    soundfile.write(flac, data + np.random.default_rng(0).normal(0, 0.1, len(data)), rate)
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    with pytest.raises(AudioError, match="before its header says|damaged|not readable"):
        Audio(str(flac)).samples(16000)


@pytest.mark.parametrize(("start", "stop"), [(0.5, 0.5), (-1, None), (0, 2.0), (3, None)])
def test_stretch_outside_the_file_is_refused(make_wav, start: float, stop: float | None) -> None:
    with pytest.raises(AudioError, match="is not inside its 1.000 s"):
        Audio(str(make_wav(seconds=1)), start, stop).facts()


def test_a_header_of_many_hours_is_refused_before_decoding(tmp_path: Path, make_wav) -> None:
    path = make_wav(seconds=1, rate=16000)
    raw = bytearray(path.read_bytes())
    raw[24:28] = (1).to_bytes(4, "little")  # one sample per second: 16,000 s
    path.write_bytes(raw)
    with pytest.raises(AudioError, match="over the limit"):
        Audio(str(path)).samples(16000)
