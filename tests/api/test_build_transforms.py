"""Tests what each sound transform does, and that it is part of a request's cache key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.api.transforms import (
    TRANSFORM_STEPS,
    canonical_steps,
    parsed_steps,
    seconds_after,
    transformed,
)
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import AudioError, MarathonError

RATE = 16000
MakeWav = Callable[..., Path]
EXAMPLES = {
    "noise": "noise:snr=10",
    "codec": "codec:name=mp3",
    "speed": "speed:factor=1.25",
    "silence": "silence:seconds=0.5",
    "rate": "rate:hz=4000",
}


def speech(seconds: float = 2.0) -> NDArray[np.float32]:
    """A tone with a pause and overtones."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * 200 * k * time + k) / k for k in range(1, 30))
    return np.asarray(0.1 * wave * (time % 1 < 0.7), dtype=np.float32)


def difference_db(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    return float(10 * np.log10(np.mean(before**2) / np.mean((after - before) ** 2)))


def test_every_step_has_an_example() -> None:
    assert EXAMPLES.keys() == TRANSFORM_STEPS.keys()


@pytest.mark.parametrize("text", EXAMPLES.values())
def test_changes_are_pure(text: str) -> None:
    samples = speech()
    before = samples.copy()
    first, second = transformed(text, samples, RATE), transformed(text, samples, RATE)
    np.testing.assert_array_equal(samples, before)
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32
    assert len(first) == pytest.approx(seconds_after(text, 2.0) * RATE, abs=1)
    assert not np.array_equal(first[:RATE], samples[:RATE])


@pytest.mark.parametrize("color", ["white", "pink"])
def test_noise_has_the_level_that_is_asked_for(color: str) -> None:
    samples = speech(10)
    loud = samples[np.abs(samples) > 0]
    for snr in (0, 10, 25):
        noise = transformed(f"noise:snr={snr},color={color}", samples, RATE) - samples
        assert 10 * np.log10(np.mean(loud**2) / np.mean(noise**2)) == pytest.approx(snr, abs=0.7)
    other = transformed("noise:snr=10,seed=1", samples, RATE) - transformed("noise:snr=10", samples, RATE)
    assert np.abs(other).max() > 0.01, "another seed is other noise"


def test_pink_noise_falls_by_three_decibel_per_octave() -> None:
    samples = speech(10)
    noise = transformed("noise:snr=0,color=pink", samples, RATE) - samples
    power = np.abs(np.fft.rfft(noise)) ** 2
    hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
    octaves = [power[(hertz >= low) & (hertz < 2 * low)].mean() for low in (250, 500, 1000, 2000)]
    np.testing.assert_allclose(np.diff(10 * np.log10(octaves)), -3.0, atol=0.5)


@pytest.mark.parametrize("name", ["mp3", "vorbis", "opus", "ulaw", "alaw", "gsm"])
def test_codecs_lose_something_but_not_the_time(name: str) -> None:
    samples = speech()
    after = transformed(f"codec:name={name}", samples, RATE)
    assert len(after) == len(samples)
    assert 5 < difference_db(samples, after) < 60
    shifted = [difference_db(samples[100:-100], np.roll(after, shift)[100:-100]) for shift in (-20, 0, 20)]
    assert max(shifted) == shifted[1]


def test_speed_silence_and_rate() -> None:
    time = np.arange(2 * RATE) / RATE
    tone = np.asarray(0.5 * np.sin(2 * np.pi * 1000 * time), dtype=np.float32)
    fast = transformed("speed:factor=2", tone, RATE)
    assert len(fast) == RATE
    assert np.abs(np.fft.rfft(fast)).argmax() == 2000
    late = transformed("silence:seconds=0.25", tone, RATE)
    assert not late[: RATE // 4].any()
    np.testing.assert_array_equal(late[RATE // 4 :], tone)
    np.testing.assert_array_equal(transformed("rate:hz=48000", tone, RATE), tone)
    assert np.abs(transformed("rate:hz=1500", tone, RATE)[1000:-1000]).max() < 0.01


def test_steps_run_from_left_to_right() -> None:
    samples = speech()
    both = transformed("silence:seconds=1+noise:snr=20", samples, RATE)
    assert np.abs(both[:RATE]).max() > 0
    other = transformed("noise:snr=20+silence:seconds=1", samples, RATE)
    assert not other[:RATE].any()
    assert seconds_after("speed:factor=2+silence:seconds=1", 10) == 6
    assert seconds_after("silence:seconds=1+speed:factor=2", 10) == 5.5


def test_one_spelling_for_one_change() -> None:
    assert (
        canonical_steps(" noise:seed=0 ,snr=10 ")
        == canonical_steps("noise:snr=10.0")
        == "noise:color=white,seed=0,snr=10.0"
    )
    assert canonical_steps("") == ""
    assert parsed_steps("") == ()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nois:snr=1", r"--transform: no transform 'nois'\. Did you mean noise\? Known: codec, noise, rate"),
        ("noise:snd=1", r"--transform: no setting of noise 'snd'\. Did you mean snr\?"),
        ("noise", r"--transform: noise:snr: must be given"),
        ("noise:snr=loud", r"--transform: noise:snr: 'loud' is no float"),
        ("noise:snr=nan", r"noise:snr: must lie in \[-60, 120\], got nan"),
        ("speed:factor=9", r"speed:factor: must lie in \[0\.25, 4\], got 9"),
        ("codec:name=mp4", r"no value 'mp4'\. Did you mean mp3\?"),
        ("silence:seconds=-1", r"silence:seconds: must lie in \[0, 600\]"),
    ],
)
def test_mistakes(text: str, error: str) -> None:
    with pytest.raises(MarathonError, match=error):
        parsed_steps(text)


def test_audio_is_changed_before_a_model_resamples_it(make_wav: MakeWav) -> None:
    path = str(make_wav(seconds=2, rate=22050))
    plain, late = Audio(path), Audio(path, transform="silence:seconds=0.5")
    assert (plain.seconds, late.seconds) == (2.0, 2.5)
    assert late.facts().seconds == 2.5
    samples = late.samples(16000)
    assert len(samples) == 40000
    assert np.abs(samples[:7990]).max() < 1e-3
    stretch = Audio(path, 0.5, 1.5, "speed:factor=2")
    assert stretch.seconds == 0.5
    assert len(stretch.samples(16000)) == 8000


def test_the_change_is_part_of_a_request_s_key(make_wav: MakeWav, tmp_path: Path) -> None:
    path = str(make_wav())
    texts = [
        "",
        "noise:snr=10",
        "noise:snr=10.0,seed=0",
        "noise:snr=10,seed=1",
        "noise:snr=11",
        "rate:hz=8000",
    ]
    requests = [Request("?", (Audio(path, transform=text),)) for text in texts]
    for _ in range(2):  # the second time from the hash memo
        with ResponseCache(tmp_path) as cache:
            keyed, failed = cache.keyed("model", requests)
        assert not failed
        keys = [keyed[request].key for request in requests]
        assert keys[1] == keys[2], "one change, two spellings"
        assert len(set(keys)) == len(texts) - 1


def test_what_cannot_be_changed_is_a_bad_row(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match=r"silent\.wav: .*silent"):
        Audio(str(tmp_path / "silent.wav"), transform="noise:snr=10").samples(RATE)
