"""A local model's working day: load once, hear, ask in batches, fail one request at a time, release.

Requests arrive sorted by clip; batches are cut from that order. While a batch is being answered, the next one's audio
is decoded and its features are made, so at most two batches of audio are in memory. Memory that does not suffice halves
the budget of tokens, and the batch is asked again in parts.
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from marathon_eval.api.model import Request, Response
from marathon_eval.api.press import EvictionPress, PruningPress
from marathon_eval.backends.hf.batching import padded
from marathon_eval.backends.hf.engine.encoder_cache import EncoderFiles
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.memory import (
    affordable_tokens,
    give_back,
    out_of_memory,
    tokens_to_start_with,
)
from marathon_eval.backends.hf.engine.shared_clip import Shared, SharedFeatures
from marathon_eval.backends.hf.inputs import RATE, LocalModel
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.audio import Audio
    from marathon_eval.backends.hf.inputs import Inputs

#: Frames and tokens round; a model that heard this much less than it was sent was not cut.
SECONDS_SLACK = 0.05
TOKENS_SLACK = 2


class ReadyBatch(NamedTuple):
    """A batch ready to be asked."""

    requests: list[Request]
    inputs: Inputs


class BatchFailure(NamedTuple):
    """Why a batch has no answers, and whether less of it at once might."""

    reason: str
    memory: bool

    @classmethod
    def of(cls, error: Exception) -> BatchFailure:
        if isinstance(error, RowError):
            return cls(str(error), False)
        if out_of_memory(error):
            return cls("out of memory, asked alone: less would be dtype=bfloat16 or device_map=auto", True)
        return cls(f"{type(error).__name__}: {error}", False)


class Runner:
    """Answers an adapter's requests with its weights in memory."""

    def __init__(self, adapter: LocalModel, other: Runner | None = None) -> None:
        """`other`: a runner of the same model with another press, whose weights and sounds are used too."""
        self.adapter = adapter
        presses = [cell.press for cell in adapter.cells if cell.press is not None]
        if other is None:
            self.shared = Shared(presses, adapter.args.sharing, EncoderFiles.of(adapter))
        else:
            self.shared = other.shared
        self._warned = False

    @property
    def _loaded(self) -> Loaded | None:
        return self.shared.loaded

    @_loaded.setter
    def _loaded(self, loaded: Loaded) -> None:
        features = SharedFeatures(loaded.features, self.shared)
        self.shared.loaded = replace(loaded, shared=self.shared, features=features)

    @property
    def _always_alone(self) -> bool:
        return self.adapter.requests_at_once() == 1

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Each request with its response, batch by batch. Raises MarathonError for settings that no request survives."""
        loaded = self._loaded
        if loaded is None:
            self._loaded = loaded = load(self.adapter)
            self.shared.warm = False
        self.adapter.begin(loaded)
        sure = tokens_to_start_with(loaded.device)
        if self.adapter.batching.picking and sure is not None:
            self.adapter.batching.pick(sure)
        if not self._always_alone:
            self.adapter.know_lengths(requests)
        on_clip = Counter(request.audios for request in requests)
        if not requests:
            return
        waiting = deque(requests)
        with ThreadPoolExecutor(1, thread_name_prefix="decode-ahead") as self._pool:
            batch = self.adapter.take(waiting)
            preparing = [self._prepare(batch)]
            while batch:
                # the one reference to it is in this list, so that whoever asks can let go of it
                ready = [preparing.pop().result()]
                following = self.adapter.take(waiting)
                if following:
                    preparing.append(self._prepare(following))
                self.shared.several = on_clip[batch[0].audios] > 1
                yield from self._answered(batch, ready)
                batch = following

    def release(self) -> None:
        """Give the memory of weights and caches back; a sweep's cells do it once for all."""
        if self.shared.loaded is None:
            return
        self.shared.release()
        give_back()

    def _prepare(self, batch: list[Request]) -> Future[ReadyBatch | Exception]:
        """Have a batch prepared in the one thread that does so: what it keeps of the clips is no one else's meanwhile."""
        return self._pool.submit(self._prepared_or_error, batch)

    def _prepared_or_error(self, batch: list[Request]) -> ReadyBatch | Exception:
        """The batch's inputs; an error is kept, to be told when the batch's turn comes."""
        try:
            return self._prepared(batch)
        except Exception as error:  # noqa: BLE001 - every kind becomes an error row, or ends the run
            return error.with_traceback(None)  # its frames hold the batch's sounds

    def _prepared(self, batch: list[Request]) -> ReadyBatch:
        assert self._loaded is not None
        self.shared.expect(audio for request in batch for audio in request.audios)
        waves = [[self._sound(audio) for audio in request.audios] for request in batch]
        inputs = self.shared.prepared(tuple(batch), partial(self.adapter.prepare, self._loaded, batch, waves))
        for wave, heard, tokens in zip(waves, inputs.heard_seconds, inputs.audio_tokens, strict=True):
            refuse_cut_audio(wave, heard, tokens, self.adapter.token_rate)
        press = self.adapter.press
        if isinstance(press, PruningPress) and press.needs_loudness:
            pairs = zip(waves, inputs.audio_tokens, strict=True)
            inputs = replace(inputs, loudness=[token_loudness(wave, tokens) for wave, tokens in pairs])
        return ReadyBatch(batch, inputs)

    def _sound(self, audio: Audio) -> NDArray[np.float32]:
        samples: NDArray[np.float32] = self.shared.sound(audio, partial(audio.samples, RATE))
        return samples

    def _asked(self, prepared: ReadyBatch) -> list[Response]:
        """The batch's responses, each charged with all that it took, also where that was done before."""
        assert self._loaded is not None
        self.shared.begin()
        with ExitStack() as stack:
            if self.adapter.has_decoder:
                encoder = self.adapter.decoder(self._loaded.model).encode_audio
                audio = partial(self.adapter.hashes, prepared.requests)
                stack.enter_context(self.shared.encoding_once(encoder, self._loaded.device, audio))
            responses = self.adapter.answer(self._loaded, prepared.requests, prepared.inputs)
        return self._timed(self.shared.charged(responses))

    def _answered(
        self, batch: list[Request], ready: list[ReadyBatch | Exception]
    ) -> Iterator[tuple[Request, Response]]:
        """The batch's answers; what is too much or fails is asked in parts, and what fails alone is an error row.

        `ready` holds what was prepared and is emptied, so that a batch's memory is free when its parts are prepared.
        """
        batching = self.adapter.batching
        lengths = self._lengths(batch, ready[0])
        if not batching.fits(len(batch), max(lengths)):
            ready.clear()
            yield from self._in_parts(batching.parts(batch, lengths))
            return
        held = self.shared.holds()
        outcome = self._outcome(ready.pop(), lengths)
        if isinstance(outcome, BatchFailure) and outcome.memory and len(batch) == 1 and held:
            # what was kept for other questions and cells stood in its way, and is gone now
            outcome = self._outcome(self._prepare(batch).result(), lengths)
        if not isinstance(outcome, BatchFailure):
            batching.tell()
            self._warn_of_no_effect(batch, outcome)
            yield from zip(batch, outcome, strict=True)
        elif len(batch) == 1:
            yield batch[0], Response.failed(outcome.reason)
        elif outcome.memory:
            batching.halve(lengths)
            yield from self._in_parts(batching.parts(batch, lengths))
        else:
            middle = len(batch) // 2
            yield from self._in_parts([batch[:middle], batch[middle:]])

    def _in_parts(self, parts: Sequence[list[Request]]) -> Iterator[tuple[Request, Response]]:
        for part in parts:
            yield from self._answered(part, [self._prepare(part).result()])

    def _lengths(self, batch: Sequence[Request], prepared: ReadyBatch | Exception) -> list[int]:
        """Tokens of each request's prompt and answer: counted where the batch could be prepared."""
        if self._always_alone and not self.adapter.batching.picking:
            return [1]  # there is no budget to hold it against
        estimates = [self.adapter.tokens_of(request) for request in batch]
        mask = None if isinstance(prepared, Exception) else prepared.inputs.tensors.get("attention_mask")
        if mask is None or len(mask) != len(batch):
            return estimates
        lengths = [int(prompt) + batch[0].generation.max_new_tokens for prompt in mask.sum(dim=1).tolist()]
        self.adapter.batching.counted(estimates, lengths)
        return lengths

    def _outcome(
        self, prepared: ReadyBatch | Exception, lengths: Sequence[int]
    ) -> list[Response] | BatchFailure:
        """The batch's responses, or why there are none. Raises MarathonError for what no request survives."""
        assert self._loaded is not None
        try:
            if isinstance(prepared, Exception):
                raise prepared
            responses = self._asked(prepared)
        except Exception as error:  # recorded with the requests that it is about
            if isinstance(error, MarathonError) and not isinstance(error, RowError):
                raise
            failure = BatchFailure.of(error)
            error.__traceback__ = None  # its frames hold the batch's tensors
        else:
            if self.adapter.batching.picking:
                peak = responses[0].usage.peak_bytes
                self.adapter.batching.pick(affordable_tokens(self._loaded.device, padded(lengths), peak))
            return self._noted(responses, lengths)
        if failure.memory:
            self._pool.submit(self.shared.forget).result()
            give_back()
        return failure

    def _noted(self, responses: list[Response], lengths: Sequence[int]) -> list[Response]:
        """What was asked together, where a budget decided it."""
        told = {} if self._always_alone else self.adapter.batching.record(lengths)
        return [
            replace(one, usage=replace(one.usage, details={**one.usage.details, **told})) if told else one
            for one in responses
        ]

    def _timed(self, responses: list[Response]) -> list[Response]:
        """The first batch after loading pays for what is set up only once: its times are marked as such."""
        if self.shared.warm:
            return responses
        self.shared.warm = True
        return [
            replace(one, usage=replace(one.usage, details={**one.usage.details, "warm_up": True}))
            for one in responses
        ]

    def _warn_of_no_effect(self, batch: list[Request], responses: Sequence[Response]) -> None:
        """Once per run: what `evict=prompt` cannot change."""
        press = self.adapter.press
        if self._warned or not isinstance(press, EvictionPress) or press.evict != "prompt":
            return
        for request, response in zip(batch, responses, strict=True):
            ended = response.finish_reason == "stop"
            if request.generation.max_new_tokens == 1 or (response.usage.output_tokens or 2) - ended <= 1:
                self._warned = True
                sys.stderr.write(
                    f"marathon-eval: warning: press={press.name()},evict=prompt: answers of one token can't depend "
                    "on the press, for it is computed before anything is evicted; evict=context measures it\n"
                )
                return


def refuse_cut_audio(
    waves: Sequence[NDArray[np.float32]], heard_seconds: float, audio_tokens: int, token_rate: float | None
) -> None:
    """Raise RowError when the model would hear less than it was sent: by seconds, and by audio tokens."""
    sent = sum(len(wave) for wave in waves) / RATE
    if heard_seconds < sent - SECONDS_SLACK * max(1, len(waves)):
        raise RowError(f"audio was cut: {sent:.2f} s were sent, the model would hear {heard_seconds:.2f} s")
    if token_rate is None:
        return
    expected = sent * token_rate
    if audio_tokens < expected - TOKENS_SLACK * max(1, len(waves)):
        raise RowError(
            f"audio was cut: {sent:.2f} s are {expected:.0f} audio tokens at {token_rate:g}/s, the prompt has {audio_tokens}"
        )
    if waves and audio_tokens < len(waves):
        raise RowError(f"{sent:.3f} s of audio is too short: it makes no audio token")


def token_loudness(waves: Sequence[NDArray[np.float32]], tokens: int) -> torch.Tensor:
    """[tokens] root mean square of as many equal stretches of the clips, one after the other."""
    samples = torch.cat([torch.from_numpy(wave) for wave in waves]).double()
    power = torch.cat([samples.new_zeros(1), samples.square().cumsum(0)])
    edges = torch.arange(tokens + 1) * len(samples) // max(tokens, 1)
    widths = (edges[1:] - edges[:-1]).clamp(min=1)
    return ((power[edges[1:]] - power[edges[:-1]]) / widths).sqrt().float()
