"""Stores audio that a table holds as bytes or samples: once, in a folder of files that are named after their content.

Forms: `{bytes, path}`, as `datasets` stores its Audio type (https://huggingface.co/docs/datasets/audio_dataset), plain
bytes, `{array, sampling_rate}`, and lists of these. Nothing is decoded here: run and doctor open the files as any other.
"""

from __future__ import annotations

import hashlib
import posixpath
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.errors import MarathonError
from marathon_eval.files import default_folder, replaced_atomically, write_atomically
from marathon_eval.task.data.sources import EmbeddedAudio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: First bytes of common containers, for audio whose name has no suffix.
_MAGIC = {
    b"RIFF": ".wav",
    b"fLaC": ".flac",
    b"OggS": ".ogg",
    b"ID3": ".mp3",
    b"\xff\xfb": ".mp3",
    b"FORM": ".aiff",
}
#: Zero and the largest deviation from it of the integer types that sounds are stored in.
_INTEGERS = {"int16": (0, 2**15), "int32": (0, 2**31), "uint8": (2**7, 2**7)}
#: What an array of samples must be, for error messages.
SAMPLES = (
    f"numbers from -1 to 1, or of the type {', '.join(list(_INTEGERS)[:-1])} or {list(_INTEGERS)[-1]}, which are divided by its range, "
    "beside sampling_rate; the range of other whole numbers is not known"
)
#: Keys of a cell of audio that say what it is.
CONTENT = ("path", "bytes", "array", "sampling_rate")
_LONGEST_NAME = 80
_MAX_RATE = 10_000_000


class AudioFolder:
    """Writes the audio of one table to files and remembers their paths by the names that rows get in its place."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder() / "audio"
        self.paths: dict[str, str] = {}

    def replaced(self, value: Any, kind: str | None = None) -> Any:
        """Return a cell with its audio replaced by EmbeddedAudio; everything else is unchanged. Raises MarathonError.

        `kind` is the type of the samples in the table, such as int16, None for that of the values.
        """
        if isinstance(value, bytes):
            return self._stored(value, None)
        if isinstance(value, list) and value and isinstance(value[0], (bytes, Mapping)):
            return [self.replaced(item, kind) for item in value]
        if not isinstance(value, Mapping):
            return value
        name = value.get("path") if isinstance(value.get("path"), str) else None
        if isinstance(value.get("bytes"), bytes):
            audio = self._stored(value["bytes"], name)
        else:
            samples = _samples(value, kind)
            if samples is None:
                return value
            audio = self._written(samples, int(value["sampling_rate"]), name)
        others = {key: value[key] for key in value if key not in CONTENT and value[key] is not None}
        return {"path": audio, **others} if others else audio

    def _stored(self, content: bytes, name: str | None) -> EmbeddedAudio:
        suffix = posixpath.splitext(name or "")[1].lower()
        if not suffix.isascii() or not suffix[1:].isalnum() or len(suffix) > 6:
            suffix = next((end for magic, end in _MAGIC.items() if content.startswith(magic)), "")
        audio, path = self._place(hashlib.sha256(content).hexdigest(), suffix, name)
        if not path.is_file() or _damaged(path, _holds(path, content)):
            self._make_folder(path.parent)
            write_atomically(path, [content])
        return audio

    def _written(self, samples: NDArray[np.float32], rate: int, name: str | None) -> EmbeddedAudio:
        """Write samples [frames, channels] as float WAV, whose address is the hash of rate, channels and samples."""
        import soundfile

        digest = hashlib.sha256(f"{rate}:{samples.shape[1]}:".encode() + samples.tobytes()).hexdigest()
        audio, path = self._place(digest, ".wav", f"{posixpath.splitext(name or 'audio')[0]}.wav")
        if not path.is_file() or _damaged(path, _holds_samples(path, samples, rate)):
            self._make_folder(path.parent)
            try:
                with replaced_atomically(path) as temporary:
                    soundfile.write(temporary, samples, rate, format="WAV", subtype="FLOAT")
            except (OSError, soundfile.LibsndfileError) as error:
                raise MarathonError(f"{path}: cannot write ({error})") from None
        return audio

    def _place(self, digest: str, suffix: str, name: str | None) -> tuple[EmbeddedAudio, Path]:
        base = posixpath.basename((name or "").replace("\\", "/")).replace("\0", "")[-_LONGEST_NAME:]
        audio = EmbeddedAudio(f"{digest[:16]}/{base or f'audio{suffix}'}")
        path = self.folder / digest[:2] / f"{digest}{suffix}"
        self.paths[audio] = str(path)
        return audio, path

    def _make_folder(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MarathonError(f"{folder}: cannot make the folder for audio ({error.strerror})") from None


def _damaged(path: Path, same: bool) -> bool:
    """Return whether a file differs from the audio that its name promises, and print so if it does."""
    if not same:
        print(f"marathon-eval: note: {path}: damaged since it was written; written again", file=sys.stderr)
    return not same


def _holds(path: Path, content: bytes) -> bool:
    """Return whether a file holds these bytes. It is read in blocks: a recording of hours is large."""
    if path.stat().st_size != len(content):
        return False
    view, place = memoryview(content), 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                if block != view[place : place + len(block)]:
                    return False
                place += len(block)
    except OSError:
        return False
    return place == len(content)


def _holds_samples(path: Path, samples: NDArray[np.float32], rate: int) -> bool:
    """Return whether a WAV file holds these samples [frames, channels]."""
    import numpy as np
    import soundfile

    try:
        held, held_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, soundfile.LibsndfileError):
        return False
    # samples that are not numbers differ from themselves
    return bool(held_rate == rate and np.array_equal(held, samples, equal_nan=True))


def _samples(value: Mapping[str, Any], kind: str | None) -> NDArray[np.float32] | None:
    """Return the samples [frames, channels] of `{array, sampling_rate}`; None for anything else.

    `kind` is the type of the samples in the table.
    """
    import numpy as np

    rate = value.get("sampling_rate")
    if isinstance(rate, bool) or not isinstance(rate, int) or not 0 < rate <= _MAX_RATE:
        return None
    try:
        given = np.asarray(value.get("array"), dtype=kind)
        samples = _scaled(given)
    except (ValueError, TypeError, OverflowError):
        return None
    if given.dtype.name not in _INTEGERS and _whole(samples):
        return None
    if samples.ndim == 1:
        samples = samples[:, None]
    if samples.ndim != 2 or not samples.size:
        return None
    # both orders are in use; no sound has more channels than frames
    return np.ascontiguousarray(samples.T if samples.shape[0] < samples.shape[1] else samples)


def _scaled(given: NDArray[Any]) -> NDArray[np.float32]:
    """Return samples as floats, those of an integer type divided by its range."""
    import numpy as np

    if given.dtype.name not in _INTEGERS:
        return given.astype(np.float32)
    zero, most = _INTEGERS[given.dtype.name]
    return ((given.astype(np.float64) - zero) / most).astype(np.float32)


def _whole(samples: NDArray[np.float32]) -> bool:
    """Return whether samples are whole numbers beyond 1: integers, whose range is not known."""
    import numpy as np

    return bool(samples.size and np.abs(samples).max() > 1 and np.array_equal(samples, np.rint(samples)))
