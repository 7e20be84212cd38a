"""Loads rows with `datasets.load_dataset`, for datasets that are not plain files, without decoding their audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.task.data.selection import Row
from marathon_eval.task.data.table import StoredAudio, Table
from marathon_eval.task.yaml.config import TaskConfig


def load_split(config: TaskConfig, split: str, where: str) -> Table:
    """Load one split. Raises MarathonError if the dataset cannot be loaded or has no such split."""
    import datasets

    kwargs = config.dataset_kwargs
    extra = {key: value for key, value in (kwargs.model_extra or {}).items() if value is not None}
    try:
        loaded = datasets.load_dataset(
            config.dataset_path, config.dataset_name, split=split, revision=kwargs.revision, **extra
        )
    except Exception as error:  # noqa: BLE001  builders, pyarrow and the network raise any type
        raise MarathonError(
            f"{where}: the dataset {config.dataset_path} cannot be loaded ({_root_cause(error)}); "
            "plain files work without the hub: dataset_path: json, dataset_kwargs: data_files, --data_dir"
        ) from None
    audio = [name for name, kind in loaded.features.items() if isinstance(kind, datasets.Audio)]
    for name in audio:
        # soundfile decodes later, from the file itself; `datasets` would decode every row with torchcodec
        loaded = loaded.cast_column(name, datasets.Audio(decode=False))
    rows = [Row(number, "", _plain(values, audio, where)) for number, values in enumerate(loaded)]
    return Table(rows, None, config.dataset_path, None)


def _root_cause(error: BaseException) -> str:
    """Describe the innermost cause in one line: the outer errors only say that loading failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"


def _plain(values: dict[str, Any], audio: list[str], where: str) -> dict[str, Any]:
    """Replace a row's audio by references to files. Raises MarathonError for audio stored inside the table."""
    stored = {}
    for name in audio:
        value = values[name] or {}
        path = value.get("path")
        if path is None or not Path(path).is_absolute() or not Path(path).is_file():
            raise MarathonError(
                f"{where}: the column '{name}' keeps its audio inside the table; "
                "export it to files and name them in a json"
            )
        stored[name] = StoredAudio(path)
    return {**values, **stored}
