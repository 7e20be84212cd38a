"""Answers one chat from an evicted cache: prefills, evicts, reads the question, decodes, and times each stage."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopPLogitsWarper

from marathon_eval.api.model import Generation, Request, Response, Usage
from marathon_eval.api.press import Decoder, EvictionPress
from marathon_eval.backends.hf.engine.eviction import answer, context_length, evicted, prefill_context
from marathon_eval.backends.hf.engine.eviction_context import Context
from marathon_eval.backends.hf.engine.finite_logits import all_finite, broken_logits
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.usage import (
    EncoderWatch,
    by_layers,
    kv_bytes_per_token,
    now,
    peak_bytes,
    reset_peak,
    tokens_per_second,
)
from marathon_eval.backends.hf.flops import Shape, evicted_speedup
from marathon_eval.errors import RowError

if TYPE_CHECKING:
    from transformers import DynamicCache

    from marathon_eval.backends.hf.inputs import Inputs, LocalModel


@dataclass
class Chooser:
    """Chooses each next token and stores it, until an end token, a stop string or `max_new_tokens`.

    Above temperature 0 it samples as `generate` does: with the same seed and no key evicted, the same tokens.
    """

    loaded: Loaded
    generation: Generation
    tokens: list[int]
    first_at: float | None = None
    finish: str = "length"

    def __call__(self, logits: Tensor) -> int | None:
        if not all_finite(logits):
            raise RowError(broken_logits(len(self.tokens)))
        token = self._next(logits)
        if self.first_at is None:
            self.first_at = now(self.loaded.device)
        self.tokens.append(token)
        if token in self.loaded.model.generation_config.eos_token_id or self._stopped():
            self.finish = "stop"
            return None
        return token if len(self.tokens) < self.generation.max_new_tokens else None

    def _next(self, logits: Tensor) -> int:
        generation = self.generation
        if generation.temperature <= 0:
            return int(logits.argmax())
        warpers = LogitsProcessorList([TemperatureLogitsWarper(generation.temperature)])
        if generation.top_p < 1:
            warpers.append(TopPLogitsWarper(generation.top_p))
        scores = warpers(None, logits[None].float())
        return int(torch.multinomial(scores.softmax(-1), num_samples=1))

    def _stopped(self) -> bool:
        return bool(self.generation.stop) and any(stop in self.text() for stop in self.generation.stop)

    def text(self) -> str:
        """Return the answer so far, without special tokens."""
        decoded: str = self.loaded.tokenizer.decode(self.tokens, skip_special_tokens=True)
        return decoded


def answered_from_evicted(
    adapter: LocalModel, loaded: Loaded, request: Request, inputs: Inputs, press: EvictionPress
) -> Response:
    """Answer one request. Of a prompt without audio nothing is evicted, as no pruning press cuts it. Raises RowError."""
    decoder = adapter.decoder(loaded.model)
    tensors = {name: tensor.to(loaded.device) for name, tensor in inputs.tensors.items()}
    ids = tensors["input_ids"]
    audio = torch.isin(ids[0], torch.tensor(decoder.audio_token_ids, device=ids.device)).nonzero().squeeze(1)
    length = context_length(press, ids, audio)
    reset_peak(loaded.device)
    with ExitStack() as stack:
        watch = stack.enter_context(EncoderWatch(decoder.encode_audio, loaded.device))
        started = now(loaded.device)
        prefill = prefill_context if loaded.shared is None else loaded.shared.context
        context = prefill(decoder, tensors, length, press, inputs.padding(0))
        prefilled_at = now(loaded.device)
        cache = evicted(decoder, context, press, adapter.seed_of(request))
        evicted_at = now(loaded.device)
    if watch.tokens is not None and watch.tokens != inputs.audio_tokens[0]:
        raise RowError(
            f"the encoder made {watch.tokens} audio tokens, the prompt has {inputs.audio_tokens[0]}"
        )
    kept = [layer.keys.shape[2] for layer in cache.layers]
    chooser = Chooser(loaded, request.generation, [])
    if request.generation.seed is not None:
        torch.manual_seed(request.generation.seed)
    for _logits in answer(decoder, cache, ids[:, length:], length, chooser, context.logits):
        pass  # `chooser` collects the tokens; the loop only runs the decoding steps
    ended = now(loaded.device)
    first = chooser.first_at if chooser.first_at is not None else ended
    seconds = Seconds(
        watch.seconds,
        first - started - watch.seconds,
        context.observed_s + evicted_at - prefilled_at,
        ended - first,
    )
    usage = _usage(decoder, loaded, inputs, context, cache, kept, seconds, len(chooser.tokens))
    return Response(_until_stop(chooser), finish_reason=chooser.finish, usage=usage)


@dataclass(frozen=True)
class Seconds:
    """Holds the seconds of each stage of one answer."""

    encode: float
    prefill: float
    """Until the first token, including the press's time."""
    select: float
    decode: float


def _until_stop(chooser: Chooser) -> str:
    text = chooser.text()
    ends = [text.index(stop) for stop in chooser.generation.stop if stop in text]
    return text[: min(ends)] if ends else text


def _usage(
    decoder: Decoder,
    loaded: Loaded,
    inputs: Inputs,
    context: Context,
    cache: DynamicCache,
    kept: list[int],
    seconds: Seconds,
    output_tokens: int,
) -> Usage:
    """Count tokens, bytes and seconds; kept tokens are the mean over layers, which may keep different numbers."""
    prompt = int(inputs.tensors["input_ids"].shape[1])
    question = prompt - context.length
    audio = len(context.audio) + len(context.padding)
    details: dict[str, Any] = {**inputs.details, **inputs.padding_record(0)}
    details["kv_tokens"] = by_layers([count + question for count in kept])
    details["select_s"] = round(seconds.select, 6)
    details["batch"] = 1
    details |= tokens_per_second(output_tokens, seconds.decode)
    shape = Shape.of(decoder.stack.config)
    if shape is not None:
        gain = evicted_speedup(shape, context.length, kept, question)
        details["theoretical_speedup"] = round(gain, 4)
    costs = kv_bytes_per_token(cache)
    # `kept` counts all keys of a layer; the text keys among them are never evicted
    return Usage(
        heard_seconds=round(inputs.heard_seconds[0], 3),
        audio_tokens=audio,
        kept_tokens=round(sum(kept) / len(kept)) - (context.length - audio),
        input_tokens=prompt,
        output_tokens=output_tokens,
        encode_s=round(seconds.encode, 6),
        prefill_s=round(seconds.prefill, 6),
        decode_s=round(seconds.decode, 6),
        peak_bytes=peak_bytes(loaded.device, loaded.weights_bytes),
        kv_bytes=sum((count + question) * cost for count, cost in zip(kept, costs, strict=True)),
        details=details,
    )
