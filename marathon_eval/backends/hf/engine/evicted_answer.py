"""Answers chats from evicted caches: prefills, evicts, reads the question, decodes, and times each stage."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from marathon_eval.api.model import Request, Response, Usage
from marathon_eval.api.press import Decoder, EvictionPress
from marathon_eval.api.press_pair import PressPair
from marathon_eval.backends.hf.engine.batched_decoding import decode_together
from marathon_eval.backends.hf.engine.eviction import (
    answer,
    context_length,
    keep_selected_keys,
    prefill_context,
)
from marathon_eval.backends.hf.engine.eviction_context import Context, heard_audio
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.pruned_context import prefill_pruned
from marathon_eval.backends.hf.engine.rounded_cache import RoundedLayer, kv_bits, rounded_cache
from marathon_eval.backends.hf.engine.step_eviction import StepEviction
from marathon_eval.backends.hf.engine.token_chooser import Chooser
from marathon_eval.backends.hf.engine.token_map import KeptKeys, token_record
from marathon_eval.backends.hf.engine.usage import (
    EncoderWatch,
    by_layers,
    kv_bytes_per_token,
    now,
    peak_bytes,
    reset_peak,
    tokens_per_second,
)
from marathon_eval.backends.hf.flops import Shape, evicted_speedup, pair_speedup, quantised_bytes
from marathon_eval.errors import RowError

if TYPE_CHECKING:
    from transformers import DynamicCache

    from marathon_eval.backends.hf.inputs import Inputs, LocalModel


@dataclass
class Begun:
    """Holds an answer up to the logits of its first token: its context was read and cut, and its question read."""

    inputs: Inputs
    context: Context
    cache: DynamicCache
    kept: list[int]
    chooser: Chooser
    steps: Generator[Tensor]
    logits: Tensor
    kept_audio: float
    encode_s: float
    prefill_s: float
    select_s: float
    stays: KeptKeys | None = None


def answered_from_evicted(
    adapter: LocalModel,
    loaded: Loaded,
    requests: Sequence[Request],
    rows: Sequence[Inputs],
    press: EvictionPress,
) -> list[Response]:
    """Answer requests, each with inputs of its own: their contexts are read one by one, their answers decoded together.

    From a prompt without audio nothing is evicted. Raises RowError.
    """
    decoder = adapter.decoder(loaded.model)
    reset_peak(loaded.device)
    pairs = list(zip(requests, rows, strict=True))
    if press.evict == "decode":
        ((request, inputs),) = pairs
        begun = [_begun_by_steps(adapter, loaded, request, inputs, press)]
    else:
        begun = [_begun(adapter, loaded, *pair, press, alone=len(pairs) == 1) for pair in pairs]
    started = now(loaded.device)
    if len(begun) == 1:
        for _logits in begun[0].steps:
            pass  # the chooser collects the tokens; the loop only runs the decoding steps
    else:
        decode_together(
            decoder,
            [each.cache for each in begun],
            [int(each.inputs.tensors["input_ids"].shape[1]) for each in begun],
            [each.chooser for each in begun],
            [each.logits for each in begun],
        )
    decode_s = now(loaded.device) - started
    return [_response(decoder, loaded, each, decode_s, len(begun)) for each in begun]


def _begun(
    adapter: LocalModel,
    loaded: Loaded,
    request: Request,
    inputs: Inputs,
    press: EvictionPress,
    alone: bool,
) -> Begun:
    """Read the context, cut its cache, and read the question; `alone` leaves `steps` open to decode. Raises RowError."""
    decoder = adapter.decoder(loaded.model)
    tensors = {name: tensor.to(loaded.device) for name, tensor in inputs.tensors.items()}
    ids = tensors["input_ids"]
    audio = torch.isin(ids[0], torch.tensor(decoder.audio_token_ids, device=ids.device)).nonzero().squeeze(1)
    length = context_length(press, ids, audio)
    with ExitStack() as stack:
        watch = stack.enter_context(EncoderWatch(decoder.encode_audio, loaded.device))
        started = now(loaded.device)
        seed, silent = adapter.seed_of(request), inputs.silent(0)
        if isinstance(press, PressPair):
            context = prefill_pruned(
                decoder, tensors, length, press, seed, silent, inputs.loudness, inputs.facts
            )
        else:
            prefill = prefill_context if loaded.shared is None else loaded.shared.context
            context = prefill(decoder, tensors, length, press, silent)
        prefilled_at = now(loaded.device)
        stays = KeptKeys(context) if adapter.args.log_tokens and adapter.press is press else None
        cache = keep_selected_keys(decoder, context, press, seed, stays=stays)
        bits = kv_bits(adapter)
        if bits is not None:
            cache = rounded_cache(cache, bits)
        evicted_at = now(loaded.device)
    refuse_miscounted(watch, inputs)
    kept = [layer.keys.shape[2] for layer in cache.layers]
    # `kept` counts all keys of a layer; the text keys among them are never evicted
    kept_audio = sum(kept) / len(kept) - (length - len(context.audio) - len(context.silent))
    chooser = Chooser(loaded, request.generation, [])
    steps = answer(decoder, cache, ids[:, length:], length, chooser, context.logits)
    logits = next(steps)
    if not alone:
        steps.close()  # its hooks mask by this answer's cache alone
    select_s = context.observed_s + evicted_at - prefilled_at
    prefill_s = now(loaded.device) - started - watch.seconds
    return Begun(
        *(inputs, context, cache, kept, chooser, steps, logits, kept_audio, watch.seconds, prefill_s),
        *(select_s, stays),
    )


def _begun_by_steps(
    adapter: LocalModel, loaded: Loaded, request: Request, inputs: Inputs, press: EvictionPress
) -> Begun:
    """Read the whole prompt for a press that evicts at every step. Raises RowError."""
    decoder = adapter.decoder(loaded.model)
    tensors = {name: tensor.to(loaded.device) for name, tensor in inputs.tensors.items()}
    ids, silent = tensors["input_ids"], inputs.silent(0)
    audio, unheard = heard_audio(decoder, ids, ids.shape[1], silent)
    chooser, by_steps = Chooser(loaded, request.generation, []), StepEviction(decoder, press)
    with EncoderWatch(decoder.encode_audio, loaded.device) as watch:
        started = now(loaded.device)
        steps = by_steps.steps(tensors, chooser, silent)
        logits = next(steps)
        prefill_s = now(loaded.device) - started - watch.seconds
    refuse_miscounted(watch, inputs)
    kept = [layer.keys.shape[2] for layer in by_steps.cache.layers]
    context = Context(by_steps.cache, ids.shape[1], audio, [], unheard, logits)
    return Begun(
        *(inputs, context, by_steps.cache, kept, chooser, steps, logits),
        *(by_steps.kept_audio, watch.seconds, prefill_s, by_steps.select_s),
    )


def refuse_miscounted(watch: EncoderWatch, inputs: Inputs) -> None:
    """Raise RowError when the encoder made another number of audio tokens than the prompt has."""
    if watch.tokens is not None and watch.tokens != inputs.audio_tokens[0]:
        raise RowError(
            f"the encoder made {watch.tokens} audio tokens, the prompt has {inputs.audio_tokens[0]}"
        )


def _response(decoder: Decoder, loaded: Loaded, begun: Begun, decode_s: float, batch: int) -> Response:
    seconds = Seconds(begun.encode_s, begun.prefill_s, begun.select_s, decode_s)
    usage = _usage(decoder, loaded, begun, seconds, batch)
    return Response(_until_stop(begun.chooser), finish_reason=begun.chooser.finish, usage=usage)


@dataclass(frozen=True)
class Seconds:
    """Holds the seconds of each stage of one answer; those of decoding are of its whole batch."""

    encode: float
    prefill: float
    """Until the first token's logits, including the press's time."""
    select: float
    decode: float


def _until_stop(chooser: Chooser) -> str:
    text = chooser.text()
    ends = [text.index(stop) for stop in chooser.generation.stop if stop in text]
    return text[: min(ends)] if ends else text


def _usage(decoder: Decoder, loaded: Loaded, begun: Begun, seconds: Seconds, batch: int) -> Usage:
    """Count tokens, bytes and seconds; kept tokens are the mean over layers, which may keep different numbers."""
    inputs, context, kept = begun.inputs, begun.context, begun.kept
    output_tokens = len(begun.chooser.tokens)
    prompt = int(inputs.tensors["input_ids"].shape[1])
    question = prompt - context.length
    audio = len(context.audio) + len(context.silent)
    details: dict[str, Any] = {**inputs.details, **inputs.silent_record(0)}
    details["kv_tokens"] = by_layers([count + question for count in kept])
    details["select_s"] = round(seconds.select, 6)
    details["batch"] = batch
    if begun.stays is not None and audio:
        times = None if inputs.token_times is None else inputs.token_times[0]
        details |= token_record(begun.stays.shares(), times)
    details |= tokens_per_second(output_tokens, seconds.decode)
    shape = Shape.of(decoder.stack.config)
    if shape is not None:
        read = [layer.keys.shape[2] + question for layer in context.cache.layers]
        gain = (
            pair_speedup(shape, prompt, read, kept, question)
            if context.cuts
            else evicted_speedup(shape, context.length, kept, question)
        )
        details["theoretical_speedup"] = round(gain, 4)
    return Usage(
        heard_seconds=round(inputs.heard_seconds[0], 3),
        audio_tokens=audio,
        kept_tokens=round(begun.kept_audio),
        input_tokens=prompt,
        output_tokens=output_tokens,
        encode_s=round(seconds.encode, 6),
        prefill_s=round(seconds.prefill, 6),
        decode_s=round(seconds.decode / batch, 6),
        peak_bytes=peak_bytes(loaded.device, loaded.weights_bytes),
        kv_bytes=sum(cache_bytes(begun.cache, [count + question for count in kept])),
        details=details,
    )


def cache_bytes(cache: DynamicCache, tokens: Sequence[int]) -> list[int]:
    """Return the bytes of `tokens[i]` tokens in layer i of one sample's cache, packed where it is rounded."""
    exact = zip(tokens, kv_bytes_per_token(cache), strict=True)
    return [
        quantised_bytes(
            count, layer.keys.shape[1], layer.keys.shape[3], layer.bits, layer.keys.element_size()
        )
        if isinstance(layer, RoundedLayer)
        else count * cost
        for layer, (count, cost) in zip(cache.layers, exact, strict=True)
    ]
