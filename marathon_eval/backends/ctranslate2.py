"""A Whisper checkpoint of transformers' layout as CTranslate2 reads it: converted once, and kept.

By https://opennmt.net/CTranslate2/python/ctranslate2.converters.TransformersConverter.html, with the weights' own
precision. The copy lies in the cache's folder, named after what identifies the weights, so that a changed checkpoint
is converted anew.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from marathon_eval.backends.hf.weights import CONVERTED
from marathon_eval.errors import MarathonError


def for_ctranslate2(folder: Path, identity: str) -> Path:
    """The folder itself where it is converted already, else its converted copy.

    `identity` is the hash or commit of the weights. Raises MarathonError for a folder that holds no Whisper.
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

    shelf = default_folder() / "ctranslate2"
    # another release may write another format
    copy = shelf / f"{identity[:16]}-{version('ctranslate2')}"
    if not (copy / CONVERTED).is_file():
        try:
            shelf.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=shelf, prefix="converting-") as scratch:
                _convert(folder, Path(scratch) / "model")
                _keep(Path(scratch) / "model", copy)
        except OSError as error:
            raise MarathonError(f"{shelf}: cannot keep converted weights here ({error.strerror})") from None
    return copy


def _convert(folder: Path, target: Path) -> None:
    # first: it hides a torchvision that would break the import of transformers
    from marathon_eval.backends.hf.engine.load import quiet  # isort: split

    import transformers
    from ctranslate2.converters import TransformersConverter

    with quiet():
        TransformersConverter(str(folder)).convert(str(target))
        # where faster-whisper looks for them, also where the checkpoint keeps them in one processor_config.json
        transformers.AutoFeatureExtractor.from_pretrained(folder).save_pretrained(target)
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        tokenizer.backend_tokenizer.save(str(target / "tokenizer.json"))


def _keep(made: Path, copy: Path) -> None:
    """Renamed into place as a whole; where another process was faster, its copy is as good."""
    try:
        made.rename(copy)
    except OSError:
        if not (copy / CONVERTED).is_file():
            raise


def _config(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise MarathonError(f"{folder / 'config.json'}: cannot be read ({error})") from None
    return found
