"""Provides HFAudio, the base class of local models: arguments, identity of the weights, and calls into the engine.

An adapter in models/ names its transformers class as text and builds the chat. The engine (engine/runner.py) loads,
times, decodes and checks that audio was not truncated; it is imported on the first cache miss. This file imports no
torch.
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
from marathon_eval.api.same_failures import NEVER_SENT
from marathon_eval.backends.hf import lora, partial_files, weights
from marathon_eval.backends.hf.batching import MAX_BATCH, ROUNDED_TOKENS, Batching, estimated_tokens
from marathon_eval.backends.hf.config_files import downloaded_config, positions_of, read_json
from marathon_eval.backends.hf.inputs import HFSettings, Inputs, chat_template
from marathon_eval.errors import AudioError, MarathonError, install_hint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.api.press import Decoder
    from marathon_eval.backends.hf.engine.loaded import Loaded
    from marathon_eval.backends.hf.engine.runner import Runner


class HFAudio(Model):
    """Answers requests with a transformers checkpoint.

    Implements `backends.hf.inputs.LocalModel`, the interface by which the engine calls an adapter. A subclass sets
    the class attributes and implements `prepare` and `decoder`.
    """

    Settings: ClassVar[type[ModelSettings]] = HFSettings
    transport: ClassVar[frozenset[str]] = Model.transport | {
        *("device_map", "sharing", "max_batch_tokens", "max_batch_size", "encoder_cache", "encoder_cache_gb"),
        "log_tokens",
        # not transport: `identity()` has it as "lora", and only where it is given
        "peft",
    }
    #: The transformers class that loads the weights. Some adapters set it and `token_rate` from arguments.
    weights_class: str
    #: The prefix of the tensors that are needed; shards without any are neither downloaded nor read.
    weights_prefix: ClassVar[str | None] = None
    #: The tested commit of each checkpoint on the hub; the commit of any other name is resolved once and recorded.
    pinned: ClassVar[Mapping[str, str]] = {}
    #: Audio tokens per second, for the truncation check; None when audio is not in the token stream.
    token_rate: float | None = None
    #: The attention kernels that each part can run, by config name, for models of which a part lacks one. The first
    #: replaces those that the part lacks. All parts must be named.
    part_kernels: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    #: Tokens that end an answer, in addition to those that the checkpoint names.
    end_tokens: ClassVar[tuple[str, ...]] = ()
    #: The token that ends a thought, after which the answer begins; None unless the model thinks. Read by `generated` alone.
    answer_begins: str | None = None

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        super().__init__(settings, press)
        self._runner: Runner | None = None
        #: The adapters of a sweep's cells, this one included: the same settings with different presses.
        self.cells: Sequence[HFAudio] = (self,)
        self._batching = Batching(
            self.args.max_batch_tokens, self.args.batch_size == "auto" and self.args.max_batch_tokens is None
        )
        self._seconds: dict[Audio, float] = {}
        self._positions: int | None = None

    @property
    def args(self) -> HFSettings:
        """Return the settings, typed as HFSettings."""
        return cast("HFSettings", self.settings)

    # -- identity of the weights --------------------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Return what identifies the weights, without importing torch.

        That is the content hash of a local folder or the commit on the hub, the hash of a folder's chat template, and
        transformers' release. Raises MarathonError for a folder without weights, or a name without a known commit.
        """
        if self.args.peft is None:
            return self._identity
        return {**self._identity, **lora.identity(self.args.peft, self.cache, self.flags.args)}

    def _release(self) -> str:
        """Return transformers' release, `5.23`. Raises MarathonError where it is not installed."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            return ".".join(version("transformers").split(".")[:2])
        except PackageNotFoundError:
            needed = f"{self.flags.model} {self.name()} runs on this machine and needs transformers and torch"
            raise MarathonError(f"{needed}: {install_hint('local')}") from None

    @cached_property
    def _identity(self) -> dict[str, Any]:
        release = self._release()
        folder = weights.local_folder(self.args.pretrained, self.flags.args)
        if folder is None:
            return {"revision": self.commit, "transformers": release, **self.optional_packages(None)}
        if self.args.revision is not None:
            raise MarathonError(
                f"{self.flags.args}: revision={self.args.revision}: pretrained={folder} is a folder, "
                "and a folder has no revisions"
            )
        partial_files.refuse_pointers(folder, weights.checkpoint_files(folder), self.flags.args)
        template = chat_template(folder)
        return {
            # the name alone: the folder may be moved without changing the identity
            "pretrained": folder.resolve().name,
            "weights": weights.folder_hash(folder, self.cache, self.flags.args),
            "chat_template": hashlib.sha256(template.encode()).hexdigest() if template else None,
            "transformers": release,
            **self.optional_packages(folder),
            **self._own_code(folder),
        }

    def _own_code(self, folder: Path) -> dict[str, Any]:
        """Return the hashes of the Python files beside the weights if the checkpoint's own code may run."""
        files = sorted(folder.glob("*.py")) if self.args.trust_remote_code else []
        return {"code": {file.name: weights.file_hash(file) for file in files}} if files else {}

    def optional_packages(self, folder: Path | None) -> dict[str, Any]:
        """Return the releases of packages whose absence changes answers without an error; `folder` None: on the hub.

        transformers applies a LoRA (adapter_config.json beside the weights) where peft is installed, and skips it
        where it is not: https://huggingface.co/docs/transformers/peft
        """
        return weights.peft_release() if folder and (folder / weights.LORA_CONFIG).is_file() else {}

    @cached_property
    def commit(self) -> str:
        """Return the commit on the hub: from `revision=`, pinned, downloaded, or resolved by the hub.

        Raises MarathonError.
        """
        name, revision = self.args.pretrained, self.args.revision
        return weights.hub_commit(name, revision or self.pinned.get(name), self.flags.args)

    def check(self) -> None:
        """Raise MarathonError when the weights are not available; runs in seconds, before anything is loaded."""
        name, flag = self.args.pretrained, self.flags.args
        if "weights" in self._identity:
            folder = weights.local_folder(name, flag)
        else:
            folder = weights.snapshot(name, self.commit, self.weights_prefix, self.args.trust_remote_code)
        if self.args.peft is not None:
            self.lora()
        if folder is None:
            weights.asked_commit(name, self.commit, flag)
        else:
            self._refuse_partial(folder)

    def _refuse_partial(self, folder: Path) -> None:
        """Raise MarathonError for weights and adapters of which a part is missing."""
        partial_files.refuse_truncated(weights.weight_files(folder, self.weights_prefix))
        if (folder / weights.LORA_CONFIG).is_file():
            lora.refuse_incomplete(folder, f"{self.flags.args}: pretrained={self.args.pretrained}")

    def folder(self) -> Path:
        """Return the checkpoint's folder; downloads what is missing. Raises MarathonError."""
        name, flag, code = self.args.pretrained, self.flags.args, self.args.trust_remote_code
        return weights.local_folder(name, flag) or weights.fetched(
            name, self.commit, self.weights_prefix, flag, code
        )

    def lora(self) -> Path | None:
        """Return the folder of the adapter that `peft=` names, downloaded if necessary. Raises MarathonError."""
        return None if self.args.peft is None else lora.adapter_folder(self.args.peft, self.flags.args)

    @property
    def positions(self) -> int | None:
        """Return the context length (`max_position_embeddings`); None if the config lacks it or is not downloaded yet."""
        if self._positions is None:
            folder = weights.local_folder(self.args.pretrained, self.flags.args)
            file = folder / "config.json" if folder else downloaded_config(self.args.pretrained, self.commit)
            self._positions = positions_of(read_json(file)) if file and file.is_file() else None
        return self._positions

    def misfit(self, request: Request, seconds: float) -> str | None:
        """Return why audio and answer alone exceed the model's context length; None if they may fit."""
        rate, limit = self.token_rate, self.positions if self.token_rate else None
        if not rate or limit is None or not request.audios:
            return None
        tokens = int(seconds * rate) - ROUNDED_TOKENS * len(request.audios)
        answer = request.generation.max_new_tokens
        if tokens + answer <= limit:
            return None
        return (
            f"{seconds:.0f} s of audio are about {tokens} tokens ({rate:g} a second), which with {answer} for the answer "
            f"exceed the model's context length of {limit}: at most {max(0, limit - answer) / rate:.0f} s fit"
        )

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Answer as `Model.generate` does; the first call loads the weights, unless no request fits the model."""
        if self._runner is None:
            self.check()
            self.folder()
        if self.token_rate and self.positions is not None:
            self.know_lengths(requests)
            fitting = []
            for request in requests:
                reason = self.misfit(request, sum(self._seconds[audio] for audio in request.audios))
                if reason is None:
                    fitting.append(request)
                else:
                    yield request, Response.failed(NEVER_SENT + reason)
            if requests and not fitting:
                return
            requests = fitting
        if self._runner is None:
            from marathon_eval.backends.hf.engine.runner import Runner

            runners = (cell._runner for cell in self.cells if cell._runner is not None)
            self._runner = Runner(self, next(runners, None))
        yield from self._runner.run(requests)

    def attach(self, loaded: Loaded) -> None:
        """Answer with weights that are in memory already, instead of loading them on the first call of `generate`."""
        from marathon_eval.backends.hf.engine.runner import Runner

        self._runner = Runner(self)
        self._runner.use(loaded)

    def close(self) -> None:
        if self._runner is not None:
            self._runner.release()
            self._runner = None

    def requests_at_once(self) -> int:
        """Return the largest number of requests in a batch: 1 where presses share a context or evict at each step."""
        evicting = [cell for cell in self.cells if isinstance(cell.press, EvictionPress)]
        if isinstance(self.press, EvictionPress) and (len(evicting) > 1 or self.press.evict == "decode"):
            return 1
        size = self.args.batch_size
        by_tokens = self.args.max_batch_tokens is not None and "batch_size" not in self.args.model_fields_set
        if size == "auto" or by_tokens:
            return min(MAX_BATCH, self.args.max_batch_size or MAX_BATCH)
        return size

    @property
    def has_decoder(self) -> bool:
        """Return whether a subclass implements `decoder`."""
        return type(self).decoder is not HFAudio.decoder

    @property
    def batching(self) -> Batching:
        """Return the batch limits, which all cells share because their memory needs are the same."""
        return self.cells[0]._batching

    def take(self, waiting: deque[Request]) -> list[Request]:
        """Remove the next batch from the front of `waiting`, within `requests_at_once()` and the token budget."""
        return self.batching.take(waiting, self.requests_at_once(), self.tokens_of)

    def tokens_of(self, request: Request) -> int:
        """Estimate the tokens of prompt, audio and answer; a clip that can't be read counts as zero seconds."""
        self.know_lengths([request])
        seconds = sum(self._seconds[audio] for audio in request.audios)
        return estimated_tokens(request, seconds, self.token_rate)

    def know_lengths(self, requests: Sequence[Request]) -> None:
        """Look up the lengths of all clips at once, in the cache or else in the files' headers, for `tokens_of`."""
        unknown = {audio for request in requests for audio in request.audios} - self._seconds.keys()
        cached = self.cache.facts(unknown)[0] if self.cache is not None and unknown else {}
        for audio in unknown:
            try:
                self._seconds[audio] = cached[audio].seconds if audio in cached else audio.seconds
            except AudioError:
                self._seconds[audio] = 0.0  # decoding the clip later reports the error

    @abstractmethod
    def prepare(
        self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[NDArray[np.float32]]]
    ) -> Inputs:
        """Build the batch's tensors on the CPU; `waves` holds each request's clips as mono float32 at 16 kHz.

        Raises RowError for a request that the model can't answer.
        """

    def kernels(self) -> str | dict[str, str]:
        """Return the attention kernel, or one per part of the model (by config name) if a part lacks it."""
        kernel = self.args.attn_implementation
        if not self.part_kernels:
            return kernel
        # a mapping changes only the parts that it names
        parts = {part: kernel if kernel in able else able[0] for part, able in self.part_kernels.items()}
        return {"": kernel, **parts}

    def load_weights(self, weights_class: Any, folder: Path, **options: Any) -> Any:
        """Return what `weights_class.from_pretrained` returns; a subclass renames tensors or translates the config.

        Raises MarathonError for a checkpoint of another model.
        """
        return weights_class.from_pretrained(folder, **options)

    def extractor(self, folder: Path) -> Any:
        """Load the checkpoint's feature extractor, which turns clips into the encoder's features."""
        from marathon_eval.api.torchvision import hide_broken_torchvision

        hide_broken_torchvision()
        import transformers

        return transformers.AutoFeatureExtractor.from_pretrained(
            folder, trust_remote_code=self.args.trust_remote_code
        )

    def after_load(self, model: Any, folder: Path) -> None:
        """Add to the loaded model what the weights lack (an adapter, say).

        Raises MarathonError when it is missing.
        """

    def begin(self, loaded: Loaded) -> None:
        """Read settings from the loaded checkpoint. Called once per adapter, also when another cell loaded it."""

    def answer(self, loaded: Loaded, requests: Sequence[Request], inputs: Inputs) -> list[Response]:
        """Generate one response per request; models that are not chat models override this."""
        from marathon_eval.backends.hf.engine.generate import generated

        return generated(self, loaded, requests, inputs)

    def seed_of(self, request: Request) -> int:
        """Return a seed made from press seed, audio hashes and prompt, independent of the requests' order."""
        hashes = self.hashes([request])
        source = json.dumps([self.press.seed if self.press else 0, hashes, request.prompt])
        return int.from_bytes(hashlib.sha256(source.encode()).digest()[:8], "big") >> 1

    def hashes(self, requests: Sequence[Request]) -> list[str]:
        """Return the content hashes of the requests' clips, in order. Raises AudioError."""
        return [self._facts(audio).sha256 for request in requests for audio in request.audios]

    def _facts(self, audio: Audio) -> AudioFacts:
        """Return a clip's hash and length, from the cache if they are stored there. Raises AudioError."""
        cached = self.cache.facts([audio])[0] if self.cache is not None else {}
        return cached[audio] if audio in cached else audio.facts()

    def decoder(self, model: Any) -> Decoder:
        """Describe the loaded model to a press. Raises MarathonError unless a subclass implements it."""
        raise MarathonError(f"{self.name()} has no decoder that a press could work on")
