"""Runs a local model over requests: loads weights, batches, isolates failing requests, frees memory.

Requests arrive sorted by clip, and batches keep that order. While a batch runs, the runner decodes the next batch's
audio in advance and computes its features, so at most two batches of audio are in memory. When memory runs out, the
token budget is halved and the batch runs again in parts.

The runner calls back into the adapter: `prepare` builds a batch's tensors, `answer` generates (chat models by `generated` in
generate.py).
"""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.model import Request, Response
from marathon_eval.api.press import EvictionPress, PruningPress
from marathon_eval.backends.hf.batching import ROUNDED_TOKENS, padded
from marathon_eval.backends.hf.engine.clip_inputs import SharedFeatures
from marathon_eval.backends.hf.engine.encoder_cache import EncoderFiles
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.memory import (
    affordable_tokens,
    give_back,
    out_of_memory,
    tokens_to_start_with,
)
from marathon_eval.backends.hf.engine.prompt_facts import with_facts
from marathon_eval.backends.hf.engine.request_inputs import prepared_alone, with_loudness
from marathon_eval.backends.hf.engine.shared_clip import Shared
from marathon_eval.backends.hf.inputs import RATE, LocalModel
from marathon_eval.backends.hf.same_weights import refuse_changed
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.audio import Audio
    from marathon_eval.backends.hf.inputs import Inputs

#: Each clip may lack up to this many seconds without being cut: frames round.
SECONDS_SLACK = 0.05


class ReadyBatch(NamedTuple):
    """Holds a batch's requests and its prepared inputs."""

    requests: list[Request]
    inputs: Inputs


class BatchFailure(NamedTuple):
    """Says why a batch failed; `memory`: it ran out of memory, so that smaller parts of it may succeed."""

    reason: str
    memory: bool

    @classmethod
    def of(cls, error: Exception) -> BatchFailure:
        """Classify an error that preparing or answering a batch raised."""
        if isinstance(error, RowError):
            return cls(str(error), False)
        if out_of_memory(error):
            return cls(
                "out of memory even in a batch of one: dtype=bfloat16 needs less, device_map=auto spreads the model over devices",
                True,
            )
        return cls(f"{type(error).__name__}: {error}", False)


class Runner:
    """Answers an adapter's requests in batches; loads the weights on the first call of `run`."""

    def __init__(self, adapter: LocalModel, other: Runner | None = None) -> None:
        """Share weights and decoded clips with `other`, a runner of the same model with another press, if given."""
        self.adapter = adapter
        presses = [cell.press for cell in adapter.cells if cell.press is not None]
        if other is None:
            self.shared = Shared(presses, adapter.args.sharing, EncoderFiles.of(adapter))
        else:
            self.shared = other.shared
        self._warned = self._warned_of_window = False

    @property
    def _loaded(self) -> Loaded | None:
        return self.shared.loaded

    @_loaded.setter
    def _loaded(self, loaded: Loaded) -> None:
        features = SharedFeatures(loaded.features, self.shared.clips)
        self.shared.session = token_hex(4)
        self.shared.loaded = replace(loaded, shared=self.shared, features=features)

    def use(self, loaded: Loaded) -> None:
        """Answer with these weights, which are in memory already."""
        self._loaded = loaded

    @property
    def _always_alone(self) -> bool:
        return self.adapter.requests_at_once() == 1

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Yield each request with its response, batch by batch.

        Raises MarathonError for settings under which every request would fail.
        """
        loaded = self._loaded
        if loaded is None:
            loaded = load(self.adapter)
            for cell in self.adapter.cells:
                refuse_changed(cell)
            self._loaded = loaded
            self.shared.warm = False
        self.adapter.begin(loaded)
        budget = tokens_to_start_with(loaded.device)
        if self.adapter.batching.picking and budget is not None:
            self.adapter.batching.pick(budget)
        if not self._always_alone:
            self.adapter.know_lengths(requests)
        requests_on_clips = Counter(request.audios for request in requests)
        if not requests:
            return
        waiting = deque(requests)
        with ThreadPoolExecutor(1, thread_name_prefix="decode-ahead") as self._pool:
            batch = self.adapter.take(waiting)
            preparing = [self._prepare(batch)]
            while batch:
                # this list holds the only reference to the batch, so that _answered can free its memory
                ready = [preparing.pop().result()]
                following = self.adapter.take(waiting)
                if following:
                    preparing.append(self._prepare(following))
                self.shared.several = requests_on_clips[batch[0].audios] > 1
                yield from self._answered(batch, ready)
                batch = following

    def release(self) -> None:
        """Free weights and reusable results; the runners of a sweep share them, so only the first call acts."""
        if self.shared.loaded is None:
            return
        self.shared.release()
        give_back()

    def _prepare(self, batch: list[Request]) -> Future[ReadyBatch | Exception]:
        """Prepare a batch in the decode-ahead thread, the only thread that changes the stored clips."""
        return self._pool.submit(self._prepared_or_error, batch)

    def _prepared_or_error(self, batch: list[Request]) -> ReadyBatch | Exception:
        """Return the prepared batch, or the error, which is handled when it is the batch's turn."""
        try:
            return self._prepared(batch)
        except Exception as error:  # noqa: BLE001 - _outcome makes error rows of it or raises it
            return error.with_traceback(None)  # its frames hold the batch's sounds

    def _prepared(self, batch: list[Request]) -> ReadyBatch:
        assert self._loaded is not None
        self.shared.clips.expect(audio for request in batch for audio in request.audios)
        waves = [[self._sound(audio) for audio in request.audios] for request in batch]
        press = self.adapter.press
        one_by_one = isinstance(press, EvictionPress) and len(batch) > 1
        make = partial(self.adapter.prepare, self._loaded, batch, waves)
        if one_by_one:
            make = partial(prepared_alone, self.adapter, self._loaded, batch, waves)
        inputs = self.shared.clips.prepared((one_by_one, *batch), make)
        for wave, heard, tokens in zip(waves, inputs.heard_seconds, inputs.audio_tokens, strict=True):
            refuse_cut_audio(wave, heard, tokens, self.adapter.token_rate)
        parts = press.parts if press else ()
        if any(isinstance(part, PruningPress) and part.needs_loudness for part in parts):
            inputs = with_loudness(inputs, waves)
        if any(isinstance(part, PruningPress) and part.needs_question for part in parts):
            audio_ids = self.adapter.decoder(self._loaded.model).audio_token_ids
            inputs = with_facts(inputs, batch, self._loaded.tokenizer, audio_ids)
        return ReadyBatch(batch, inputs)

    def _sound(self, audio: Audio) -> NDArray[np.float32]:
        samples: NDArray[np.float32] = self.shared.clips.sound(audio, partial(audio.samples, RATE))
        return samples

    def _responses(self, prepared: ReadyBatch) -> list[Response]:
        """Answer a prepared batch; each response's usage includes the seconds of work that was reused."""
        assert self._loaded is not None
        self.shared.begin()
        with ExitStack() as stack:
            if self.adapter.has_decoder:
                encoder = self.adapter.decoder(self._loaded.model).encode_audio
                audio = partial(self.adapter.hashes, prepared.requests)
                stack.enter_context(self.shared.encoding_once(encoder, self._loaded.device, audio))
            responses = self.adapter.answer(self._loaded, prepared.requests, prepared.inputs)
        return self._with_session(self.shared.saved.added_to(responses))

    def _answered(
        self, batch: list[Request], ready: list[ReadyBatch | Exception]
    ) -> Iterator[tuple[Request, Response]]:
        """Answer a batch; one that is too large or fails is answered in parts, down to single requests.

        A request that fails alone gets an error response. `ready` holds the prepared batch and is emptied, so
        that its memory is free when the parts are prepared.
        """
        batching = self.adapter.batching
        lengths = self._lengths(batch, ready[0])
        if not batching.fits(len(batch), max(lengths)):
            ready.clear()
            yield from self._in_parts(batching.parts(batch, lengths))
            return
        held_memory = self.shared.holds()
        outcome = self._outcome(ready.pop(), lengths)
        if isinstance(outcome, BatchFailure) and outcome.memory and len(batch) == 1 and held_memory:
            # _outcome has freed the results kept for reuse, so the request may fit now
            outcome = self._outcome(self._prepare(batch).result(), lengths)
        if not isinstance(outcome, BatchFailure):
            batching.report_halving()
            self._warn_of_no_effect(batch, outcome)
            self._warn_of_window(outcome)
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
        """Return each request's tokens of prompt and answer: counted if the batch was prepared, else estimated."""
        if self._always_alone and not self.adapter.batching.picking:
            return [1]  # batches of one request need no lengths
        estimates = [self.adapter.tokens_of(request) for request in batch]
        mask = None if isinstance(prepared, Exception) else prepared.inputs.tensors.get("attention_mask")
        if mask is None or len(mask) != len(batch):
            return estimates
        lengths = [int(prompt) + batch[0].generation.max_new_tokens for prompt in mask.sum(dim=1).tolist()]
        self.adapter.batching.correct_estimates(estimates, lengths)
        return lengths

    def _outcome(
        self, prepared: ReadyBatch | Exception, lengths: Sequence[int]
    ) -> list[Response] | BatchFailure:
        """Return the batch's responses or its failure. Raises MarathonError for errors that affect every request."""
        assert self._loaded is not None
        try:
            if isinstance(prepared, Exception):
                raise prepared
            responses = self._responses(prepared)
        except Exception as error:  # becomes the error of the requests in this batch
            if isinstance(error, MarathonError) and not isinstance(error, RowError):
                raise
            failure = BatchFailure.of(error)
            error.__traceback__ = None  # its frames hold the batch's tensors
        else:
            if self.adapter.batching.picking:
                peak = responses[0].usage.peak_bytes
                self.adapter.batching.pick(affordable_tokens(self._loaded.device, padded(lengths), peak))
            return self._with_batch_record(responses, lengths)
        if failure.memory:
            self._pool.submit(self.shared.forget).result()
            give_back()
        return failure

    def _with_batch_record(self, responses: list[Response], lengths: Sequence[int]) -> list[Response]:
        """Add the batch's tokens and budget to each response's usage, if a budget decided the batch."""
        record = {} if self._always_alone else self.adapter.batching.record(lengths)
        return [_with_details(response, record) for response in responses] if record else responses

    def _with_session(self, responses: list[Response]) -> list[Response]:
        """Name the session that measured the seconds, and mark its first batch, whose times include one-time setup."""
        record: dict[str, Any] = {"session": self.shared.session}
        if not self.shared.warm:
            record["warm_up"] = self.shared.warm = True
        return [_with_details(response, record) for response in responses]

    def _warn_of_no_effect(self, batch: list[Request], responses: Sequence[Response]) -> None:
        """Warn once per run that `evict=prompt` and `evict=decode` cannot change answers of one token."""
        press = self.adapter.press
        if self._warned or not isinstance(press, EvictionPress) or press.evict == "context":
            return
        for request, response in zip(batch, responses, strict=True):
            ended = response.finish_reason == "stop"
            if request.generation.max_new_tokens == 1 or (response.usage.output_tokens or 2) - ended <= 1:
                self._warned = True
                sys.stderr.write(
                    f"marathon-eval: warning: press={press.name()},evict={press.evict}: answers of one token can't depend "
                    "on the press, because that token is computed before keys are evicted; use evict=context\n"
                )
                return

    def _warn_of_window(self, responses: Sequence[Response]) -> None:
        """Warn once per run that a press's window is shortened, because its keys would take over half the budget."""
        press = self.adapter.press
        if self._warned_of_window or not isinstance(press, EvictionPress) or press.evict != "context":
            return
        for response in responses:
            kept, audio = response.usage.kept_tokens, response.usage.audio_tokens
            if press.window > 1 and kept and audio and kept < audio and press.window > kept // 2:
                self._warned_of_window = True
                sys.stderr.write(
                    f"marathon-eval: warning: press={press.name()},window={press.window}: only {kept} audio tokens are "
                    f"kept, so the window is shortened to {kept // 2}, half of them\n"
                )
                return


def _with_details(response: Response, details: Mapping[str, Any]) -> Response:
    usage = response.usage
    return replace(response, usage=replace(usage, details={**usage.details, **details}))


def refuse_cut_audio(
    waves: Sequence[NDArray[np.float32]], heard_seconds: float, audio_tokens: int, token_rate: float | None
) -> None:
    """Raise RowError when the inputs cover fewer seconds, or have fewer audio tokens, than the clips need."""
    sent = sum(len(wave) for wave in waves) / RATE
    if heard_seconds < sent - SECONDS_SLACK * max(1, len(waves)):
        raise RowError(f"audio was cut: {sent:.2f} s were sent, the model would hear {heard_seconds:.2f} s")
    if token_rate is None:
        return
    expected = sent * token_rate
    if audio_tokens < expected - ROUNDED_TOKENS * max(1, len(waves)):
        raise RowError(
            f"audio was cut: {sent:.2f} s are {expected:.0f} audio tokens at {token_rate:g}/s, "
            f"the prompt has {audio_tokens}"
        )
    if waves and audio_tokens < len(waves):
        raise RowError(f"{sent:.3f} s of audio is too short: it makes no audio token")
