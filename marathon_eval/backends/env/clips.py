"""Writes clips as WAV files for a worker: decoded here, as for every other model, and deleted after use."""

from __future__ import annotations

import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Self

from marathon_eval.api.audio import Audio
from marathon_eval.errors import MarathonError, RowError

#: Files that are kept: the questions on a clip follow each other, so that it is written once.
KEPT_FILES = 4


class WrittenClips:
    """Keeps the last clips as files in a temporary folder, which goes when the block ends."""

    def __init__(self) -> None:
        self._files: OrderedDict[Audio, tuple[Path, float]] = OrderedDict()
        self._number = 0

    def __enter__(self) -> Self:
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="marathon_eval_"))
        except OSError as error:
            raise MarathonError(f"no folder for audio can be made: {error}") from None
        return self

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def written(self, audios: Sequence[Audio], rate: int) -> Written:
        """Return the paths of mono float32 WAV files at `rate` Hz, and the seconds of all. Raises RowError."""
        for audio in audios:
            if audio in self._files:
                self._files.move_to_end(audio)
            else:
                self._files[audio] = self._write(audio, rate)
        found = [self._files[audio] for audio in audios]
        while len(self._files) > max(KEPT_FILES, len(audios)):
            _, (path, _) = self._files.popitem(last=False)
            path.unlink(missing_ok=True)
        return Written([path for path, _ in found], sum(seconds for _, seconds in found))

    def _write(self, audio: Audio, rate: int) -> tuple[Path, float]:
        import soundfile

        samples = audio.samples(rate)
        self._number += 1
        path = self._folder / f"clip{self._number}.wav"
        try:
            soundfile.write(path, samples, rate, subtype="FLOAT")
        except (OSError, soundfile.SoundFileError) as error:
            raise RowError(f"{path}: the clip can't be written for the worker: {error}") from None
        return path, len(samples) / rate


class Written(NamedTuple):
    """Holds the files of one request's clips, and their length in seconds."""

    paths: list[Path]
    seconds: float
