"""Converts a Whisper checkpoint from transformers' layout to CTranslate2's, once, and stores the converted copy.

Uses https://opennmt.net/CTranslate2/python/ctranslate2.converters.TransformersConverter.html and keeps the
precision of the weights. The copy lies in the cache folder under a name made from the weights' identity, so a changed
checkpoint is converted again.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marathon_eval.backends.hf.weights import CONVERTED
from marathon_eval.errors import MarathonError


def for_ctranslate2(folder: Path, identity: str, check: Callable[[], None] = lambda: None) -> Path:
    """Return the folder itself if it is in CTranslate2's layout, else its converted copy.

    `identity` is the hash or commit of the weights; `check` raises MarathonError where they are others by the time they
    are converted. Raises MarathonError when the folder holds no Whisper checkpoint
    or the copy cannot be written.
    """
    from importlib.metadata import version

    if (folder / CONVERTED).is_file():
        return folder
    kind = _config(folder).get("model_type")
    if kind != "whisper":
        raise MarathonError(
            f"--model_args: pretrained={folder}: is no Whisper checkpoint (model_type {kind})"
        )
    from marathon_eval.files import default_folder

    parent = default_folder() / "ctranslate2"
    # the release is in the name, because another release may write another format
    copy = parent / f"{identity[:16]}-{version('ctranslate2')}"
    if not (copy / CONVERTED).is_file():
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=parent, prefix="converting-") as scratch:
                _convert(folder, Path(scratch) / "model")
                check()
                _move_into_place(Path(scratch) / "model", copy)
        except OSError as error:
            raise MarathonError(f"{parent}: cannot write converted weights here ({error.strerror})") from None
    return copy


def _convert(folder: Path, target: Path) -> None:
    # imported first, because it hides a torchvision that would break the import of transformers
    from marathon_eval.backends.hf.engine.load import quiet  # isort: split

    import transformers
    from ctranslate2.converters import TransformersConverter

    with quiet():
        TransformersConverter(str(folder)).convert(str(target))
        # faster-whisper reads these two files; newer checkpoints have only one processor_config.json
        transformers.AutoFeatureExtractor.from_pretrained(folder).save_pretrained(target)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokenizer.backend_tokenizer.save(str(target / "tokenizer.json"))


def _move_into_place(converted: Path, copy: Path) -> None:
    """Rename the finished folder to `copy`; if another process has already put its copy there, use that one."""
    try:
        converted.rename(copy)
    except OSError:
        if not (copy / CONVERTED).is_file():
            raise


def _config(folder: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MarathonError(f"{folder / 'config.json'}: cannot be read ({error})") from None
    return config
