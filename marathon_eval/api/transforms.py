"""Changes the sound that a model gets, to test its robustness: noise, codecs, speed, leading silence, sample rate.

A transform is written `noise:snr=10,seed=1+codec:name=mp3`: steps from left to right. Its canonical text is part of
a request's cache key, so that responses to the original and to the changed sound never mix. Each step works at the
file's own rate, before a model resamples, and depends on nothing but its settings and the sound itself.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.loudness import loudness
from marathon_eval.errors import MarathonError, unknown

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Increase it when a step's arithmetic changes: it is part of every cache key of a transformed sound.
VERSION = 1


class Codec(NamedTuple):
    """Names a container and subtype of libsndfile, and the rate that the codec works at (None: the sound's own)."""

    container: str
    subtype: str
    rate: int | None = None


CODECS = {
    "mp3": Codec("MP3", "MPEG_LAYER_III"),
    "vorbis": Codec("OGG", "VORBIS"),
    "opus": Codec("OGG", "OPUS", 48000),
    "ulaw": Codec("WAV", "ULAW", 8000),
    "alaw": Codec("WAV", "ALAW", 8000),
    "gsm": Codec("WAV", "GSM610", 8000),
}


@dataclass(frozen=True)
class TransformStep:
    """Holds one step with its settings, in the order of their names."""

    name: str
    settings: tuple[tuple[str, Any], ...]

    def __str__(self) -> str:
        return f"{self.name}:" + ",".join(f"{key}={value}" for key, value in self.settings)


@cache
def parsed_steps(text: str, where: str = "--transform") -> tuple[TransformStep, ...]:
    """Parse a transform; empty text has no steps.

    Raises MarathonError for an unknown step or setting, and for a value out of bounds.
    """
    return tuple(_step(part.strip(), where) for part in text.split("+")) if text.strip() else ()


def canonical_steps(text: str) -> str:
    """Return the transform in its one canonical spelling, with defaults written out. Raises MarathonError."""
    return "+".join(map(str, parsed_steps(text)))


def transformed(text: str, samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Apply all steps to mono samples [n] at `rate` Hz; the length may change. Raises MarathonError."""
    for step in parsed_steps(text):
        samples = TRANSFORM_STEPS[step.name].apply(samples, rate, dict(step.settings))
    return samples


def seconds_after(text: str, seconds: float) -> float:
    """Return how many seconds a sound of `seconds` lasts after all steps."""
    for step in parsed_steps(text):
        settings = dict(step.settings)
        if step.name == "speed":
            seconds /= settings["factor"]
        elif step.name == "silence":
            seconds += settings["seconds"]
    return seconds


def noise(samples: NDArray[np.float32], rate: int, settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Add white or pink noise at `snr` dB under the sound's active level, drawn from (seed, sound)."""
    import numpy as np

    draw = np.random.default_rng([settings["seed"], zlib.crc32(samples.tobytes())])
    hiss = draw.standard_normal(len(samples))
    if settings["color"] == "pink":
        spectrum = np.fft.rfft(hiss)
        spectrum /= np.sqrt(np.maximum(1.0, np.arange(len(spectrum))))
        hiss = np.fft.irfft(spectrum, len(samples))
    level = loudness(samples, rate, "active_rms").level - settings["snr"]
    hiss *= 10 ** (level / 20) / np.sqrt(np.mean(np.square(hiss)))
    return np.asarray(samples + hiss, dtype=np.float32)


def codec(samples: NDArray[np.float32], rate: int, settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Encode and decode with a codec, telephone codecs at their 8 kHz. Keeps the length. Raises MarathonError."""
    import numpy as np
    import soundfile

    kind = CODECS[settings["name"]]
    inner = kind.rate or rate
    buffer = io.BytesIO()
    try:
        limited = np.clip(_at_rate(samples, rate, inner), -1.0, 1.0)
        soundfile.write(buffer, limited, inner, format=kind.container, subtype=kind.subtype)
        buffer.seek(0)
        decoded, _ = soundfile.read(buffer, dtype="float32")
    except (soundfile.LibsndfileError, ValueError) as error:
        raise MarathonError(
            f"codec:name={settings['name']}: not possible at {inner} Hz here ({error})"
        ) from None
    return _fitted(_at_rate(decoded, inner, rate), len(samples))


def speed(samples: NDArray[np.float32], rate: int, settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Play faster by `factor`, which raises the pitch; below 1 slower and lower."""
    return _at_rate(samples, rate * settings["factor"], rate)


def silence(samples: NDArray[np.float32], rate: int, settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Put `seconds` of silence before the sound."""
    import numpy as np

    return np.pad(samples, (round(settings["seconds"] * rate), 0))


def lower_rate(samples: NDArray[np.float32], rate: int, settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """Resample down to `hz` and up again, which removes frequencies above `hz` / 2. Keeps the length.

    The sound is unchanged where `hz` is not below its rate.
    """
    if settings["hz"] >= rate:
        return samples
    return _fitted(_at_rate(_at_rate(samples, rate, settings["hz"]), settings["hz"], rate), len(samples))


def _at_rate(samples: NDArray[np.float32], rate: float, new_rate: float) -> NDArray[np.float32]:
    import numpy as np

    if rate == new_rate:
        return samples
    import soxr

    return np.asarray(soxr.resample(samples, rate, new_rate), dtype=np.float32)


def _fitted(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """Pad or cut to `length`: codecs and resamplers may add or lose samples at the end."""
    import numpy as np

    return np.pad(samples, (0, max(0, length - len(samples))))[:length]


class Setting(NamedTuple):
    """Declares a setting's type, default (None: must be given), and bounds or allowed names."""

    kind: type
    default: Any = None
    low: float | None = None
    high: float | None = None
    names: tuple[str, ...] = ()


class TransformKind(NamedTuple):
    """Pairs a step's function with its settings."""

    apply: Callable[[NDArray[np.float32], int, Mapping[str, Any]], NDArray[np.float32]]
    settings: Mapping[str, Setting]


TRANSFORM_STEPS: dict[str, TransformKind] = {
    "noise": TransformKind(
        noise,
        {
            "color": Setting(str, "white", names=("white", "pink")),
            "seed": Setting(int, 0, low=0),
            "snr": Setting(float, low=-60, high=120),
        },
    ),
    "codec": TransformKind(codec, {"name": Setting(str, names=tuple(CODECS))}),
    "speed": TransformKind(speed, {"factor": Setting(float, low=0.25, high=4)}),
    "silence": TransformKind(silence, {"seconds": Setting(float, low=0, high=600)}),
    "rate": TransformKind(lower_rate, {"hz": Setting(int, low=1000, high=192000)}),
}


def _step(text: str, where: str) -> TransformStep:
    name, _, rest = text.partition(":")
    if name not in TRANSFORM_STEPS:
        raise unknown(where, "transform", name, TRANSFORM_STEPS)
    settings = TRANSFORM_STEPS[name].settings
    texts: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key.strip() not in settings:
            raise unknown(where, f"setting of {name}", key.strip(), settings)
        texts[key.strip()] = value.strip()
    values = {
        key: _value(f"{where}: {name}:{key}", setting, texts.get(key)) for key, setting in settings.items()
    }
    return TransformStep(name, tuple(sorted(values.items())))


def _value(where: str, setting: Setting, text: str | None) -> Any:
    if text is None:
        if setting.default is None:
            raise MarathonError(f"{where}: must be given")
        return setting.default
    try:
        value = setting.kind(text)
    except ValueError:
        raise MarathonError(f"{where}: {text!r} is no {setting.kind.__name__}") from None
    if setting.names and value not in setting.names:
        raise unknown(where, "value", text, setting.names)
    inside = setting.names or (
        (setting.low is None or value >= setting.low) and (setting.high is None or value <= setting.high)
    )
    if not inside:  # NaN too, since every comparison with it is false
        raise MarathonError(f"{where}: must lie in [{setting.low}, {setting.high}], got {text}")
    return value
