"""Checkpoints of every chat model's real architecture, small and with random weights, in the layout that the hub has.

Each builder writes a folder that `pretrained=` loads by the ordinary path; `BUILDERS` names it after the adapter.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tiny import CHAT_TEMPLATE, QWEN_NAMED, QWEN_TOKENS, byte_tokenizer

HIDDEN = 32
LAYERS = 3
#: Random layers hardly change their input; scaled up, logits differ as a trained model's do.
WEIGHT_SCALE = 4.0
FLAMINGO_TEMPLATE = CHAT_TEMPLATE.replace("<|audio_bos|><|AUDIO|><|audio_eos|>", "<sound>")


def make_qwen2_audio(folder: Path) -> Path:
    """Qwen2-Audio: 30 s of Whisper features, pooled to 25 tokens per second."""
    from marathon_eval.hf.loading import transformers

    tokenizer = byte_tokenizer(QWEN_TOKENS, QWEN_NAMED, pad="<|endoftext|>", eos="<|im_end|>")
    config = transformers.Qwen2AudioConfig(
        audio_config=_whisper_like(
            encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, d_model=HIDDEN
        ),
        text_config=_language(tokenizer, "qwen2"),
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    return _saved(
        folder, transformers.Qwen2AudioForConditionalGeneration, config, tokenizer, _mel(), CHAT_TEMPLATE
    )


def make_audio_flamingo(folder: Path) -> Path:
    """Audio Flamingo 3: one placeholder per clip, heard in windows of 30 s."""
    from marathon_eval.hf.loading import transformers

    tokenizer = byte_tokenizer((*QWEN_TOKENS, "<sound>"), {}, pad="<|endoftext|>", eos="<|im_end|>")
    config = transformers.AudioFlamingo3Config(
        audio_config=_flamingo_encoder(),
        text_config=_language(tokenizer, "qwen2"),
        audio_token_id=tokenizer.convert_tokens_to_ids("<sound>"),
    )
    model = transformers.AudioFlamingo3ForConditionalGeneration
    return _saved(folder, model, config, tokenizer, _mel(), FLAMINGO_TEMPLATE)


def make_music_flamingo(folder: Path) -> Path:
    """Music Flamingo: as Audio Flamingo 3, with delimiters around the audio and a clock in its features."""
    from marathon_eval.hf.loading import transformers

    tokens = (*QWEN_TOKENS, "<sound>", "<|sound_bos|>", "<|sound_eos|>")
    tokenizer = byte_tokenizer(tokens, {}, pad="<|endoftext|>", eos="<|im_end|>")
    ids = tokenizer.convert_tokens_to_ids(["<sound>", "<|sound_bos|>", "<|sound_eos|>"])
    config = transformers.MusicFlamingoConfig(
        audio_config={"model_type": "audioflamingo3_encoder", **_flamingo_encoder()},
        text_config=_language(tokenizer, "qwen2"),
        **dict(zip(("audio_token_id", "audio_bos_token_id", "audio_eos_token_id"), ids, strict=True)),
    )
    model = transformers.MusicFlamingoForConditionalGeneration
    return _saved(folder, model, config, tokenizer, _mel(), FLAMINGO_TEMPLATE)


def make_voxtral(folder: Path) -> Path:
    """Voxtral: Mistral's tokenizer instead of a chat template."""
    from marathon_eval.hf.loading import transformers

    folder.mkdir(exist_ok=True)
    (folder / "tekken.json").write_text(json.dumps(_tekken()), encoding="utf-8")
    tokenizer = transformers.MistralCommonBackend(tokenizer_path=str(folder / "tekken.json"))
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": HIDDEN}
    config = transformers.VoxtralConfig(
        # the projector packs four frames into one token
        audio_config=_whisper_like(**sizes, intermediate_size=4 * HIDDEN),
        text_config=_language(tokenizer, vocab_size=256 + TEKKEN_SPECIAL, bos_token_id=1),
        audio_token_id=TEKKEN_AUDIO,
    )
    return _saved(
        folder, transformers.VoxtralForConditionalGeneration, config, tokenizer, _mel(), template=None
    )


def make_qwen3_omni(folder: Path) -> Path:
    """Qwen3-Omni: the whole model's layout with a thinker of four experts."""
    from marathon_eval.hf.loading import transformers

    tokenizer = byte_tokenizer(QWEN_TOKENS, QWEN_NAMED, pad="<|endoftext|>", eos="<|im_end|>")
    ids = dict(zip(QWEN_TOKENS, tokenizer.convert_tokens_to_ids(list(QWEN_TOKENS)), strict=True))
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1], "interleaved": True}
    experts = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    encoder = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": HIDDEN}
    encoder |= {"output_dim": HIDDEN, "downsample_hidden_size": 16, "n_window": 50, "n_window_infer": 800}
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
    }
    thinker = {
        "audio_config": {"num_mel_bins": 32, **encoder},
        "vision_config": vision | {"deepstack_visual_indexes": [0]},
        "text_config": _language(tokenizer, rope_parameters=rope, **experts),
        "audio_token_id": ids["<|AUDIO|>"],
        "image_token_id": ids["<|IMAGE|>"],
        "video_token_id": ids["<|VIDEO|>"],
        "audio_start_token_id": ids["<|audio_bos|>"],
        "audio_end_token_id": ids["<|audio_eos|>"],
        "vision_start_token_id": ids["<|vision_bos|>"],
    }
    config = transformers.Qwen3OmniMoeConfig(
        thinker_config=thinker,
        enable_audio_output=False,
        im_start_token_id=ids["<|im_start|>"],
        im_end_token_id=ids["<|im_end|>"],
    )
    model = transformers.Qwen3OmniMoeForConditionalGeneration
    return _saved(folder, model, config, tokenizer, _mel(), CHAT_TEMPLATE)


def make_phi4_mm(folder: Path) -> Path:
    """Phi-4-Multimodal: the converted layout, with its speech adapter in a folder of its own."""
    import torch
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file

    from marathon_eval.hf.loading import transformers

    tokens = ("<|endoftext|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<|audio|>", "<|image|>")
    named = {"audio_token": "<|audio|>", "image_token": "<|image|>"}
    tokenizer = byte_tokenizer(tokens, named, pad="<|endoftext|>", eos="<|end|>")
    tokenizer.chat_template = PHI_TEMPLATE
    start, image, audio = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|image|>", "<|audio|>"])
    vision = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    encoder = {"hidden_size": HIDDEN, "intermediate_size": 32, "num_blocks": 1, "num_attention_heads": 2}
    encoder |= {
        "nemo_conv_channels": 8,
        "ext_pw_out_channel": HIDDEN,
        "depthwise_separable_out_channel": HIDDEN,
    }
    language = _language(tokenizer)
    del language["head_dim"]
    config = transformers.Phi4MultimodalConfig(
        **language,
        bos_token_id=start,
        vision_config={**vision, "image_size": 28, "crop_size": 28, "image_token_id": image},
        audio_config={**encoder, "audio_token_id": audio},
    )
    features = transformers.Phi4MultimodalFeatureExtractor()
    _saved(folder, transformers.Phi4MultimodalForCausalLM, config, tokenizer, features, template=None)
    model = transformers.Phi4MultimodalForCausalLM.from_pretrained(folder)
    lora = LoraConfig(
        r=4, target_modules=r".*layers\.\d+\.self_attn\.(qkv_proj|o_proj)", init_lora_weights=False
    )
    model.add_adapter(lora, adapter_name="speech")
    (folder / "speech-lora").mkdir()
    lora.save_pretrained(folder / "speech-lora")
    with torch.no_grad():
        state = get_peft_model_state_dict(model, adapter_name="speech")
    named_as_peft_does = {f"base_model.model.{name}": part.contiguous() for name, part in state.items()}
    save_file(named_as_peft_does, folder / "speech-lora" / "adapter_model.safetensors")
    return folder


PHI_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
TEKKEN_SPECIAL, TEKKEN_AUDIO = 40, 24


def _tekken() -> dict[str, Any]:
    """A vocabulary of Mistral's newer kind: 256 bytes after 40 special tokens."""
    named = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"]
    named += [
        "[TOOL_RESULTS]",
        "[/TOOL_RESULTS]",
        "[TOOL_CALLS]",
        "[IMG]",
        "<pad>",
        "[IMG_BREAK]",
        "[IMG_END]",
    ]
    named += ["[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]"]
    special = dict(enumerate(named)) | {TEKKEN_AUDIO: "[AUDIO]", 25: "[BEGIN_AUDIO]", 34: "[TRANSCRIBE]"}
    letters = [chr(byte) if 32 <= byte < 127 else None for byte in range(256)]
    return {
        "config": {
            "pattern": r"\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+",
            "num_vocab_tokens": 256,
            "default_vocab_size": 256 + TEKKEN_SPECIAL,
            "default_num_special_tokens": TEKKEN_SPECIAL,
            "version": "v7",
        },
        "vocab": [
            {"rank": byte, "token_bytes": base64.b64encode(bytes([byte])).decode(), "token_str": letter}
            for byte, letter in enumerate(letters)
        ],
        "special_tokens": [
            {"rank": rank, "token_str": special.get(rank, f"<SPECIAL_{rank}>"), "is_control": True}
            for rank in range(TEKKEN_SPECIAL)
        ],
        "audio": {
            "sampling_rate": 16000,
            "frame_rate": 12.5,
            "audio_encoding_config": {"num_mel_bins": 32, "hop_length": 160, "window_size": 400},
            "chunk_length_s": 30.0,
        },
    }


def make_gemma4(folder: Path) -> Path:
    """Gemma 4 without an eye: sliding and full layers, some of which share their cache."""
    from marathon_eval.hf.loading import transformers

    named = {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    named |= {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    tokens = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<|video|>", *named.values())
    tokenizer = byte_tokenizer(tokens, named, pad="<pad>", eos="<eos>")
    ids = dict(zip(tokens, tokenizer.convert_tokens_to_ids(list(tokens)), strict=True))
    size = len(tokenizer)
    text = _language(
        tokenizer,
        vocab_size_per_layer_input=size,
        num_hidden_layers=4,
        global_head_dim=8,
        hidden_size_per_layer_input=8,
        layer_types=["sliding_attention", "full_attention"] * 2,
        bos_token_id=ids["<bos>"],
    )
    encoder = {"hidden_size": HIDDEN, "num_attention_heads": 2, "num_hidden_layers": 1}
    config = transformers.Gemma4Config(
        text_config=text,
        # the projection takes 128 channels for granted
        audio_config=encoder | {"subsampling_conv_channels": [128, 4], "output_proj_dims": HIDDEN},
        vision_config=None,
        **{f"{name.removesuffix('_token')}_token_id": ids[token] for name, token in named.items()},
        video_token_id=ids["<|video|>"],
        eoa_token_index=ids["<audio|>"],
    )
    features = transformers.models.gemma4.feature_extraction_gemma4.Gemma4AudioFeatureExtractor()
    template = GEMMA_TEMPLATE.replace("<audio_soft_token>", "<|audio|>")
    return _saved(folder, transformers.Gemma4ForConditionalGeneration, config, tokenizer, features, template)


GEMMA_TEMPLATE = """\
<bos>{% for message in messages %}<start_of_turn>{{ message['role'] }}
{% for part in message['content'] -%}
{%- if part['type'] == 'audio' -%}<audio_soft_token>{%- else -%}{{ part['text'] }}{%- endif -%}
{%- endfor -%}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""


def make_granite_speech(folder: Path) -> Path:
    """Granite Speech without a LoRA; its feature extractor's config is written by hand, for it needs torchaudio."""
    from marathon_eval.hf.loading import transformers

    tokens = ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|audio|>")
    tokenizer = byte_tokenizer(tokens, {}, pad="<|end_of_text|>", eos="<|end_of_text|>")
    tokenizer.chat_template = GRANITE_TEMPLATE
    projector = {"hidden_size": HIDDEN, "num_attention_heads": 2, "num_hidden_layers": 1}
    projector |= {"model_type": "blip_2_qformer", "intermediate_size": 32, "encoder_hidden_size": HIDDEN}
    config = transformers.GraniteSpeechConfig(
        text_config=_language(tokenizer, "granite", bos_token_id=tokenizer.eos_token_id),
        encoder_config={
            "hidden_dim": HIDDEN,
            "num_layers": 2,
            "num_heads": 2,
            "dim_head": 16,
            "input_dim": 160,
        },
        projector_config=projector,
        audio_token_index=tokenizer.convert_tokens_to_ids("<|audio|>"),
        has_lora_adapter=False,
    )
    model = transformers.GraniteSpeechForConditionalGeneration
    _saved(folder, model, config, tokenizer, _mel(), template=None)
    settings = {"sample_rate": 16000, "n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": 80}
    written = {"feature_extractor_type": "GraniteSpeechFeatureExtractor", "melspec_kwargs": settings}
    written |= {"projector_window_size": 15, "projector_downsample_rate": 5}
    (folder / "preprocessor_config.json").write_text(json.dumps(written), encoding="utf-8")
    return folder


GRANITE_TEMPLATE = (
    "{% for message in messages %}<|start_of_role|>{{ message['role'] }}<|end_of_role|>"
    "{{ message['content'] }}<|end_of_text|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)


def make_with_processor(folder: Path) -> Path:
    """Qwen2-Audio with its official processor's config, for the model that is told everything by arguments."""
    from marathon_eval.hf.loading import transformers

    make_qwen2_audio(folder)
    parts = (_mel(), transformers.AutoTokenizer.from_pretrained(folder))
    transformers.Qwen2AudioProcessor(*parts, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "qwen2_audio": make_qwen2_audio,
    "audio_flamingo": make_audio_flamingo,
    "music_flamingo": make_music_flamingo,
    "voxtral": make_voxtral,
    "qwen3_omni": make_qwen3_omni,
    "phi4_mm": make_phi4_mm,
    "hf": make_with_processor,
    "gemma4": make_gemma4,
    "granite_speech": make_granite_speech,
}


def _whisper_like(**sizes: Any) -> dict[str, Any]:
    return {"num_mel_bins": 32, "max_source_positions": 1500, **sizes}


def _flamingo_encoder() -> dict[str, Any]:
    return _whisper_like(num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, hidden_size=HIDDEN)


def _mel(**settings: Any) -> Any:
    from marathon_eval.hf.loading import transformers

    settings = {"feature_size": 32, "return_attention_mask": True} | settings
    return transformers.WhisperFeatureExtractor(**settings)


def _language(tokenizer: Any, kind: str | None = None, **more: Any) -> dict[str, Any]:
    """A decoder-only language model for the tokenizer's vocabulary."""
    named = {} if kind is None else {"model_type": kind}
    return {
        **named,
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 32768,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **more,
    }


def _saved(
    folder: Path, model_class: Any, config: Any, tokenizer: Any, features: Any, template: str | None
) -> Path:
    """Random weights of the config's architecture and everything beside them, in `folder`."""
    import torch

    from marathon_eval.hf.loading import quiet

    torch.manual_seed(0)
    with quiet(), torch.no_grad():
        model = model_class(config)
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(WEIGHT_SCALE)
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    features.save_pretrained(folder)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder
