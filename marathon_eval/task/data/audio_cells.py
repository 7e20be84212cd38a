"""Gives a task's Python functions the audio inside a table as `datasets` does, and finds what they return in the table.

A function of lm-eval or lmms-eval expects the Audio type of `datasets`: `{path, array, sampling_rate}`
(https://huggingface.co/docs/datasets/audio_dataset). Here the array is decoded when it is read, as mono at the file's rate.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from marathon_eval.api.audio import Audio
from marathon_eval.errors import RowError
from marathon_eval.task.data.embedded import SAMPLES, AudioFolder
from marathon_eval.task.data.sources import EmbeddedAudio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DECODED = ("array", "sampling_rate")


class AudioCell(dict[str, Any]):
    """Stands for one audio of a row. It is a dict with all three keys, of which two are filled when one is read."""

    def __init__(self, name: EmbeddedAudio, file: str) -> None:
        super().__init__(path=str(name), **dict.fromkeys(_DECODED))
        self.name = name
        self.file = file

    def __getitem__(self, key: str) -> Any:
        if key in _DECODED and super().__getitem__("array") is None:
            rate = _rate(self.file)
            self.update(array=Audio(self.file).samples(rate), sampling_rate=rate)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """Return a value as `datasets` would have it, decoded."""
        return self[key] if key in self else default  # noqa: SIM401  # dict.get would not decode

    def holds(self, samples: NDArray[np.float32], rate: int) -> bool:
        """Return whether these are the cell's own samples, unchanged."""
        import numpy as np

        return bool(self["sampling_rate"] == rate and np.array_equal(self["array"], np.ravel(samples)))


def with_cells(fields: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Return a row's columns with a cell for each audio; `files` has the paths by name."""
    return {key: _cell(value, files) for key, value in fields.items()}


def returned_audio(values: Any, fields: Mapping[str, Any], files: dict[str, str], where: str) -> Any:
    """Return what a function returned with the audio's names in place of cells and samples.

    Samples that the function made itself are written to a file, whose path is added to `files`. Raises RowError for
    samples that are none.
    """
    if isinstance(values, (list, tuple)):
        return [returned_audio(value, fields, files, where) for value in values]
    if isinstance(values, AudioCell):
        return values.name
    if not isinstance(values, Mapping) or "array" not in values:
        return values
    for cell in _cells(fields):
        if cell.holds(values["array"], values.get("sampling_rate", 0)):
            return cell.name
    folder = AudioFolder()
    made = folder.replaced(dict(values))
    if not isinstance(made, EmbeddedAudio):
        raise RowError(f"{where}: returns audio without an array of samples: array must be {SAMPLES}")
    files.update(folder.paths)
    return made


def _cell(value: Any, files: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_cell(item, files) for item in value]
    return AudioCell(value, files[value]) if isinstance(value, EmbeddedAudio) and value in files else value


def _cells(fields: Mapping[str, Any]) -> Iterator[AudioCell]:
    for value in fields.values():
        yield from (
            cell for cell in (value if isinstance(value, list) else [value]) if isinstance(cell, AudioCell)
        )


def _rate(file: str) -> int:
    from marathon_eval.api.decoding.sound_file import opened_sound

    with opened_sound(file) as sound:
        return int(sound.rate)
