"""Writes small checkpoints of the models that transcribe, saved by their official processors as on the hub."""

from __future__ import annotations

import json
from pathlib import Path

import transformers

from helpers.tiny_checkpoints import byte_tokenizer
from helpers.tiny_parts import HIDDEN, language, mel, saved
from helpers.tiny_tekken import TEKKEN_SPECIAL, tekken

ASR_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|audio_pad|>",
    "<|audio_start|>",
    "<|audio_end|>",
)
ASR_NAMED = {
    "audio_token": "<|audio_pad|>",
    "audio_bos_token": "<|audio_start|>",
    "audio_eos_token": "<|audio_end|>",
}
#: As the hub's template: a system turn always, the clips alone in the user's turn, answers as they are.
ASR_TEMPLATE = """\
{%- set told = namespace(context='', clips='') -%}
{%- for message in messages -%}{%- if message.content is not string -%}{%- for part in message.content -%}
{%- if part.type == 'audio' -%}{%- set told.clips = told.clips + '<|audio_start|><|audio_pad|><|audio_end|>' -%}
{%- elif message.role == 'system' -%}{%- set told.context = told.context + part.text -%}{%- endif -%}
{%- endfor -%}{%- endif -%}{%- endfor -%}
<|im_start|>system
{{ told.context }}<|im_end|>
<|im_start|>user
{{ told.clips }}<|im_end|>
{% for message in messages -%}{%- if message.role == 'assistant' -%}<|im_start|>assistant
{% for part in message.content -%}{{ part.text }}{%- endfor -%}<|im_end|>
{% endif -%}{%- endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""
GLM_TOKENS = (
    *("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>"),
    *("<|begin_of_audio|>", "<|pad|>", "<|end_of_audio|>"),
)
#: As the hub's template: the user's turn begins anew after the clip.
GLM_TEMPLATE = """\
{%- for message in messages -%}<|{{ message.role }}|>
{% for part in message.content -%}
{%- if part.type == 'audio' -%}<|begin_of_audio|><|pad|><|end_of_audio|><|user|>
{% else -%}{{ part.text }}{%- endif -%}
{%- endfor -%}{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>
{% endif -%}
"""


def make_qwen3_asr(folder: Path) -> Path:
    """Write Qwen3-ASR: Qwen3-Omni's encoder with a projector, before a dense Qwen3."""
    tokenizer = byte_tokenizer(ASR_TOKENS, ASR_NAMED, pad="<|endoftext|>", eos="<|im_end|>")
    # no special token: it must be left in the text of an answer
    tokenizer.add_tokens(["<asr_text>"])
    encoder = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": HIDDEN}
    config = transformers.Qwen3ASRConfig(
        audio_config={"num_mel_bins": 32, "output_dim": HIDDEN, "downsample_hidden_size": 16, **encoder},
        text_config=language(tokenizer, "qwen3"),
        audio_token_id=tokenizer.convert_tokens_to_ids("<|audio_pad|>"),
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    processor = transformers.Qwen3ASRProcessor(
        transformers.Qwen3ASRFeatureExtractor(feature_size=32), tokenizer, chat_template=ASR_TEMPLATE
    )
    return saved(
        folder, transformers.Qwen3ASRForConditionalGeneration, config, tokenizer, processor, template=None
    )


def make_glm_asr(folder: Path) -> Path:
    """Write GLM-ASR: Whisper's encoder with rotary positions, before a Llama."""
    tokenizer = byte_tokenizer(GLM_TOKENS, {}, pad="<|endoftext|>", eos="<|endoftext|>")
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": HIDDEN}
    config = transformers.GlmAsrConfig(
        # the projector joins four frames
        audio_config={"num_mel_bins": 32, **sizes, "intermediate_size": 4 * HIDDEN},
        text_config=language(tokenizer, "llama"),
        audio_token_id=tokenizer.convert_tokens_to_ids("<|pad|>"),
    )
    processor = transformers.GlmAsrProcessor(mel(), tokenizer, chat_template=GLM_TEMPLATE)
    return saved(
        folder, transformers.GlmAsrForConditionalGeneration, config, tokenizer, processor, template=None
    )


def make_voxtral_realtime(folder: Path) -> Path:
    """Write Voxtral Realtime: a causal encoder of which four frames are added to each token of a Mistral."""
    folder.mkdir(exist_ok=True)
    (folder / "tekken.json").write_text(json.dumps(tekken(realtime=True)), encoding="utf-8")
    tokenizer = transformers.MistralCommonBackend(tokenizer_path=str(folder / "tekken.json"))
    sizes = {"num_hidden_layers": 1, "num_attention_heads": 2, "head_dim": 16, "hidden_size": HIDDEN}
    config = transformers.VoxtralRealtimeConfig(
        audio_config={"num_mel_bins": 32, **sizes, "intermediate_size": 48, "sliding_window": 64},
        text_config=language(
            tokenizer,
            vocab_size=256 + TEKKEN_SPECIAL,
            bos_token_id=1,
            sliding_window=256,
            tie_word_embeddings=True,
        ),
    )
    processor = transformers.VoxtralRealtimeProcessor(
        transformers.VoxtralRealtimeFeatureExtractor(feature_size=32), tokenizer
    )
    return saved(
        folder,
        transformers.VoxtralRealtimeForConditionalGeneration,
        config,
        tokenizer,
        processor,
        template=None,
    )
