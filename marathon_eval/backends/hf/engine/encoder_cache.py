"""Stores the audio encoder's outputs on disk, for later sweeps and runs of the same model.

A file's name is a hash of everything that its content depends on: the model's fingerprint without the press, the
content hashes of the audio, and the encoder's inputs. An encoding is therefore reused only for inputs that are equal,
bit by bit. Files are safetensors, written under a temporary name and renamed; nothing is unpickled. When the folder
would exceed its limit, the files that were read longest ago are deleted.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers.utils import ModelOutput

from marathon_eval.backends.hf.inputs import LocalModel
from marathon_eval.errors import MarathonError
from marathon_eval.files import replaced_atomically

SUFFIX = ".encoding.safetensors"
#: The suffix of a file that is being written; one that a killed process left behind is deleted after a day.
UNFINISHED_SUFFIX = ".part"
DAY = 86400
GIGABYTE = 10**9
#: The tensor's name in a file whose output is a single tensor.
BARE = "output"


@dataclass(frozen=True)
class EncoderFiles:
    """Reads and writes one model's encodings in a folder; `owner` is the hash of the model's fingerprint."""

    folder: Path
    most_bytes: float
    owner: str

    @classmethod
    def of(cls, adapter: LocalModel) -> EncoderFiles | None:
        """Open the folder that `encoder_cache=` names; return None if it is not set.

        Raises MarathonError when the folder can't be written to, and for models and settings that reuse no encoding.
        """
        setting = adapter.args.encoder_cache
        if setting is None:
            return None
        if not adapter.args.sharing:
            raise MarathonError(
                "--encoder_cache: can't be combined with sharing=false, which reuses no encoding"
            )
        if not adapter.has_decoder:
            raise MarathonError(
                f"--encoder_cache: {adapter.name()} has no audio encoding that could be stored"
            )
        folder = Path(setting).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise MarathonError(f"--encoder_cache: {folder}: {error.strerror or error}") from None
        _delete_unfinished(folder)
        fingerprint = {
            name: value
            for name, value in adapter.fingerprint.items()
            if name not in ("press", "press_source")
        }
        owner = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()
        return cls(folder, adapter.args.encoder_cache_gb * GIGABYTE, owner)

    def path(self, audio: Sequence[str], inputs: Sequence[Any]) -> Path:
        """Return the file for these encoder inputs; `audio` holds the content hashes of the batch's clips."""
        digest = hashlib.sha256(json.dumps([self.owner, *audio]).encode())
        for part in _parts(inputs):
            digest.update(part)
        return self.folder / f"{digest.hexdigest()}{SUFFIX}"

    def read(self, path: Path, device: torch.device) -> tuple[Any, float] | None:
        """Return the stored output and the seconds that encoding took; None if there is no readable file."""
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            parts = {name: tensors[stored] for name, stored in json.loads(metadata["parts"]).items()}
            output = _rebuilt(metadata["kind"], parts)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            sys.stderr.write(
                f"marathon-eval: warning: {path}: unreadable, encoded again: {type(error).__name__}: {error}\n"
            )
            return None
        # the file may be another user's, or deleted by another process since; its content was read all the same
        with suppress(OSError):
            os.utime(path)
        return output, float(metadata["seconds"])

    def write(self, path: Path, output: Any, seconds: float) -> None:
        """Store an output, unless it exceeds the limit (then warn).

        Raises MarathonError for an output that does not consist of tensors, and when the folder can't be written to.
        """
        kind, tensors = _flat(output)
        # several names may refer to one tensor, which is stored once
        parts = {name: _first_name(tensors, tensor) for name, tensor in tensors.items()}
        stored = {name: tensors[name].detach().cpu().contiguous().clone() for name in set(parts.values())}
        size = sum(tensor.nbytes for tensor in stored.values())
        if size > self.most_bytes:
            sys.stderr.write(
                f"marathon-eval: warning: an encoding of {size / GIGABYTE:.3g} GB is not stored: "
                f"encoder_cache_gb={self.most_bytes / GIGABYTE:g}\n"
            )
            return
        self._make_room(size)
        temporary = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED_SUFFIX}")
        try:
            metadata = {"kind": kind, "parts": json.dumps(parts), "seconds": repr(seconds)}
            with replaced_atomically(path, temporary):
                save_file(stored, temporary, metadata=metadata)
        except (OSError, SafetensorError) as error:
            raise MarathonError(f"--encoder_cache: {self.folder}: {error}") from None

    def _make_room(self, size: int) -> None:
        """Delete the encodings that were read longest ago; other processes may delete files at the same time."""
        files = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            files.append((stat.st_mtime_ns, stat.st_size, path))
        free = self.most_bytes - size - sum(length for _, length, _ in files)
        for _, length, path in sorted(files):
            if free >= 0:
                return
            path.unlink(missing_ok=True)
            free += length


def _delete_unfinished(folder: Path) -> None:
    """Delete files that a killed process left unfinished more than a day ago."""
    for path in folder.glob(f"*{SUFFIX}.*{UNFINISHED_SUFFIX}"):
        with suppress(FileNotFoundError):  # its writer may be renaming it now
            if time.time() - path.stat().st_mtime > DAY:
                path.unlink(missing_ok=True)


def _first_name(tensors: Mapping[str, Tensor], tensor: Tensor) -> str:
    """Return the first name under which the tensor occurs."""
    return next(name for name, other in tensors.items() if other is tensor)


def _flat(output: Any) -> tuple[str, dict[str, Tensor]]:
    """Return an output's type and its tensors by name.

    Raises MarathonError for anything but a tensor or named tensors.
    """
    if isinstance(output, Tensor):
        return "", {BARE: output}
    kind = type(output)
    if isinstance(output, ModelOutput) and all(isinstance(part, Tensor) for part in output.values()):
        return f"{kind.__module__}:{kind.__qualname__}", dict(output.items())
    raise MarathonError(
        f"--encoder_cache: this model's encoder returns a {kind.__name__}, which is not a set of tensors"
    )


def _rebuilt(kind: str, tensors: Mapping[str, Tensor]) -> Any:
    """Rebuild the output. Raises TypeError for a type that is not imported yet: no module is imported by its name."""
    if not kind:
        return tensors[BARE]
    module, _, name = kind.partition(":")
    output_class = getattr(sys.modules.get(module), name, None)
    if not (isinstance(output_class, type) and issubclass(output_class, ModelOutput)):
        raise TypeError(f"no output is called {kind}")
    return output_class(**tensors)


def _parts(value: Any) -> Iterator[bytes]:
    """Yield bytes that identify the value: tensors by type, shape and content, other values as text."""
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}{value.device.type};".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, list | tuple):
        yield f"[{len(value)};".encode()
        for part in value:
            yield from _parts(part)
    elif isinstance(value, Mapping):
        yield f"{{{len(value)};".encode()
        for name in sorted(value):
            yield from _parts([name, value[name]])
    else:
        yield f"{type(value).__name__}:{value!r};".encode()
