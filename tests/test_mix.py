"""Mixing: levels as the standard measures them, offsets to the sample, answers that follow from the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from marathon_eval.api.audio import Audio
from marathon_eval.api.loudness import loudness
from marathon_eval.corpus.build.mix import MixSettings, mix, mix_files
from marathon_eval.errors import AudioError, MarathonError

RATE = 16000


def tone(hz: float, seconds: float, dbfs: float, rate: int) -> NDArray[np.float32]:
    """A sine whose peak is at `dbfs`."""
    time = np.arange(round(seconds * rate)) / rate
    return (10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * time)).astype(np.float32)


def babble(seed: int, seconds: float, gain: float = 0.2) -> NDArray[np.float32]:
    """Coloured noise with syllables and pauses: what gates are for."""
    draw = np.random.default_rng(seed)
    noise = np.convolve(draw.standard_normal(round(seconds * RATE)), np.ones(8) / 8, "same")
    syllables = np.repeat(draw.choice([0.0, 0.3, 1.0], round(seconds * 5) + 1), RATE // 5)[: len(noise)]
    return (gain * noise * syllables).astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_a_full_scale_kilohertz_is_at_minus_three(rate: int) -> None:
    """BS.1770: a 997 Hz sine with its peak at full scale reads -3.01 LKFS in one channel."""
    assert loudness(tone(997, 5, 0, rate), rate).level == pytest.approx(-3.01, abs=0.06)


@pytest.mark.parametrize("dbfs", [-23.0, -33.0])
def test_ebu_tone_levels(dbfs: float) -> None:
    """EBU Tech 3341, cases 1 and 2, in one channel of two: 3.01 below the stereo reading."""
    assert loudness(tone(1000, 20, dbfs, 48000), 48000).level == pytest.approx(dbfs - 3.01, abs=0.1)


def test_quiet_parts_are_gated_out() -> None:
    """EBU Tech 3341, case 3: 36 dB below for 10 s on both sides changes nothing."""
    loud, quiet = tone(1000, 20, -23, 48000), tone(1000, 10, -59, 48000)
    whole = loudness(np.concatenate([quiet, loud, quiet]), 48000).level
    assert whole == pytest.approx(loudness(loud, 48000).level, abs=0.1)


def test_low_frequencies_count_less_and_high_ones_more() -> None:
    middle, low, high = (loudness(tone(hz, 3, -20, 48000), 48000).level for hz in (1000, 40, 4000))
    assert low < middle - 5
    assert high == pytest.approx(middle + 3.3, abs=0.3)


def test_short_clips_have_an_active_level() -> None:
    short = tone(500, 0.2, -20, RATE)
    found = loudness(np.concatenate([short, np.zeros(1000, np.float32)]), RATE)
    assert found.method == "active_rms"
    assert found.level == pytest.approx(-23.0, abs=0.5)


@pytest.mark.parametrize("samples", [np.zeros(RATE), np.full(RATE, 1e-5), np.zeros(100)])
def test_silence_has_no_level(samples: NDArray[np.float64]) -> None:
    with pytest.raises(MarathonError, match="silent"):
        loudness(samples.astype(np.float32), RATE)


def test_samples_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(MarathonError, match="no numbers"):
        loudness(np.array([0.1, np.nan], np.float32), RATE)


@pytest.mark.parametrize("level_diff", [-20.0, -6.0, -0.4, 0.0, 3.0, 15.0])
@pytest.mark.parametrize("offset_s", [-7.3, -0.6, 0.0, 1.25, 9.00003])
def test_level_and_offset_are_met(level_diff: float, offset_s: float) -> None:
    a, b = babble(1, 6), babble(2, 4, gain=0.05)
    mixed = mix(a, b, MixSettings(level_diff, offset_s))
    assert mixed.level_diff == pytest.approx(level_diff, abs=0.1)
    offset = round(offset_s * RATE)
    assert mixed.b.start - mixed.a.start == offset
    assert min(mixed.a.start, mixed.b.start) == 0
    assert len(mixed.samples) == max(mixed.a.stop, mixed.b.stop)
    assert np.abs(mixed.samples).max() <= 10 ** (-1 / 20) + 1e-6
    # what is said of the mixture must be in its samples
    rebuilt = np.zeros(len(mixed.samples))
    for clip, placed in ((a, mixed.a), (b, mixed.b)):
        rebuilt[placed.start : placed.stop] += clip * 10 ** (placed.gain_db / 20)
    np.testing.assert_allclose(mixed.samples, rebuilt, atol=1e-6)


def test_swapping_the_clips_turns_both_answers_round() -> None:
    a, b = babble(3, 5), babble(4, 5)
    one, other = mix(a, b, MixSettings(6, 2)), mix(b, a, MixSettings(-6, -2))
    assert (one.louder, one.ahead, other.louder, other.ahead) == ("a", "a", "b", "b")
    assert one.level_diff == pytest.approx(-other.level_diff, abs=1e-3)


@pytest.mark.parametrize(
    ("level_diff", "offset_s", "unclear"),
    [(0.5, 3.0, ["louder"]), (4.0, 0.1, ["ahead"]), (0.0, 0.0, ["louder", "ahead"]), (-4.0, -3.0, [])],
)
def test_what_cannot_be_told_is_said(level_diff: float, offset_s: float, unclear: list[str]) -> None:
    assert mix(babble(5, 5), babble(6, 5), MixSettings(level_diff, offset_s)).ambiguous == unclear


def test_an_offset_beyond_the_end_leaves_a_gap() -> None:
    mixed = mix(babble(7, 2), babble(8, 2), MixSettings(0, 5))
    assert mixed.facts()["overlap_s"] == 0
    assert not mixed.samples[2 * RATE : 5 * RATE].any()


def test_a_short_clip_makes_both_measured_alike() -> None:
    mixed = mix(babble(9, 3), tone(600, 0.3, -10, RATE), MixSettings(5, 1))
    assert mixed.method == "active_rms"
    assert mixed.level_diff == pytest.approx(5, abs=0.1)


def test_a_difference_that_sinks_a_clip_under_the_gate_is_refused() -> None:
    with pytest.raises(MarathonError, match="silent|too quiet"):
        mix(babble(10, 3, gain=0.01), babble(11, 3), MixSettings(55, 0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"level_diff": 99},
        {"offset_s": float("nan")},
        {"rate": 100},
        {"ceiling_dbfs": 3},
        {"equal_margin": -1},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(MarathonError, match="mix: "):
        MixSettings(**{"level_diff": 0, "offset_s": 0, **wrong})  # type: ignore[arg-type]  # wrong on purpose


def test_files_are_mixed_resampled_and_described(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.column_stack([tone(440, 3, -12, 44100)] * 2), 44100)
    soundfile.write(tmp_path / "b.flac", tone(880, 2, -30, 8000), 8000)
    one = [Audio(str(tmp_path / name)) for name in ("a.wav", "b.flac")]
    outs = [tmp_path / "out" / f"{number}.wav" for number in (1, 2)]
    facts = [mix_files(one[0], one[1], out, MixSettings(-3, 0.75)) for out in outs]
    assert facts[0] == facts[1]
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert facts[0]["b"]["start"] == 12000
    assert (facts[0]["louder"], facts[0]["ahead"]) == ("b", "a")
    assert facts[0]["seconds"] == pytest.approx(3.0, abs=0.001)
    assert facts[0]["sources"]["a"]["sha256"] == one[0].facts().sha256
    assert soundfile.info(outs[0]).subtype == "PCM_16"


def test_what_cannot_be_read_or_written_is_one_line(tmp_path: Path, make_wav: object) -> None:
    good = Audio(str(make_wav("g.wav")))  # type: ignore[operator]  # the fixture is a callable
    with pytest.raises(AudioError, match="no such audio file"):
        mix_files(good, Audio(str(tmp_path / "none.wav")), tmp_path / "o.wav", MixSettings(0, 0))
    (tmp_path / "file").write_text("x")
    with pytest.raises(MarathonError, match="cannot write"):
        mix_files(good, good, tmp_path / "file" / "o.wav", MixSettings(0, 0))
