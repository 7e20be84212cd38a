"""Writes checkpoints of every chat model's real architecture, small and with random weights, in the hub's layout.

Each builder writes a folder that `pretrained=` loads by the ordinary path; `BUILDERS` names it after the adapter.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import transformers

import marathon_eval.backends.hf.engine  # noqa: F401 - hides a torchvision that would break transformers' audio models
from helpers.tiny_aero import make_aero
from helpers.tiny_checkpoints import CHAT_TEMPLATE, QWEN_NAMED, QWEN_TOKENS, byte_tokenizer, make_qwen_omni
from helpers.tiny_nemotron import make_nemotron
from helpers.tiny_parts import HIDDEN, flamingo_encoder, language, mel, saved, whisper_like
from helpers.tiny_tekken import TEKKEN_AUDIO, TEKKEN_SPECIAL, tekken
from helpers.tiny_transcribers import make_glm_asr, make_qwen3_asr
from helpers.tiny_unified import make_gemma4_unified

FLAMINGO_TEMPLATE = CHAT_TEMPLATE.replace("<|audio_bos|><|AUDIO|><|audio_eos|>", "<sound>")


def make_qwen2_audio(folder: Path) -> Path:
    """Write Qwen2-Audio: 30 s of Whisper features, pooled to 25 tokens per second."""
    tokenizer = byte_tokenizer(QWEN_TOKENS, QWEN_NAMED, pad="<|endoftext|>", eos="<|im_end|>")
    config = transformers.Qwen2AudioConfig(
        audio_config=whisper_like(
            encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=32, d_model=HIDDEN
        ),
        text_config=language(tokenizer, "qwen2"),
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    return saved(
        folder, transformers.Qwen2AudioForConditionalGeneration, config, tokenizer, mel(), CHAT_TEMPLATE
    )


def make_audio_flamingo(folder: Path) -> Path:
    """Write Audio Flamingo 3: one placeholder per clip, heard in windows of 30 s."""
    tokenizer = byte_tokenizer((*QWEN_TOKENS, "<sound>"), {}, pad="<|endoftext|>", eos="<|im_end|>")
    config = transformers.AudioFlamingo3Config(
        audio_config=flamingo_encoder(),
        text_config=language(tokenizer, "qwen2"),
        audio_token_id=tokenizer.convert_tokens_to_ids("<sound>"),
    )
    model = transformers.AudioFlamingo3ForConditionalGeneration
    return saved(folder, model, config, tokenizer, mel(), FLAMINGO_TEMPLATE)


def make_music_flamingo(folder: Path) -> Path:
    """Write Music Flamingo: Audio Flamingo 3 with delimiters around the audio and time embeddings in its features."""
    tokens = (*QWEN_TOKENS, "<sound>", "<|sound_bos|>", "<|sound_eos|>")
    tokenizer = byte_tokenizer(tokens, {}, pad="<|endoftext|>", eos="<|im_end|>")
    ids = tokenizer.convert_tokens_to_ids(["<sound>", "<|sound_bos|>", "<|sound_eos|>"])
    config = transformers.MusicFlamingoConfig(
        audio_config={"model_type": "audioflamingo3_encoder", **flamingo_encoder()},
        text_config=language(tokenizer, "qwen2"),
        **dict(zip(("audio_token_id", "audio_bos_token_id", "audio_eos_token_id"), ids, strict=True)),
    )
    model = transformers.MusicFlamingoForConditionalGeneration
    return saved(folder, model, config, tokenizer, mel(), FLAMINGO_TEMPLATE)


def make_voxtral(folder: Path) -> Path:
    """Write Voxtral, with Mistral's tokenizer instead of a chat template."""
    folder.mkdir(exist_ok=True)
    (folder / "tekken.json").write_text(json.dumps(tekken()), encoding="utf-8")
    tokenizer = transformers.MistralCommonBackend(tokenizer_path=str(folder / "tekken.json"))
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": HIDDEN}
    config = transformers.VoxtralConfig(
        # the projector packs four frames into one token
        audio_config=whisper_like(**sizes, intermediate_size=4 * HIDDEN),
        text_config=language(tokenizer, vocab_size=256 + TEKKEN_SPECIAL, bos_token_id=1),
        audio_token_id=TEKKEN_AUDIO,
    )
    return saved(
        folder, transformers.VoxtralForConditionalGeneration, config, tokenizer, mel(), template=None
    )


def make_qwen3_omni(folder: Path) -> Path:
    """Write Qwen3-Omni: the whole model's layout with a thinker of four experts."""
    tokenizer = byte_tokenizer(QWEN_TOKENS, QWEN_NAMED, pad="<|endoftext|>", eos="<|im_end|>")
    ids = dict(zip(QWEN_TOKENS, tokenizer.convert_tokens_to_ids(list(QWEN_TOKENS)), strict=True))
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 1, 1], "interleaved": True}
    experts: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
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
        "text_config": language(tokenizer, rope_parameters=rope, **experts),
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
    return saved(folder, model, config, tokenizer, mel(), CHAT_TEMPLATE)


def make_phi4_mm(folder: Path) -> Path:
    """Write Phi-4-Multimodal: the converted layout, with its speech adapter in a folder of its own."""
    import torch
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file

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
    text = {k: v for k, v in language(tokenizer).items() if k != "head_dim"}
    config = transformers.Phi4MultimodalConfig(
        **text,
        bos_token_id=start,
        vision_config={**vision, "image_size": 28, "crop_size": 28, "image_token_id": image},
        audio_config={**encoder, "audio_token_id": audio},
    )
    features = transformers.Phi4MultimodalFeatureExtractor()
    saved(folder, transformers.Phi4MultimodalForCausalLM, config, tokenizer, features, template=None)
    model = transformers.Phi4MultimodalForCausalLM.from_pretrained(folder)
    lora = LoraConfig(
        r=4, target_modules=r".*layers\.\d+\.self_attn\.(qkv_proj|o_proj)", init_lora_weights=False
    )
    model.add_adapter(lora, adapter_name="speech")
    (folder / "speech-lora").mkdir()
    lora.save_pretrained(str(folder / "speech-lora"))
    with torch.no_grad():
        state = get_peft_model_state_dict(model, adapter_name="speech")
    named_as_peft_does = {f"base_model.model.{name}": part.contiguous() for name, part in state.items()}
    save_file(named_as_peft_does, folder / "speech-lora" / "adapter_model.safetensors")
    return folder


PHI_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def make_gemma4(folder: Path) -> Path:
    """Write Gemma 4 without a vision tower: sliding and full layers, some of which share their cache."""
    named = {"audio_token": "<|audio|>", "boa_token": "<|audio>", "eoa_token": "<audio|>"}
    named |= {"image_token": "<|image|>", "boi_token": "<|image>", "eoi_token": "<image|>"}
    tokens = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<|video|>", *named.values())
    tokenizer = byte_tokenizer(tokens, named, pad="<pad>", eos="<eos>", bos="<bos>")
    ids = dict(zip(tokens, tokenizer.convert_tokens_to_ids(list(tokens)), strict=True))
    size = len(tokenizer)
    text = language(
        tokenizer,
        vocab_size_per_layer_input=size,
        num_hidden_layers=4,
        num_kv_shared_layers=2,
        global_head_dim=8,
        hidden_size_per_layer_input=8,
        layer_types=["sliding_attention", "full_attention"] * 2,
        sliding_window=64,  # of 25 tokens per second: seconds of sound are out of sight
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
    model = transformers.Gemma4ForConditionalGeneration
    return saved(folder, model, config, tokenizer, features, GEMMA4_TEMPLATE)


GEMMA_TEMPLATE = """\
<bos>{% for message in messages %}<start_of_turn>{{ message['role'] }}
{% for part in message['content'] -%}
{%- if part['type'] == 'audio' -%}<audio_soft_token>{%- else -%}{{ part['text'] }}{%- endif -%}
{%- endfor -%}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}"""
GEMMA4_TEMPLATE = GEMMA_TEMPLATE.replace("<audio_soft_token>", "<|audio|>")


def make_gemma3n(folder: Path) -> Path:
    """Write Gemma 3n, with the smallest vision tower that timm knows: 20 MB."""
    named = {"image_token": "<image_soft_token>", "audio_token": "<audio_soft_token>"}
    named |= {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    named |= {"boa_token": "<start_of_audio>", "eoa_token": "<end_of_audio>"}
    tokens = ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>", *named.values())
    tokenizer = byte_tokenizer(tokens, named, pad="<pad>", eos="<eos>", bos="<bos>")
    ids = dict(zip(tokens, tokenizer.convert_tokens_to_ids(list(tokens)), strict=True))
    size = len(tokenizer)  # then 8 ids of the eye's vocabulary, and 8 of the ear's
    text = language(
        tokenizer,
        vocab_size=size + 16,
        vocab_size_per_layer_input=size,
        num_hidden_layers=4,
        hidden_size_per_layer_input=8,
        num_kv_shared_layers=2,
        laurel_rank=8,
        layer_types=["sliding_attention", "full_attention"] * 2,
        sliding_window=64,
        activation_sparsity_pattern=[0.0] * 4,
        bos_token_id=ids["<bos>"],
    )
    ear: dict[str, Any] = {
        "conf_num_attention_heads": 2,
        "conf_num_hidden_layers": 1,
        "sscp_conv_channel_size": [8, 4],
    }
    ear |= {"hidden_size": HIDDEN, "vocab_size": 8, "vocab_offset": size + 8}
    eye: dict[str, Any] = {
        "architecture": "resnet10t",
        "hidden_size": 512,
        "vocab_size": 8,
        "vocab_offset": size,
    }
    config = transformers.Gemma3nConfig(
        text_config=text,
        audio_config=ear,
        vision_config={**eye, "model_args": None, "do_pooling": False},
        vision_soft_tokens_per_image=4,
        **{f"{name}_id": ids[token] for name, token in named.items()},
    )
    model = transformers.Gemma3nForConditionalGeneration
    features = transformers.Gemma3nAudioFeatureExtractor()
    return saved(folder, model, config, tokenizer, features, GEMMA_TEMPLATE)


def make_granite_speech(folder: Path, kind: str = "GraniteSpeech", joined: Sequence[int] = ()) -> Path:
    """Write Granite Speech without a LoRA; the projector of `GraniteSpeechPlus` reads the `joined` layers too.

    Its feature extractor's config is written by hand, because the class needs torchaudio.
    """
    tokens = ("<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<|audio|>")
    tokenizer = byte_tokenizer(tokens, {}, pad="<|end_of_text|>", eos="<|end_of_text|>")
    tokenizer.chat_template = GRANITE_TEMPLATE
    projector: dict[str, Any] = {"hidden_size": HIDDEN, "num_attention_heads": 2, "num_hidden_layers": 1}
    projector |= {"model_type": "blip_2_qformer", "intermediate_size": 32}
    projector["encoder_hidden_size"] = HIDDEN * (1 + len(joined))
    config = getattr(transformers, f"{kind}Config")(
        text_config=language(tokenizer, "granite", bos_token_id=tokenizer.eos_token_id),
        encoder_config={
            "hidden_dim": HIDDEN,
            "num_layers": 2,
            "num_heads": 2,
            "dim_head": 16,
            "input_dim": 160,
            **({"cat_hidden_layers": [*joined]} if joined else {}),
        },
        projector_config=projector,
        audio_token_index=tokenizer.convert_tokens_to_ids("<|audio|>"),
        has_lora_adapter=False,
    )
    model = getattr(transformers, f"{kind}ForConditionalGeneration")
    saved(folder, model, config, tokenizer, mel(), template=None)
    settings: dict[str, Any] = {
        "sample_rate": 16000,
        "n_fft": 512,
        "win_length": 400,
        "hop_length": 160,
        "n_mels": 80,
    }
    written: dict[str, Any] = {
        "feature_extractor_type": "GraniteSpeechFeatureExtractor",
        "melspec_kwargs": settings,
    }
    written |= {"projector_window_size": 15, "projector_downsample_rate": 5}
    (folder / "preprocessor_config.json").write_text(json.dumps(written), encoding="utf-8")
    return folder


GRANITE_TEMPLATE = (
    "{% for message in messages %}<|start_of_role|>{{ message['role'] }}<|end_of_role|>"
    "{{ message['content'] }}<|end_of_text|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)


def make_with_processor(folder: Path) -> Path:
    """Write Qwen2-Audio with its official processor's config, for the model `hf`."""
    make_qwen2_audio(folder)
    parts = (mel(), transformers.AutoTokenizer.from_pretrained(folder))
    transformers.Qwen2AudioProcessor(*parts, chat_template=CHAT_TEMPLATE).save_pretrained(folder)
    return folder


BUILDERS: dict[str, Callable[[Path], Path]] = {
    "qwen_omni": make_qwen_omni,
    "qwen2_audio": make_qwen2_audio,
    "aero1": make_aero,
    "audio_flamingo": make_audio_flamingo,
    "music_flamingo": make_music_flamingo,
    "voxtral": make_voxtral,
    "qwen3_omni": make_qwen3_omni,
    "phi4_mm": make_phi4_mm,
    "hf": make_with_processor,
    "gemma3n": make_gemma3n,
    "gemma4": make_gemma4,
    "granite_speech": make_granite_speech,
    "granite_speech_plus": lambda folder: make_granite_speech(folder, "GraniteSpeechPlus", [1]),
    "gemma4_unified": lambda folder: make_gemma4_unified(folder, GEMMA4_TEMPLATE),
    "qwen3_asr": make_qwen3_asr,
    "glm_asr": make_glm_asr,
    "nemotron_h_omni": make_nemotron,
}
