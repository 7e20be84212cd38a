"""Loads rows with `datasets`, for datasets that are not plain files, without decoding their audio.

Only builders that parse data are used (https://huggingface.co/docs/datasets/loading): others unpickle, open
connections or run code. A task file is not trusted, so that paths among its arguments lead only where the user allows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.task.data.embedded import AudioFolder
from marathon_eval.task.data.local_data_files import LocalDataFiles
from marathon_eval.task.data.parquet import BATCH_ROWS, light_columns, with_files
from marathon_eval.task.data.selection import Row
from marathon_eval.task.data.sources import StoredFiles, allowed_path, inside, names_folder, within
from marathon_eval.task.data.table import BUILDERS, FORMATS, Table
from marathon_eval.task.yaml.config import TaskConfig
from marathon_eval.task.yaml.data_config import refused_argument


def load_split(
    config: TaskConfig,
    split: str,
    where: str,
    folders: Sequence[Path],
    wanted: Callable[[str], bool],
    data_files: Sequence[str] = (),
) -> Table:
    """Load one split. `folders` are those that the task may read from, `wanted` says whether it names a column.

    Raises MarathonError if the dataset cannot be loaded, has no such split, needs a builder that is not one of
    `FORMATS` and `BUILDERS`, or if an argument is not the task's to choose.
    """
    import datasets

    from marathon_eval.api.hub_client import guard_hub_client

    guard_hub_client()

    path, root, extra = _arguments(config, where, folders, data_files)
    named = partial(
        datasets.load_dataset_builder, path, config.dataset_name, revision=config.dataset_kwargs.revision
    )
    try:
        builder = named(**extra)
        _refuse_builder(builder, path, where)
        files = LocalDataFiles.of(builder) if root is not None else None
        if files is not None:
            # datasets' own cache knows a file by name and time, which a replaced one may share
            builder = named(
                **extra, cache_dir=str(Path(datasets.config.HF_DATASETS_CACHE, "marathon_eval", files.state))
            )
        builder.download_and_prepare()
        loaded = builder.as_dataset(split=split)
    except MarathonError:
        raise
    except Exception as error:  # noqa: BLE001  builders, pyarrow and the network raise any type
        raise MarathonError(
            f"{where}: the dataset {config.dataset_path} cannot be loaded{_reason_and_remedy(error)}"
        ) from None
    audio = AudioFolder()
    rows = [Row(number, "", values) for number, values in enumerate(_unpacked(loaded, wanted, audio))]
    # beside the folder of the dataset, its audio may lie below --data_dir, the first of three folders
    roots = _hub_folders(path) if root is None else [root, *folders[:-2]]
    sha256 = None if files is None else files.sha256(split)
    return Table(rows, StoredFiles(config.dataset_path, roots), config.dataset_path, sha256, audio.paths)


def _unpacked(loaded: Any, wanted: Callable[[str], bool], audio: AudioFolder) -> Iterator[Any]:
    """Yield the rows with their audio in files. Rows are read as arrow, whose audio is bytes that nothing decodes."""
    columns = light_columns(loaded.features.arrow_schema, wanted)
    table = loaded.select_columns(columns).with_format("arrow")
    for batch in table.iter(batch_size=BATCH_ROWS):
        yield from with_files(batch, audio)


def _arguments(
    config: TaskConfig, where: str, folders: Sequence[Path], data_files: Sequence[str]
) -> tuple[str, Path | None, dict[str, Any]]:
    """Return path, root (None: the hub) and arguments for `load_dataset_builder`. Raises MarathonError."""
    path = config.dataset_path
    arguments = config.dataset_kwargs
    extra = {
        key: value
        for key, value in (arguments.model_extra or {}).items()
        # `token: true` asks for the saved login, which the hub's client sends by itself
        if value is not None and not (key == "token" and value is True)
    }
    for name in extra:
        if (reason := refused_argument(name)) is not None:
            raise MarathonError(f"{where}: dataset_kwargs: {reason}")
    parsing = {"delimiter": arguments.delimiter, "encoding": arguments.encoding, "field": arguments.field}
    extra |= {name: value for name, value in parsing.items() if value is not None}
    data_dir = extra.get("data_dir")
    if data_dir is not None and not isinstance(data_dir, str):
        raise MarathonError(f"{where}: dataset_kwargs: data_dir: must be a text, got {data_dir!r}")
    if path in BUILDERS:
        if data_files:
            files = [allowed_path(name, folders, f"{where}: data_files") for name in data_files]
            return path, files[0].parent, {**extra, "data_files": list(map(str, files))}
        root = allowed_path(data_dir or ".", folders, f"{where}: data_dir")
        return path, root, {**extra, "data_dir": str(root)}
    if "://" in path or path in _other_builders():
        raise MarathonError(
            f"{where}: dataset_path: {path}: must be {', '.join((*FORMATS, *BUILDERS))}, a folder, or a dataset's "
            "name on the hub; a builder that runs code or opens connections is never used"
        )
    if (suffix := os.path.splitext(path)[1][1:].lower()) in FORMATS:
        raise MarathonError(
            f"{where}: dataset_path: {path} names a file; write dataset_path: {suffix} and dataset_kwargs: "
            f"{{data_files: {path}}}"
        )
    if data_dir is not None:
        extra["data_dir"] = _below(data_dir, where)
    if names_folder(path) or os.path.isdir(path):
        root = allowed_path(path, folders, f"{where}: dataset_path")
        return str(root), root, extra
    return path, None, extra


def _below(data_dir: str, where: str) -> str:
    try:
        return inside(data_dir)
    except AudioError as error:
        raise MarathonError(f"{where}: data_dir: {error}") from None


def _other_builders() -> Mapping[str, Any]:
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    return dict(_PACKAGED_DATASETS_MODULES)


def _refuse_builder(builder: Any, path: str, where: str) -> None:
    """Raise MarathonError unless the builder, which the dataset's files may have chosen, only parses data of its own."""
    package = "datasets.packaged_modules."
    names = [kind.__module__.removeprefix(package).partition(".")[0] for kind in type(builder).__mro__]
    if names[0] not in (*FORMATS, *BUILDERS):
        raise MarathonError(
            f"{where}: the dataset {path} needs the builder '{names[0]}' of datasets; "
            f"allowed: {', '.join((*FORMATS, *BUILDERS))}"
        )
    if path in BUILDERS and builder.config.data_dir is None:
        return  # load_split has checked each file
    own = [Path(builder.config.data_dir or path)]
    for name in (str(name) for files in (builder.config.data_files or {}).values() for name in files):
        if not name.startswith("hf://datasets/") and not within(name, own):
            raise MarathonError(f"{where}: the dataset {path} names the file {name}, which is not its own")


def _hub_folders(path: str) -> list[Path]:
    """Return the folders in which the files of a hub's dataset are stored."""
    import datasets.config
    from huggingface_hub.constants import HF_HUB_CACHE

    repository = Path(HF_HUB_CACHE) / f"datasets--{path.replace('/', '--')}"
    return [
        repository,
        Path(datasets.config.DOWNLOADED_DATASETS_PATH),
        Path(datasets.config.EXTRACTED_DATASETS_PATH),
    ]


def _reason_and_remedy(error: BaseException) -> str:
    """Return why a dataset cannot be loaded and what works in its place, as the end of a message."""
    cause = _root_cause(error)
    if "torchcodec" in cause:  # datasets asks for it where files of audio alone are the rows
        return (
            ": a folder of audio files needs rows in a file, which names the audio of each (dataset_path: json, "
            "dataset_kwargs: data_files), or dataset_path: file_tree, which makes rows of file names"
        )
    return f" ({cause}); plain files work without the hub: dataset_path: json, dataset_kwargs: data_files, --data_dir"


def _root_cause(error: BaseException) -> str:
    """Describe the innermost cause in one line: the outer errors only say that loading failed."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}"
