"""Tests the table of sound files: each is heard whole or refused for its own reason, alike by a run and by doctor."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.dataset_with_faults import two_tracks
from helpers.fuzz_cases import survives
from helpers.sound_files import SECONDS, SoundCase, cases, encoded, wave
from marathon_eval.api.audio import Audio
from marathon_eval.api.decoding.sound_file import examined
from marathon_eval.corpus.audit.decode import hear
from marathon_eval.errors import AudioError

TABLE = cases()
LIBSNDFILE = (
    "six_channels.wav",
    "telephone.wav",
    "whole.w64",
    "whole.aiff",
    "whole.au",
    "studio.flac",
    "cover.flac",
    "whole.ogg",
    "whole.opus",
    "whole.mp3",
    "cover.mp3",
)


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_a_file_is_heard_whole_or_refused_for_its_reason(case: SoundCase, tmp_path: Path) -> None:
    path = tmp_path / case.name
    case.make(path)
    heard = hear(path)
    if case.refused:
        with pytest.raises(AudioError, match=case.refused) as refused:
            Audio(str(path)).facts()
        with pytest.raises(AudioError, match=case.refused):
            Audio(str(path), 0.0, 0.5).samples(16000)
        reason = str(refused.value).removeprefix(f"{path}: ")
        assert reason == (heard.error or heard.cut_short)
        return
    facts = Audio(str(path)).facts()
    assert facts.seconds == pytest.approx(case.seconds, abs=0.03)
    assert Audio(str(path)).seconds == pytest.approx(facts.seconds, abs=1e-6)
    assert len(Audio(str(path)).samples(16000)) == pytest.approx(16000 * facts.seconds, abs=2)
    assert (heard.error, heard.cut_short, heard.sha256) == (None, None, facts.sha256)
    assert heard.seconds == pytest.approx(facts.seconds, abs=1e-6)


#: A whole file of each container.
ONE_EACH = {case.name.rpartition(".")[2]: case for case in reversed(TABLE) if not case.refused}


@pytest.mark.parametrize("container", sorted(ONE_EACH))
def test_any_beginning_and_any_length_in_a_header_is_examined(container: str, tmp_path: Path) -> None:
    """Files of few bytes, and lengths of 64 bits that no file has, by every reader of a structure."""
    whole, path = tmp_path / f"whole.{container}", tmp_path / f"changed.{container}"
    ONE_EACH[container].make(whole)
    content = whole.read_bytes()[:8192]
    changed = [content[:count] for count in range(1, 65)]
    for length in (b"\xff" * 7 + b"\x7f", b"\x7f" + b"\xff" * 7, b"\xff" * 8):
        changed += [content[:at] + length + content[at + 8 :] for at in range(0, 256, 2)]
    for data in changed:
        path.write_bytes(data)
        survives(lambda: examined(path))


def test_a_sound_mp3_is_decoded_without_a_word(tmp_path: Path) -> None:
    """libmpg123 prints errors about whole files in which it is made to seek, straight to the process's stderr."""
    path = tmp_path / "talk.mp3"
    time = np.arange(16000 * 60) / 16000
    voice = sum(np.sin(2 * np.pi * 150 * part * time + part) / part for part in range(1, 30))
    soundfile.write(path, 0.3 * voice * np.abs(np.sin(9 * time)) ** 3, 16000)
    code = (
        "import sys; from pathlib import Path; from marathon_eval.api.audio import Audio; "
        "from marathon_eval.corpus.audit.decode import hear; path = sys.argv[1]; "
        "print(hear(Path(path)).sha256 == Audio(path).facts().sha256, len(Audio(path, 20.0, 50.0).samples(16000)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["True", "480000"], "")
    whole = soundfile.read(path, dtype="float32")[0]
    assert np.array_equal(Audio(str(path)).samples(16000), whole)
    assert np.array_equal(Audio(str(path), 20.0, 50.0).samples(16000), whole[320000:800000])


def test_the_table_is_wide() -> None:
    assert len(TABLE) >= 40
    assert len({case.name.rpartition(".")[2] for case in TABLE}) >= 12


@pytest.mark.parametrize("name", LIBSNDFILE)
def test_hashes_of_files_that_soundfile_reads_right_stay(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    next(case for case in TABLE if case.name == name).make(path)
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    digest = hashlib.sha256(f"{rate}:{samples.shape[1]}:".encode() + samples.tobytes()).hexdigest()
    assert Audio(str(path)).facts().sha256 == digest


@pytest.mark.parametrize("name", ["whole.m4a", "lossless.m4a", "whole.webm", "joined.mp3", "whole.aac"])
def test_a_stretch_of_a_file_that_ffmpeg_reads_is_cut_exactly(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    next(case for case in TABLE if case.name == name).make(path)
    whole = Audio(str(path)).samples(48000 if name.endswith("webm") else 44100)
    rate = 48000 if name.endswith("webm") else 44100
    part = Audio(str(path), 1.0, 2.5).samples(rate)
    np.testing.assert_array_equal(part, whole[rate : rate + len(part)])
    assert len(part) == 1.5 * rate
    with pytest.raises(AudioError, match=r"is not inside|before its header says"):
        Audio(str(path), 6.0, 7.0).facts()


def test_lossless_codecs_give_the_samples_that_were_encoded(tmp_path: Path) -> None:
    path = tmp_path / "lossless.m4a"
    encoded(path, "alac")
    soundfile.write(tmp_path / "same.wav", wave(SECONDS, 44100, 2), 44100, subtype="PCM_16")
    ours, same = Audio(str(path)).samples(44100), Audio(str(tmp_path / "same.wav")).samples(44100)
    assert len(ours) == len(same)
    assert np.abs(ours - same).max() <= 2 / 32768


def test_the_limit_of_hours_counts_the_stretch(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    frames = int(4.5 * 3600 * 8000)
    with soundfile.SoundFile(path, "w", 8000, 1, subtype="PCM_U8") as file:
        for _ in range(27):
            file.write(np.zeros(frames // 27, np.float32))
    assert Audio(str(path), 16000.0, 16060.0).facts().seconds == 60.0
    with pytest.raises(AudioError, match="over the limit"):
        Audio(str(path)).facts()


@pytest.mark.parametrize("name", ["whole.m4a", "whole.mp3", "studio.flac", "whole.ogg"])
def test_damage_in_the_middle_is_no_silent_loss(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    next(case for case in TABLE if case.name == name).make(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = bytes(range(7, 247)) * 25
    path.write_bytes(content)
    with pytest.raises(AudioError, match="damaged|before its header says"):
        Audio(str(path)).facts()


def test_a_playlist_is_no_audio(tmp_path: Path, make_wav) -> None:
    path = tmp_path / "list.m4a"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:1,\n{make_wav(seconds=1)}\n#EXT-X-ENDLIST\n")
    with pytest.raises(AudioError, match="not readable as audio"):
        Audio(str(path)).facts()


def test_parts_of_different_rates_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "joined.mp3"
    contents = []
    for rate in (44100, 22050):
        encoded(path, "libmp3lame", rate=rate)
        contents.append(path.read_bytes())
    path.write_bytes(b"".join(contents))
    with pytest.raises(AudioError, match=re.escape("part 2 of 2 has 22050 Hz")):
        Audio(str(path)).facts()


def test_a_file_with_two_tracks_says_which_one_is_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "film.mka"
    two_tracks(path)
    assert Audio(str(path)).facts().seconds == pytest.approx(20, abs=0.03)
    assert capsys.readouterr().err == (
        f"marathon-eval: {path}: 2 audio tracks, of which only number 1 is decoded\n"
    )
    encoded(tmp_path / "one.mka", "aac", container="matroska")
    Audio(str(tmp_path / "one.mka")).facts()
    assert not capsys.readouterr().err
