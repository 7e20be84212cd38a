"""What every local audio model shares: its arguments, what identifies it, and the seam to the engine's torch.

An adapter in models/ names its transformers class as text and says how a chat is built; loading, timing, truncation
guard and decoding are marathon_eval/backends/hf/engine/runner.py, imported on the first cache miss. This file imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from marathon_eval.api.model import Model, ModelSettings, Request, Response
from marathon_eval.api.press import EvictionPress, Press
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.batching import MAX_BATCH, Batching, estimated_tokens
from marathon_eval.backends.hf.inputs import HFSettings, Inputs, chat_template
from marathon_eval.errors import AudioError, MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.api.press import Decoder
    from marathon_eval.backends.hf.engine.loaded import Loaded
    from marathon_eval.backends.hf.engine.runner import Runner


class HFAudio(Model):
    """A local model behind transformers. A subclass fills the class attributes, `prepare` and `decoder`."""

    Settings: ClassVar[type[ModelSettings]] = HFSettings
    transport: ClassVar[frozenset[str]] = Model.transport | {
        *("device_map", "sharing", "max_batch_tokens", "encoder_cache", "encoder_cache_gb"),
    }
    #: The class in transformers that loads the weights, as text. (Some adapters learn this and the rate from arguments.)
    weights_class: str
    #: Only tensors named so are needed; other shards are neither downloaded nor read.
    weights_prefix: ClassVar[str | None] = None
    #: The commits that were tried; a name that is not here is resolved once and recorded.
    pinned: ClassVar[Mapping[str, str]] = {}
    #: Audio tokens per second, for the truncation guard; None where audio is not in the token stream.
    token_rate: float | None = None
    #: Ending tokens beside those that the checkpoint names.
    end_tokens: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        super().__init__(settings, press)
        self._runner: Runner | None = None
        #: Adapters with the same settings and other presses, this one among them: a sweep's cells.
        self.cells: Sequence[HFAudio] = (self,)
        self._batching = Batching(
            self.args.max_batch_tokens, self.args.batch_size == "auto" and self.args.max_batch_tokens is None
        )
        self._seconds: dict[Audio, float] = {}

    @property
    def args(self) -> HFSettings:
        """The settings, with their type."""
        return cast("HFSettings", self.settings)

    # -- what the weights are -----------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Content of a local folder, or commit on the hub; chat template; transformers' release. No torch.

        Raises MarathonError for a folder without weights, or a name whose commit no one can say.
        """
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, Any]:
        from importlib.metadata import version

        release = ".".join(version("transformers").split(".")[:2])
        folder = weights.local_folder(self.args.pretrained, self.flags.args)
        if folder is None:
            return {"revision": self.commit, "transformers": release}
        if self.args.revision is not None:
            raise MarathonError(
                f"{self.flags.args}: revision={self.args.revision}: pretrained={folder} is a folder, which has none"
            )
        template = chat_template(folder)
        return {
            # the folder's content counts, not where it lies
            "pretrained": folder.resolve().name,
            "weights": weights.folder_hash(folder, self.cache, self.flags.args),
            "chat_template": hashlib.sha256(template.encode()).hexdigest() if template else None,
            "transformers": release,
        }

    @cached_property
    def commit(self) -> str:
        """The commit on the hub: given, pinned, already downloaded, or asked for. Raises MarathonError."""
        name, given = self.args.pretrained, self.args.revision
        return weights.hub_commit(name, given or self.pinned.get(name), self.flags.args)

    def check(self) -> None:
        """Raise MarathonError when the weights can't be had; quick, and before anything slow."""
        name = self.args.pretrained
        if "weights" in self._identity or weights.snapshot(name, self.commit, self.weights_prefix):
            return
        weights.asked_commit(name, self.commit, self.flags.args)

    def folder(self) -> Path:
        """The checkpoint's folder, downloaded if need be. Raises MarathonError."""
        name, flag = self.args.pretrained, self.flags.args
        return weights.local_folder(name, flag) or weights.fetched(
            name, self.commit, self.weights_prefix, flag
        )

    # -- answering ----------------------------------------------------------------------------------------------

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """As promised by `Model`. Weights load here, once."""
        if self._runner is None:
            self.check()
            self.folder()
            from marathon_eval.backends.hf.engine.runner import Runner

            running = (cell._runner for cell in self.cells if cell._runner is not None)
            self._runner = Runner(self, next(running, None))
        yield from self._runner.run(requests)

    def close(self) -> None:
        if self._runner is not None:
            self._runner.release()
            self._runner = None

    def requests_at_once(self) -> int:
        """How many requests one batch may hold."""
        # an evicted cache is one sample's own: its heads keep different keys, which no padding mask can say
        if isinstance(self.press, EvictionPress):
            return 1
        size, given = self.args.batch_size, self.args.model_fields_set
        by_tokens = self.args.max_batch_tokens is not None and "batch_size" not in given
        return MAX_BATCH if size == "auto" or by_tokens else size

    @property
    def has_decoder(self) -> bool:
        """Return whether a subclass implements `decoder`."""
        return type(self).decoder is not HFAudio.decoder

    @property
    def batching(self) -> Batching:
        """What a batch may hold: one for all cells, for what one of them learns is true for all."""
        return self.cells[0]._batching

    def take(self, waiting: deque[Request]) -> list[Request]:
        """The next batch from the front of what waits."""
        return self.batching.take(waiting, self.requests_at_once(), self.tokens_of)

    def tokens_of(self, request: Request) -> int:
        """About how many tokens prompt and answer take; a clip that can't be heard counts as none."""
        self.know_lengths([request])
        seconds = sum(self._seconds[audio] for audio in request.audios)
        return estimated_tokens(request, seconds, self.token_rate)

    def know_lengths(self, requests: Sequence[Request]) -> None:
        """Look up the clips' seconds, all at once: the cache's memo has them, else their headers."""
        wanted = {audio for request in requests for audio in request.audios} - self._seconds.keys()
        known = self.cache.facts(wanted)[0] if self.cache is not None and wanted else {}
        for audio in wanted:
            try:
                self._seconds[audio] = known[audio].seconds if audio in known else audio.seconds
            except AudioError:
                self._seconds[audio] = 0.0  # it is refused when it is decoded

    @abstractmethod
    def prepare(
        self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[NDArray[np.float32]]]
    ) -> Inputs:
        """The batch's tensors, on the CPU. `waves`: per request, its audios as mono float32 at 16 kHz.

        Raises RowError for a request that can't be asked.
        """

    def kernels(self) -> str | dict[str, str]:
        """The attention kernel; per part of the model, by the name of its config, where not every part has it."""
        return self.args.attn_implementation

    def extractor(self, folder: Path) -> Any:
        """What turns clips into features: the checkpoint's feature extractor."""
        from marathon_eval.api.torchvision import hide_broken_torchvision

        hide_broken_torchvision()
        import transformers

        return transformers.AutoFeatureExtractor.from_pretrained(
            folder, trust_remote_code=self.args.trust_remote_code
        )

    def after_load(self, model: Any, folder: Path) -> None:
        """What must be added to the weights before the first question. Raises MarathonError where it is missing."""

    def begin(self, loaded: Loaded) -> None:
        """Learn what only the loaded checkpoint tells: before the first request, also where another cell loaded it."""

    def answer(self, loaded: Loaded, requests: Sequence[Request], inputs: Inputs) -> list[Response]:
        """One response per request: chat models generate, others overwrite this."""
        from marathon_eval.backends.hf.engine.generate import generated

        return generated(self, loaded, requests, inputs)

    def seed_of(self, request: Request) -> int:
        """A seed from press seed, audio content and prompt, all in the cache key: no order of samples matters."""
        hashes = self.hashes([request])
        source = json.dumps([self.press.seed if self.press else 0, hashes, request.prompt])
        return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") >> 1

    def hashes(self, requests: Sequence[Request]) -> list[str]:
        """Content hashes of all clips, in order. Raises AudioError."""
        return [self._facts(audio).sha256 for request in requests for audio in request.audios]

    def _facts(self, audio: Audio) -> AudioFacts:
        """Hash and length, from the cache's memo where there is one. Raises AudioError."""
        known = self.cache.facts([audio])[0] if self.cache is not None else {}
        return known[audio] if audio in known else audio.facts()

    def decoder(self, model: Any) -> Decoder:
        """What a press may know of the loaded model."""
        raise MarathonError(f"{self.name()} has no decoder that a press could work on")
