"""A local model's working day: load once, hear, ask in batches, fail one request at a time, release.

Requests arrive sorted by clip; batches are cut from that order. While a batch is being answered, the next one's audio
is decoded, so at most two batches of audio are in memory.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch

from marathon_eval.errors import MarathonError, RowError
from marathon_eval.hf.encoder_files import EncoderFiles
from marathon_eval.hf.loading import Loaded, load
from marathon_eval.hf.sharing import Shared, SharedFeatures
from marathon_eval.hf_audio import RATE, HFAudio
from marathon_eval.model import Request, Response
from marathon_eval.press import EvictionPress, PruningPress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.audio import Audio
    from marathon_eval.hf_audio import Inputs

#: Frames and tokens round; a model that heard this much less than it was sent was not cut.
SECONDS_SLACK = 0.05
TOKENS_SLACK = 2


class Prepared(NamedTuple):
    """A batch ready to be asked."""

    requests: list[Request]
    inputs: Inputs


class Runner:
    """Answers an adapter's requests with its weights in memory."""

    def __init__(self, adapter: HFAudio, other: Runner | None = None) -> None:
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

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Each request with its response, batch by batch. Raises MarathonError for settings that no request survives."""
        if self._loaded is None:
            self._loaded = load(self.adapter)
            self.shared.warm = False
        batches = self._batches(requests)
        on_clip = Counter(request.audios for request in requests)
        with ThreadPoolExecutor(1, thread_name_prefix="decode-ahead") as pool:
            ahead = pool.submit(self._prepared_or_error, batches[0]) if batches else None
            for number, batch in enumerate(batches):
                assert ahead is not None
                prepared = ahead.result()
                following = batches[number + 1 : number + 2]
                ahead = pool.submit(self._prepared_or_error, following[0]) if following else None
                self.shared.several = on_clip[batch[0].audios] > 1
                yield from self._answered(batch, prepared)

    def release(self) -> None:
        """Give the memory of weights and caches back; a sweep's cells do it once for all."""
        if self.shared.loaded is None:
            return
        self.shared.release()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _batches(self, requests: Sequence[Request]) -> list[list[Request]]:
        """Neighbours that are decoded alike; sampled ones alone, so that an answer depends on its own seed only."""
        batches: list[list[Request]] = []
        for request in requests:
            last = batches[-1] if batches else []
            joins = (
                0 < len(last) < self.adapter.requests_at_once()
                and last[0].generation == request.generation
                and request.generation.temperature == 0
            )
            if joins:
                last.append(request)
            else:
                batches.append([request])
        return batches

    def _prepared_or_error(self, batch: list[Request]) -> Prepared | Exception:
        """The batch's inputs; an error is kept, to be told when the batch's turn comes."""
        try:
            return self._prepared(batch)
        except Exception as error:  # noqa: BLE001 - every kind becomes an error row, or ends the run
            return error

    def _prepared(self, batch: list[Request]) -> Prepared:
        assert self._loaded is not None
        at_once = sum(len(request.audios) for request in batch)
        waves = [[self._sound(audio, at_once) for audio in request.audios] for request in batch]
        inputs = self.shared.prepared(tuple(batch), partial(self.adapter.prepare, self._loaded, batch, waves))
        for wave, heard, tokens in zip(waves, inputs.heard_seconds, inputs.audio_tokens, strict=True):
            refuse_cut_audio(wave, heard, tokens, self.adapter.token_rate)
        press = self.adapter.press
        if isinstance(press, PruningPress) and press.needs_loudness:
            pairs = zip(waves, inputs.audio_tokens, strict=True)
            inputs = replace(inputs, loudness=[loudness(wave, tokens) for wave, tokens in pairs])
        return Prepared(batch, inputs)

    def _sound(self, audio: Audio, at_once: int) -> NDArray[np.float32]:
        samples: NDArray[np.float32] = self.shared.sound(audio, partial(audio.samples, RATE), at_once)
        return samples

    def _asked(self, prepared: Prepared) -> list[Response]:
        """The batch's responses, each charged with all that it took, also where that was done before."""
        assert self._loaded is not None
        self.shared.begin()
        with ExitStack() as stack:
            if type(self.adapter).decoder is not HFAudio.decoder:
                encoder = self.adapter.decoder(self._loaded.model).encode_audio
                audio = partial(self.adapter.hashes, prepared.requests)
                stack.enter_context(self.shared.encoding_once(encoder, self._loaded.device, audio))
            responses = self.adapter.answer(self._loaded, prepared.requests, prepared.inputs)
        return self._timed(self.shared.charged(responses))

    def _answered(
        self, batch: list[Request], prepared: Prepared | Exception
    ) -> Iterator[tuple[Request, Response]]:
        """The batch's answers; when it fails as a whole, each request alone, and what fails alone is an error row."""
        assert self._loaded is not None
        try:
            if isinstance(prepared, Exception):
                raise prepared
            responses = self._asked(prepared)
        except Exception as error:  # recorded below, for this request alone
            if isinstance(error, MarathonError) and not isinstance(error, RowError):
                raise
            reason = self._reason(error)
            error.__traceback__ = None  # its frames hold the batch's tensors
        else:
            self._warn_of_no_effect(batch, responses)
            yield from zip(batch, responses, strict=True)
            return
        if len(batch) == 1:
            yield batch[0], Response.failed(reason)
            return
        for request in batch:
            yield from self._answered([request], self._prepared_or_error([request]))

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

    def _reason(self, error: Exception) -> str:
        if isinstance(error, RowError):
            return str(error)
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
            self.shared.forget()
            self._free()
            return "out of memory: a smaller batch_size, dtype=bfloat16 or device_map=auto needs less"
        return f"{type(error).__name__}: {error}"

    @staticmethod
    def _free() -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


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


def loudness(waves: Sequence[NDArray[np.float32]], tokens: int) -> torch.Tensor:
    """[tokens] root mean square of as many equal stretches of the clips, one after the other."""
    samples = torch.cat([torch.from_numpy(wave) for wave in waves]).double()
    power = torch.cat([samples.new_zeros(1), samples.square().cumsum(0)])
    edges = torch.arange(tokens + 1) * len(samples) // max(tokens, 1)
    widths = (edges[1:] - edges[:-1]).clamp(min=1)
    return ((power[edges[1:]] - power[edges[:-1]]) / widths).sqrt().float()
