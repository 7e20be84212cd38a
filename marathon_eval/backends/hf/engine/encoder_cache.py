"""Audio encodings on disk: what the encoder gave for a clip, for later sweeps and runs of the same model.

A file's name says everything that its content depends on: the model (its fingerprint without the press), the audio's
content hashes, and the encoder's inputs themselves, so an encoding is given out only for inputs that are equal bit by
bit. Files are safetensors, written beside and renamed; nothing is unpickled. Those read longest ago go first when the
folder would outgrow its bound.
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
#: Of a file that is being written; what a kill left behind is deleted after a day.
UNFINISHED_SUFFIX = ".part"
DAY = 86400
GIGABYTE = 10**9
#: The name of an output that is one tensor.
BARE = "output"


@dataclass(frozen=True)
class EncoderFiles:
    """A folder of encodings of one model; `owner` is what distinguishes it from others."""

    folder: Path
    most_bytes: float
    owner: str

    @classmethod
    def of(cls, adapter: LocalModel) -> EncoderFiles | None:
        """The folder that `encoder_cache=` names; None without it.

        Raises MarathonError where it can't be written to, and for models and settings that would never use it.
        """
        named = adapter.args.encoder_cache
        if named is None:
            return None
        if not adapter.args.sharing:
            raise MarathonError("--encoder_cache: sharing=false shares no encoding: leave one of the two out")
        if not adapter.has_decoder:
            raise MarathonError(f"--encoder_cache: {adapter.name()} has no encoding that could be kept")
        folder = Path(named).expanduser()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise MarathonError(f"--encoder_cache: {folder}: {error.strerror or error}") from None
        _sweep_up(folder)
        told = {name: value for name, value in adapter.fingerprint.items() if name != "press"}
        owner = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        return cls(folder, adapter.args.encoder_cache_gb * GIGABYTE, owner)

    def path(self, audio: Sequence[str], inputs: Sequence[Any]) -> Path:
        """Where the encoding of these inputs lies; `audio`: content hashes of the batch's clips."""
        digest = hashlib.sha256(json.dumps([self.owner, *audio]).encode())
        for part in _parts(inputs):
            digest.update(part)
        return self.folder / f"{digest.hexdigest()}{SUFFIX}"

    def read(self, path: Path, device: torch.device) -> tuple[Any, float] | None:
        """The output and the seconds that it took to make; None where there is none, or none that can be read."""
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt", device=str(device)) as file:
                told = file.metadata()
                kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            parts = {name: kept[where] for name, where in json.loads(told["parts"]).items()}
            output = _rebuilt(told["kind"], parts)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
            sys.stderr.write(f"marathon-eval: warning: {path}: made anew: {type(error).__name__}: {error}\n")
            return None
        # another's file, or one that another process has deleted by now, was read all the same
        with suppress(OSError):
            os.utime(path)
        return output, float(told["seconds"])

    def write(self, path: Path, output: Any, seconds: float) -> None:
        """Keep an output. Raises MarathonError for one that is no tensors, and where the folder can't be written to."""
        kind, tensors = _flat(output)
        # two names may stand for one tensor, which is kept once
        parts = {name: _first_name(tensors, tensor) for name, tensor in tensors.items()}
        kept = {name: tensors[name].detach().cpu().contiguous().clone() for name in set(parts.values())}
        size = sum(tensor.nbytes for tensor in kept.values())
        if size > self.most_bytes:
            sys.stderr.write(
                f"marathon-eval: warning: an encoding of {size / GIGABYTE:.3g} GB is not kept: "
                f"encoder_cache_gb={self.most_bytes / GIGABYTE:g}\n"
            )
            return
        self._make_room(size)
        temporary = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED_SUFFIX}")
        try:
            told = {"kind": kind, "parts": json.dumps(parts), "seconds": repr(seconds)}
            with replaced_atomically(path, temporary):
                save_file(kept, temporary, metadata=told)
        except (OSError, SafetensorError) as error:
            raise MarathonError(f"--encoder_cache: {self.folder}: {error}") from None

    def _make_room(self, size: int) -> None:
        """Delete the encodings that were read longest ago; other processes may be deleting too."""
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            found.append((stat.st_mtime_ns, stat.st_size, path))
        spare = self.most_bytes - size - sum(length for _, length, _ in found)
        for _, length, path in sorted(found):
            if spare >= 0:
                return
            path.unlink(missing_ok=True)
            spare += length


def _sweep_up(folder: Path) -> None:
    for path in folder.glob(f"*{SUFFIX}.*{UNFINISHED_SUFFIX}"):
        with suppress(FileNotFoundError):  # its writer may be finishing it just now
            if time.time() - path.stat().st_mtime > DAY:
                path.unlink(missing_ok=True)


def _first_name(tensors: Mapping[str, Tensor], tensor: Tensor) -> str:
    """Under which name the tensor stands first."""
    return next(name for name, other in tensors.items() if other is tensor)


def _flat(output: Any) -> tuple[str, dict[str, Tensor]]:
    """An output's kind and its tensors by name. Raises MarathonError for what is neither tensor nor named tensors."""
    if isinstance(output, Tensor):
        return "", {BARE: output}
    kind = type(output)
    if isinstance(output, ModelOutput) and all(isinstance(part, Tensor) for part in output.values()):
        return f"{kind.__module__}:{kind.__qualname__}", dict(output.items())
    raise MarathonError(
        f"--encoder_cache: this model's encoder gives a {kind.__name__}, which is no set of tensors"
    )


def _rebuilt(kind: str, tensors: Mapping[str, Tensor]) -> Any:
    """The output again. Raises TypeError for a kind that the loaded model's code does not know: nothing is imported."""
    if not kind:
        return tensors[BARE]
    module, _, name = kind.partition(":")
    found = getattr(sys.modules.get(module), name, None)
    if not (isinstance(found, type) and issubclass(found, ModelOutput)):
        raise TypeError(f"no output is called {kind}")
    return found(**tensors)


def _parts(value: Any) -> Iterator[bytes]:
    """The value as bytes that no other value shares: tensors by type, shape and content, the rest as text."""
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
