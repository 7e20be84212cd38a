"""Answers a batch of chats: applies the press, times stages, stops, and counts usage.

Makes one generate call, or answers by evicted_answer.py: under an eviction press, from a shared context or with a rounded cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteria

from marathon_eval.api.model import Generation, Request, Response, Usage
from marathon_eval.api.press import Decoder, EvictionPress, PruningPress
from marathon_eval.backends.hf.engine.answer_text import answer_text, cut_in_thought
from marathon_eval.backends.hf.engine.evicted_answer import answered_from_evicted
from marathon_eval.backends.hf.engine.finite_logits import FiniteLogits, broken_logits
from marathon_eval.backends.hf.engine.input_pruning import InputPruning
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.engine.long_scale import answered_in_one_scale
from marathon_eval.backends.hf.engine.observers import WHOLE
from marathon_eval.backends.hf.engine.pruning import Pruning
from marathon_eval.backends.hf.engine.rounded_cache import kv_bits
from marathon_eval.backends.hf.engine.token_map import kept_shares, token_record
from marathon_eval.backends.hf.engine.usage import (
    EncoderWatch,
    FirstToken,
    by_layers,
    has_keys,
    kv_bytes_per_token,
    now,
    peak_bytes,
    reset_peak,
    tokens_per_second,
)
from marathon_eval.backends.hf.flops import Shape, pruned_speedup
from marathon_eval.errors import RowError

if TYPE_CHECKING:
    from marathon_eval.backends.hf.inputs import Inputs, LocalModel


@dataclass(frozen=True)
class TimedBatch:
    """Holds the result of one generate call: new token ids per row, the cache, seconds, peak GPU bytes, and bad logits."""

    rows: list[list[int]]
    cache: Any
    encode_s: float
    prefill_s: float
    decode_s: float
    peak: int | None
    logits: FiniteLogits


def generated(
    adapter: LocalModel, loaded: Loaded, requests: Sequence[Request], inputs: Inputs
) -> list[Response]:
    """Answer a batch whose requests share their generation settings.

    Raises RowError for a prompt that is too long or whose audio tokens do not match the audio.
    """
    new_tokens = requests[0].generation.max_new_tokens
    for each in inputs.alone or [inputs]:
        refuse_unfit(loaded, adapter.decoder(loaded.model), each, new_tokens)
    run = partial(_generated, adapter, requests=requests, inputs=inputs)
    return answered_in_one_scale(loaded, inputs, new_tokens, run)


def _generated(
    adapter: LocalModel, loaded: Loaded, requests: Sequence[Request], inputs: Inputs
) -> list[Response]:
    """Answer a batch of prompts that fit. Raises RowError for audio tokens that do not match the audio."""
    generation = requests[0].generation
    press = adapter.press
    decoder = adapter.decoder(loaded.model)
    rows = inputs.alone or [inputs]
    with ExitStack() as stack:
        stack.enter_context(last_position_only(loaded.model))
        if isinstance(press, EvictionPress):
            return answered_from_evicted(adapter, loaded, requests, rows, press)
        # Without a press, several questions on one clip may continue from one prefilled context, as evicted responses do;
        # WHOLE is the eviction press that removes nothing.
        shared = loaded.shared if press is None and EvictionPress in adapter.carries else None
        sharing = shared is not None and shared.serves_whole(decoder, requests[0], inputs.audio_tokens)
        # the cache is quantised after the context and before the question, so it affects the first answer token too
        if sharing or (press is None and kv_bits(adapter) is not None):
            (answered,) = answered_from_evicted(adapter, loaded, requests, rows, WHOLE)
            return [without_eviction(answered)]
        watch = stack.enter_context(EncoderWatch(decoder.encode_audio, loaded.device))
        pruning = None
        if isinstance(press, PruningPress):
            seeds = [adapter.seed_of(request) for request in requests]
            lower = None if loaded.shared is None else loaded.shared.lower_layers(press)
            kind = InputPruning if decoder.cut_at_input else Pruning
            silent = [inputs.silent(row) for row in range(len(requests))]
            pruning = stack.enter_context(
                kind(
                    decoder,
                    press,
                    seeds,
                    loudness=inputs.loudness,
                    lower=lower,
                    silent=silent,
                    log_tokens=adapter.args.log_tokens,
                    facts=inputs.facts,
                )
            )
        timed = _generate(loaded, inputs, generation, watch, adapter.answer_begins)
    if watch.tokens is not None and watch.tokens != sum(inputs.audio_tokens):
        raise RowError(
            f"the encoder made {watch.tokens} audio tokens, the prompt has {sum(inputs.audio_tokens)}"
        )
    return [
        _response(adapter, loaded, inputs, generation, timed, pruning, row) for row in range(len(requests))
    ]


def without_eviction(response: Response) -> Response:
    """Return the response without the usage entries of an eviction."""
    details = {
        k: v for k, v in response.usage.details.items() if k not in ("select_s", "theoretical_speedup")
    }
    return replace(response, usage=replace(response.usage, details=details))


def refuse_unfit(loaded: Loaded, decoder: Decoder, inputs: Inputs, new_tokens: int) -> None:
    """Raise RowError for a prompt that is too long, or whose placeholders are not as many as its audio's tokens."""
    ids = inputs.tensors["input_ids"]
    refuse_overlong(loaded, ids.shape[1] + new_tokens)
    placeholders = torch.isin(ids, torch.tensor(decoder.audio_token_ids)).sum(dim=1).tolist()
    if placeholders != inputs.audio_tokens:
        raise RowError(
            f"the prompt has {placeholders} audio tokens where the audio makes {inputs.audio_tokens}"
        )


def refuse_overlong(loaded: Loaded, tokens: int) -> None:
    """Raise RowError when prompt and answer exceed the model's context length."""
    limit = getattr(loaded.model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and tokens > limit:
        raise RowError(f"prompt and answer take {tokens} tokens, the model's context length is {limit}")


@contextmanager
def last_position_only(model: Any) -> Iterator[None]:
    """While open, the output head computes logits for the last position only.

    Some models compute them for every prompt position (7,600 x 152,000 numbers for five minutes of audio), although
    generation reads one. This is done with and without a press, so that no press appears faster because of it.
    """
    head = model.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda module, args: (args[0][:, -1:], *args[1:]))
    try:
        yield
    finally:
        handle.remove()


class StopStrings(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped
    """Stops a row when its answer contains one of the strings; those in a thought (`begins`) do not count."""

    def __init__(
        self, tokenizer: Any, stop: Sequence[str], prompt_length: int, begins: str | None = None
    ) -> None:
        self.tokenizer, self.stop, self.prompt_length = tokenizer, tuple(stop), prompt_length
        self.begins = begins

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        rows = input_ids[:, self.prompt_length :].tolist()
        texts = [answer_text(self.tokenizer, row, self.begins).text for row in rows]
        done = [any(stop in text for stop in self.stop) for text in texts]
        return torch.tensor(done, device=input_ids.device)


def _generate(
    loaded: Loaded, inputs: Inputs, generation: Generation, watch: EncoderWatch, begins: str | None
) -> TimedBatch:
    model, device = loaded.model, loaded.device
    tensors = {name: tensor.to(device) for name, tensor in inputs.tensors.items()}
    length = tensors["input_ids"].shape[1]
    first = FirstToken(device)
    criteria: list[StoppingCriteria] = [first]
    if generation.stop:
        criteria.append(StopStrings(loaded.tokenizer, generation.stop, length, begins))
    if generation.seed is not None:
        torch.manual_seed(generation.seed)
    logits = FiniteLogits(sampling=generation.temperature > 0)
    reset_peak(device)
    started = now(device)
    with torch.inference_mode():
        out = model.generate(
            **tensors,
            logits_processor=LogitsProcessorList([logits]),
            generation_config=_config(model, generation),
            stopping_criteria=criteria,
        )
    ended = now(device)
    first_token_at = first.at if first.at is not None else ended
    return TimedBatch(
        rows=out.sequences[:, length:].tolist(),
        cache=out.past_key_values,
        encode_s=watch.seconds,
        prefill_s=first_token_at - started - watch.seconds,
        decode_s=ended - first_token_at,
        peak=peak_bytes(device, loaded.weights_bytes),
        logits=logits,
    )


def _config(model: Any, generation: Generation) -> Any:
    ends = model.generation_config
    config = GenerationConfig(
        max_new_tokens=generation.max_new_tokens,
        do_sample=generation.temperature > 0,
        eos_token_id=ends.eos_token_id,
        pad_token_id=ends.pad_token_id,
        return_dict_in_generate=True,
    )
    if generation.temperature > 0:
        config.temperature, config.top_p, config.top_k = generation.temperature, generation.top_p, 0
    return config


def _response(
    adapter: LocalModel,
    loaded: Loaded,
    inputs: Inputs,
    generation: Generation,
    timed: TimedBatch,
    pruning: Pruning | None,
    row: int,
) -> Response:
    ids = timed.rows[row]
    end_tokens = set(loaded.model.generation_config.eos_token_id)
    end = next((index for index, token in enumerate(ids) if token in end_tokens), None)
    answer = ids if end is None else ids[:end]
    read = answer_text(loaded.tokenizer, answer, adapter.answer_begins)
    text, output_tokens = read.text, len(answer) + (end is not None)
    cut = min((text.index(stop) for stop in generation.stop if stop in text), default=None)
    if cut is not None:
        text, finish = text[:cut], "stop"
        output_tokens = _tokens_to_stop(loaded.tokenizer, answer, generation.stop, adapter.answer_begins)
    else:
        finish = "length" if end is None else "stop"
    usage = _usage(adapter, loaded, inputs, timed, pruning, row, output_tokens)
    broken = timed.logits.broken_at(row, output_tokens)
    if broken is not None:
        return Response.failed(broken_logits(broken), usage)
    usage = replace(usage, details={**usage.details, **read.record()})
    if finish == "length" and not read.begun:
        return Response.failed(cut_in_thought(output_tokens), usage)
    return Response(text, finish_reason=finish, usage=usage)


def _tokens_to_stop(tokenizer: Any, answer: Sequence[int], stop: Sequence[str], begins: str | None) -> int:
    """Count the tokens up to the one that completes a stop string; those after it are the batch's padding."""
    for count in range(1, len(answer)):
        text = answer_text(tokenizer, answer[:count], begins).text
        if any(each in text for each in stop):
            return count
    return len(answer)


def _usage(
    adapter: LocalModel,
    loaded: Loaded,
    inputs: Inputs,
    timed: TimedBatch,
    pruning: Pruning | None,
    row: int,
    output_tokens: int,
) -> Usage:
    """Count one sample's tokens and bytes; its seconds are the batch's divided by the number of samples."""
    prompt = int(inputs.tensors["attention_mask"][row].sum())
    audio, size = inputs.audio_tokens[row], len(timed.rows)
    per_layer = [prompt] * len(timed.cache.layers)
    kept = audio
    details: dict[str, Any] = {**inputs.details, **inputs.silent_record(row)}
    if pruning is not None and pruning.kept is not None:
        counts = pruning.kept
        kept = counts.kept[row]
        if counts.audio_numbers:
            times = None if inputs.token_times is None else inputs.token_times[row]
            details |= token_record(kept_shares(counts.audio_numbers[row], audio), times)
        per_layer = counts.tokens(row, prompt, len(per_layer))
        details["select_s"] = round(counts.select_s / size, 6)
        shape = Shape.of(pruning.decoder.stack.config)
        if shape is not None:
            details["theoretical_speedup"] = round(pruned_speedup(shape, prompt, per_layer), 4)
    cached = zip(per_layer, timed.cache.layers, strict=True)
    details["kv_tokens"] = by_layers([tokens if has_keys(layer) else None for tokens, layer in cached])
    details["batch"] = size
    details |= tokens_per_second(output_tokens, timed.decode_s)
    return Usage(
        heard_seconds=round(inputs.heard_seconds[row], 3),
        audio_tokens=audio,
        kept_tokens=kept,
        input_tokens=prompt,
        output_tokens=output_tokens,
        encode_s=round(timed.encode_s / size, 6),
        prefill_s=round(timed.prefill_s / size, 6),
        decode_s=round(timed.decode_s / size, 6),
        peak_bytes=timed.peak,
        kv_bytes=sum(n * cost for n, cost in zip(per_layer, kv_bytes_per_token(timed.cache), strict=True)),
        details=details,
    )
