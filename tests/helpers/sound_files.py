"""Writes audio files of many containers, codecs, rates and faults, each with the seconds that are right for it.

PyAV encodes what soundfile cannot. Nothing is stored: every file is made from a computed sound.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile

SECONDS = 3.25


@dataclass(frozen=True)
class SoundCase:
    """A file, and what is right for it: the seconds heard, or a pattern of the reason for which it is refused."""

    name: str
    make: Callable[[Path], None]
    seconds: float | None = None
    refused: str = ""


def wave(seconds: float, rate: int, channels: int) -> np.ndarray:
    """Return float32 samples [n, channels]: a rising tone with noise, another in each channel."""
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(0, 0.05, (len(time), channels))
    tones = [
        0.3 * np.sin(2 * np.pi * (200 + 90 * channel + 150 * time) * time) for channel in range(channels)
    ]
    return (np.stack(tones, axis=1) + noise).astype(np.float32)


def encoded(
    path: Path,
    codec: str,
    rate: int = 44100,
    layout: str = "stereo",
    seconds: float = SECONDS,
    container: str | None = None,
    video: bool = False,
    options: dict[str, str] | None = None,
    codec_options: dict[str, str] | None = None,
) -> None:
    """Encode the sound with one of FFmpeg's encoders; `video` adds a track of still pictures."""
    channels = av.AudioLayout(layout).nb_channels
    samples = wave(seconds, rate, channels)
    with av.open(str(path), "w", format=container, options=options or {}) as output:
        picture: Any = output.add_stream("mpeg4", rate=10) if video else None
        if video:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuv420p"
        stream: Any = output.add_stream(codec, rate=rate, layout=layout, options=codec_options or {})
        kind = stream.codec_context.codec.audio_formats[0].name
        resampler = av.AudioResampler(format=kind, layout=layout, rate=rate)
        for start in range(0, len(samples), 4096):
            block = np.ascontiguousarray(samples[start : start + 4096].reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(block, format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            for changed in resampler.resample(frame):
                output.mux(stream.encode(changed))
        output.mux(stream.encode(None))
        for number in range(round(seconds * 10) if video else 0):
            still = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number % 256, np.uint8), format="rgb24")
            still.pts, still.time_base = number, Fraction(1, 10)
            output.mux(picture.encode(still))
        if video:
            output.mux(picture.encode(None))


def by(codec: str, **more: Any) -> Callable[[Path], None]:
    """Return a maker that encodes with FFmpeg."""
    return lambda path: encoded(path, codec, **more)


def written(rate: int, channels: int, subtype: str | None = None, **more: Any) -> Callable[[Path], None]:
    """Return a maker that writes with libsndfile."""
    return lambda path: soundfile.write(path, wave(SECONDS, rate, channels), rate, subtype=subtype, **more)


def cut(make: Callable[[Path], None], share: float = 1 / 3) -> Callable[[Path], None]:
    """Return a maker of the first third of a file, as a broken download leaves it."""
    return changed(make, lambda content: content[: int(len(content) * share)])


def joined(*makes: Callable[[Path], None]) -> Callable[[Path], None]:
    """Return a maker of files written one behind another, as `cat` does."""

    def make(path: Path) -> None:
        contents = []
        for each in makes:
            each(path)
            contents.append(path.read_bytes())
        path.write_bytes(b"".join(contents))

    return make


def changed(make: Callable[[Path], None], change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Return a maker that changes the bytes of a file."""

    def changing(path: Path) -> None:
        make(path)
        path.write_bytes(change(path.read_bytes()))

    return changing


def without_length(content: bytes) -> bytes:
    """Return a FLAC or WAV whose header does not say how long it is, as programs write it that stream."""
    if content[:4] == b"fLaC":
        return content[:21] + bytes([content[21] & 0xF0]) + b"\0\0\0\0" + content[26:]
    at = content.index(b"data") + 4
    return content[:4] + b"\xff" * 4 + content[8:at] + b"\xff" * 4 + content[at + 4 :]


def with_flac_cover(content: bytes) -> bytes:
    """Return a FLAC with a picture block behind its first block (RFC 9639, section 8.8)."""
    picture = b"\xff\xd8" + bytes(20000) + b"\xff\xd9"
    mime = b"image/jpeg"
    block = (
        struct.pack(">II", 3, len(mime))
        + mime
        + struct.pack(">IIIIII", 0, 64, 64, 24, 0, len(picture))
        + picture
    )
    return content[:42] + b"\x06" + len(block).to_bytes(3, "big") + block + content[42:]


def with_id3_cover(content: bytes) -> bytes:
    """Return an MP3 behind an ID3v2.3 tag that carries a picture; bytes in it look like MPEG frames."""
    picture = b"\0image/jpeg\0\x03\0" + b"\xff\xfb\x90\x64" * 5000
    frame = b"APIC" + struct.pack(">IH", len(picture), 0) + picture
    length = bytes(len(frame) >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\0\0" + length + frame + content


def with_id3v1(content: bytes) -> bytes:
    """Return an MP3 with an ID3v1 tag at its end."""
    return content + b"TAG" + b"title".ljust(125, b"\0")


def cases() -> list[SoundCase]:
    """Return the table: containers and codecs, rates of 8 to 192 kHz, one to six channels, whole and with faults."""
    return [*libsndfile_cases(), *mpeg_cases(), *other_cases()]


def libsndfile_cases() -> list[SoundCase]:
    """Return the cases of formats that libsndfile knows."""
    opus = by("libopus", rate=48000, container="ogg")
    vorbis, wav, flac = written(44100, 2, "VORBIS"), written(44100, 2), written(44100, 2)
    missing = "missing|lacks|cut"
    return [
        SoundCase("six_channels.wav", written(48000, 6), SECONDS),
        SoundCase("telephone.wav", written(8000, 1, "ULAW"), SECONDS),
        SoundCase("adpcm.wav", by("adpcm_ima_wav"), SECONDS),
        SoundCase("without_length.wav", changed(wav, without_length), SECONDS),
        SoundCase("cut.wav", cut(wav), refused="bytes of audio are missing"),
        SoundCase("joined.wav", joined(wav, wav), refused="follow the audio"),
        SoundCase(
            "cut_rf64.wav", cut(written(44100, 2, format="RF64")), refused="bytes of audio are missing"
        ),
        SoundCase("whole.w64", wav, SECONDS),
        SoundCase("cut.w64", cut(wav), refused="bytes of audio are missing"),
        SoundCase("whole.aiff", wav, SECONDS),
        SoundCase("cut.aiff", cut(wav), refused="bytes of audio are missing"),
        SoundCase("whole.au", wav, SECONDS),
        SoundCase("cut.au", cut(wav), refused="bytes of audio are missing"),
        SoundCase("studio.flac", written(192000, 2, "PCM_24"), SECONDS),
        SoundCase("cover.flac", changed(written(96000, 1), with_flac_cover), SECONDS),
        SoundCase("without_length.flac", changed(flac, without_length), SECONDS),
        SoundCase("cut.flac", cut(flac), refused="before its header says"),
        SoundCase("joined.flac", joined(flac, flac), 2 * SECONDS),
        SoundCase("whole.ogg", vorbis, SECONDS),
        SoundCase("cut.ogg", cut(vorbis), refused=missing),
        SoundCase("joined.ogg", joined(vorbis, vorbis), 2 * SECONDS),
        SoundCase("whole.opus", opus, SECONDS),
        SoundCase("joined.opus", joined(opus, opus), 2 * SECONDS),
    ]


def mpeg_cases() -> list[SoundCase]:
    """Return the cases of MP3."""
    mp3, plain = by("libmp3lame"), by("libmp3lame", container="mp3", options={"write_xing": "0"})
    quality = {"flags": "+qscale", "global_quality": "400"}
    vbr = by("libmp3lame", container="mp3", options={"write_xing": "0"}, codec_options=quality)
    frames = (
        -(-round(SECONDS * 44100) // 1152) + 1
    )  # an MP3 encoder fills its last frame and adds one of delay
    bare = frames * 1152 / 44100
    missing = "missing|lacks|cut"
    return [
        SoundCase("whole.mp3", mp3, SECONDS),
        SoundCase("constant_without_xing.mp3", plain, bare),
        SoundCase("variable_without_xing.mp3", vbr, bare),
        SoundCase("joined.mp3", joined(mp3, mp3), 2 * SECONDS),
        SoundCase(
            "joined_tags.mp3", joined(changed(mp3, with_id3v1), changed(mp3, with_id3_cover)), 2 * SECONDS
        ),
        SoundCase("cut.mp3", cut(mp3), refused=missing),
        SoundCase("cover.mp3", changed(by("libmp3lame", rate=16000, layout="mono"), with_id3_cover), SECONDS),
    ]


def other_cases() -> list[SoundCase]:
    """Return the cases of formats that only FFmpeg knows."""
    aac, adts, fast = by("aac"), by("aac", container="adts"), by("aac", options={"movflags": "faststart"})
    webm, wma = by("libopus", rate=48000), by("wmav2", codec_options={"b": "128000"})
    amr = by("libopencore_amrnb", rate=8000, layout="mono", codec_options={"b": "12200"})
    missing = "missing|lacks|cut"
    return [
        SoundCase("whole.m4a", aac, SECONDS),
        SoundCase("lossless.m4a", by("alac"), SECONDS),
        SoundCase("cut_before_index.m4a", cut(aac), refused=missing),
        SoundCase("cut_behind_index.m4a", cut(fast), refused=missing),
        SoundCase("joined.m4a", joined(aac, aac), 2 * SECONDS),
        SoundCase("film.mp4", by("aac", video=True), SECONDS),
        SoundCase("whole.aac", adts, SECONDS + 1024 / 44100),
        SoundCase("cut.aac", cut(adts), refused=missing),
        SoundCase("whole.webm", webm, SECONDS),
        SoundCase("six_channels.mka", by("libopus", rate=48000, layout="5.1", container="matroska"), SECONDS),
        SoundCase("cut.webm", cut(webm), refused=missing),
        SoundCase("whole.wma", wma, SECONDS),
        SoundCase("cut.wma", cut(wma), refused=missing),
        SoundCase("whole.amr", amr, SECONDS),
        SoundCase("cut.amr", cut(amr), refused=missing),
    ]
