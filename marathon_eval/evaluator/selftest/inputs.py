"""Checks what is given to a local model: which weights, how the prompt begins, and whether all of the sound is in it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import Request
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.config_files import read_json
from marathon_eval.evaluator.selftest.clips import SAMPLE_RATE, rustle, rustle_file
from marathon_eval.evaluator.selftest.verdicts import NotApplicable, require

if TYPE_CHECKING:
    from marathon_eval.backends.hf.inputs import Inputs
    from marathon_eval.evaluator.selftest.subject import LocalSelfTest

#: The seconds of the clip for which the official processor is called: below every processor's limit.
SHORT_SECONDS = 2.03


def architecture(there: LocalSelfTest) -> str:
    """Hold the loaded class against the `model_type` in config.json."""
    model, name = there.model, type(there.loaded.model).__name__
    written_type = str(read_json(model.folder() / "config.json").get("model_type"))
    loaded_type = str(there.loaded.model.config.model_type)
    if type(model).load_weights is not HFAudio.load_weights:
        raise NotApplicable(f"{model.name()} translates model_type {written_type} into {name}")
    require(
        loaded_type.startswith(written_type),
        f"config.json has model_type {written_type}, loaded as {loaded_type} ({name}): another kind of checkpoint",
    )
    return f"model_type {written_type}, loaded as {name}"


def adapter_weights(there: LocalSelfTest) -> str:
    """See that an adapter that the checkpoint has, or that `peft=` names, is in the model and changes its weights."""
    folder, model = there.model.folder(), there.loaded.model
    config = read_json(folder / "config.json")
    expected = (
        (folder / weights.LORA_CONFIG).is_file()
        or bool(config.get("has_lora_adapter"))
        or any(folder.glob(f"*/{weights.LORA_CONFIG}"))
        or there.model.args.peft is not None
    )
    if not expected:
        raise NotApplicable("the checkpoint has none, and peft= names none")
    parts = [
        part for name, part in model.named_parameters() if "lora_B" in name or "lora_embedding_B" in name
    ]
    require(bool(getattr(model, "peft_config", None)), "the adapter is missing: the base model answers")
    require(
        not parts or any(bool(part.any()) for part in parts),
        "the adapter's weights are all zero: it changes nothing",
    )
    return f"{', '.join(model.peft_config)}: {len(parts)} matrices"


def start_of_prompt(there: LocalSelfTest) -> str:
    """See that the prompt begins with one BOS token at most."""
    ids = prepared(there, [there.request]).tensors["input_ids"][0].tolist()
    bos = there.loaded.tokenizer.bos_token_id
    if bos is None:
        raise NotApplicable("the tokenizer has no BOS token")
    count = next((n for n, token in enumerate(ids) if token != bos), len(ids))
    require(
        count <= 1,
        f"the prompt begins with {count} BOS tokens (id {bos}); the chat template writes one itself",
    )
    return f"{count} BOS tokens, then {there.loaded.tokenizer.convert_ids_to_tokens(ids[count])}"


def official(there: LocalSelfTest) -> str:
    """Hold ids and features of a short clip against those of the checkpoint's official processor."""
    import torch
    import transformers

    try:
        processor = transformers.AutoProcessor.from_pretrained(
            there.model.folder(), trust_remote_code=there.model.args.trust_remote_code
        )
        parameters = inspect.signature(processor.__call__).parameters
    except Exception as error:  # noqa: BLE001 - whatever its packages raise
        raise NotApplicable(
            f"it can't be loaded here ({type(error).__name__}: {error})".partition("\n")[0]
        ) from None
    if "audio" not in parameters:
        raise NotApplicable(f"{type(processor).__name__} takes no audio")
    request = Request(there.request.prompt, (rustle_file(there.folder, SHORT_SECONDS),))
    ours = prepared(there, [request]).tensors
    chat = there.model.chat(there.loaded, request, 1)
    begun = chat.startswith(there.loaded.tokenizer.bos_token or "\0")
    try:
        theirs = processor(
            text=[chat],
            audio=[rustle(SHORT_SECONDS)],
            return_tensors="pt",
            text_kwargs={"add_special_tokens": not begun},
            audio_kwargs={"sampling_rate": SAMPLE_RATE},
        )
    except Exception as error:  # noqa: BLE001 - as above
        raise NotApplicable(
            f"it can't be called so ({type(error).__name__}: {error})".partition("\n")[0]
        ) from None
    same = [name for name in ours if name in theirs]
    for name in same:
        expected = theirs[name].to(ours[name].dtype)
        require(
            ours[name].shape == expected.shape,
            f"{name}: {list(ours[name].shape)}, not {list(expected.shape)}",
        )
        close = torch.allclose(ours[name].float(), expected.float(), atol=2e-2, rtol=0)
        require(close, f"{name} differs from {type(processor).__name__}'s")
    return f"{type(processor).__name__}: equal {', '.join(same)}"


def heard(there: LocalSelfTest, seconds: float) -> str:
    """See that a clip of this length fits the prompt whole: by the counts, and by a change in its last half second."""
    import torch

    from marathon_eval.backends.hf.engine.runner import refuse_cut_audio

    request = Request(there.request.prompt, (rustle_file(there.folder, 1.0),))
    waves = [rustle(seconds, end_seed=end) for end in (1, 2)]
    first, second = (there.model.prepare(there.loaded, [request], [[wave]]) for wave in waves)
    refuse_cut_audio([waves[0]], first.heard_seconds[0], first.audio_tokens[0], there.model.token_rate)
    features = [name for name in first.tensors if name not in ("input_ids", "attention_mask")]
    same = all(torch.equal(first.tensors[name], second.tensors[name]) for name in features)
    require(
        not same, f"another sound in the last half second of {seconds:g} s changes no feature: audio is cut"
    )
    prompt = first.tensors["input_ids"].shape[1]
    limit = getattr(there.loaded.model.config.get_text_config(), "max_position_embeddings", None)
    require(
        limit is None or prompt <= limit,
        f"the prompt takes {prompt} tokens, the model's context length is {limit}",
    )
    return f"{first.audio_tokens[0]} audio tokens, heard to the end"


def prepared(there: LocalSelfTest, requests: Sequence[Request]) -> Inputs:
    """Build the inputs of requests from their files."""
    waves: list[Any] = [[audio.samples(SAMPLE_RATE) for audio in request.audios] for request in requests]
    return there.model.prepare(there.loaded, requests, waves)
