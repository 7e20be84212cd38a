"""Writes checkpoints of the real architectures, a few hundred kilobytes each, with random weights.

They are loaded by the ordinary path (`pretrained=FOLDER`), so that everything but the quality of an answer is real:
tokenizer, chat template, feature extractor, audio encoder, language model. What they answer is noise.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

HIDDEN = 64
LAYERS = 4
#: Random layers hardly change their input; at this scale logits differ by about 2, as a trained model's do.
WEIGHT_SCALE = 4.0

QWEN_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|AUDIO|>",
    "<|audio_bos|>",
    "<|audio_eos|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
    "<|vision_bos|>",
    "<|vision_eos|>",
)
QWEN_NAMED = {
    "audio_token": "<|AUDIO|>",
    "audio_bos_token": "<|audio_bos|>",
    "audio_eos_token": "<|audio_eos|>",
    "image_token": "<|IMAGE|>",
    "video_token": "<|VIDEO|>",
    "vision_bos_token": "<|vision_bos|>",
    "vision_eos_token": "<|vision_eos|>",
}
WHISPER_TOKENS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
CHAT_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message['role'] }}
{% for part in message['content'] -%}
{%- if part['type'] == 'audio' -%}<|audio_bos|><|AUDIO|><|audio_eos|>{%- else -%}{{ part['text'] }}{%- endif -%}
{%- endfor -%}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% endif -%}
"""


def make_qwen_omni(folder: Path, layers: int = LAYERS, seed: int = 0) -> Path:
    """Write a Qwen2.5-Omni checkpoint with random weights into `folder` and return it.

    The whole model's layout: thinker in one shard, talker in another, as on the hub, so that loading only the
    thinker is put to the test.
    """
    # first of all: it hides a torchvision that would break the next imports
    import_module("marathon_eval.backends.hf.engine")
    import torch
    from transformers import Qwen2_5OmniForConditionalGeneration, WhisperFeatureExtractor

    from marathon_eval.backends.hf.engine.load import quiet

    tokenizer = byte_tokenizer(QWEN_TOKENS, QWEN_NAMED, pad="<|endoftext|>", eos="<|im_end|>")
    torch.manual_seed(seed)
    with quiet(), torch.no_grad():
        config = _omni_config({name: tokenizer.convert_tokens_to_ids(name) for name in QWEN_TOKENS}, layers)
        model = Qwen2_5OmniForConditionalGeneration(config)
        model.enable_talker()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(WEIGHT_SCALE)
        model.save_pretrained(folder)
    _reshard(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=128, chunk_length=300, return_attention_mask=True).save_pretrained(
        folder
    )
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": CHAT_TEMPLATE}), encoding="utf-8")
    return folder


def make_whisper(folder: Path, multilingual: bool = False, seed: int = 0) -> Path:
    """Write a Whisper checkpoint with random weights into `folder` and return it."""
    import_module("marathon_eval.backends.hf.engine")  # as above
    import torch
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    from marathon_eval.backends.hf.engine.load import quiet

    times = (f"<|{i * 0.02:.2f}|>" for i in range(1501))
    tokenizer = byte_tokenizer((*WHISPER_TOKENS, *times), {}, pad="<|endoftext|>", eos="<|endoftext|>")
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in WHISPER_TOKENS}
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    special = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    small = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "num_mel_bins": 80}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    wide = {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "vocab_size": len(tokenizer)}
    languages = {
        "lang_to_id": {token: ids[token] for token in ("<|en|>", "<|de|>")},
        "task_to_id": {task: ids[f"<|{task}|>"] for task in ("translate", "transcribe")},
    }
    torch.manual_seed(seed)
    with quiet(), torch.no_grad():
        model = WhisperForConditionalGeneration(WhisperConfig(**small, **heads, **wide, **special))
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(WEIGHT_SCALE)
        model.generation_config = GenerationConfig(
            **special,
            max_length=448,
            is_multilingual=multilingual,
            **(languages if multilingual else {}),
            no_timestamps_token_id=ids["<|notimestamps|>"],
            prev_sot_token_id=ids["<|startofprev|>"],
            return_timestamps=False,
            max_initial_timestamp_index=50,
        )
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder


def byte_tokenizer(
    tokens: tuple[str, ...], named: dict[str, str], pad: str, eos: str, bos: str | None = None
) -> Any:
    """Return a fast tokenizer of 256 bytes and `tokens`; it encodes and decodes any text without loss.

    With `bos`, it puts that token before every text, as the tokenizers of Gemma and Llama do.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={byte: i for i, byte in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    if bos is not None:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=bos,
        pad_token=pad,
        eos_token=eos,
        padding_side="left",
        extra_special_tokens=named,
    )


def _omni_config(ids: dict[str, int], layers: int) -> Any:
    from transformers import Qwen2_5OmniConfig

    text = {
        "vocab_size": len(ids) + 256,
        "hidden_size": HIDDEN,
        "intermediate_size": 96,
        "num_hidden_layers": layers,
        "max_position_embeddings": 32768,
        "pad_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        **_HEADS,
    }
    audio = {
        "num_mel_bins": 128,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "d_model": 32,
        "output_dim": HIDDEN,
    }
    vision = {
        "depth": 1,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_heads": 2,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": [0],
    }
    thinker = {
        "audio_config": audio,
        "vision_config": vision,
        "text_config": text,
        "audio_token_index": ids["<|AUDIO|>"],
        "image_token_index": ids["<|IMAGE|>"],
        "video_token_index": ids["<|VIDEO|>"],
        "audio_start_token_id": ids["<|audio_bos|>"],
        "audio_end_token_id": ids["<|audio_eos|>"],
        "vision_start_token_id": ids["<|vision_bos|>"],
        "vision_end_token_id": ids["<|vision_eos|>"],
    }
    return Qwen2_5OmniConfig(
        thinker_config=thinker,
        talker_config=_talker(),
        token2wav_config=_TOKEN2WAV,
        enable_audio_output=False,
    )


_HEADS = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [4, 2, 2]},
}


def _talker() -> dict[str, Any]:
    return {
        "vocab_size": 300,
        "embedding_size": HIDDEN,
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        **_HEADS,
        # the defaults are ids of the real vocabulary
        **dict.fromkeys(_TALKER_IDS, 0),
    }


_TALKER_IDS = (
    "tts_text_start_token_id",
    "tts_text_end_token_id",
    "tts_text_pad_token_id",
    "tts_codec_start_token_id",
    "tts_codec_end_token_id",
    "tts_codec_pad_token_id",
    "tts_codec_mask_token_id",
    "vision_start_token_id",
    "vision_end_token_id",
    "audio_start_token_id",
    "audio_end_token_id",
)
_TOKEN2WAV = {
    "dit_config": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "head_dim": 16,
        "emb_dim": 8,
        "enc_dim": 8,
        "enc_emb_dim": 8,
        "enc_channels": [8, 8, 8, 8, 24],
        "num_embeds": 9,
        "look_ahead_layers": [0],
        "look_backward_layers": [0],
        "enc_attention_channels": 4,
        "enc_res2net_scale": 2,
        "enc_se_channels": 4,
    },
    "bigvgan_config": {"upsample_initial_channel": 64},
}


def _reshard(folder: Path) -> None:
    """Split the saved weights, under the hub's names: the thinker in the first shard, the rest in the second."""
    from safetensors.torch import load_file, save_file

    shards: dict[str, dict[str, Any]] = {}
    for saved in list(folder.glob("*.safetensors")):
        for name, tensor in load_file(saved).items():
            shard = 1 if name.startswith("thinker.") else 2
            shards.setdefault(f"model-0000{shard}-of-00002.safetensors", {})[name] = tensor
        saved.unlink()
    for file, tensors in shards.items():
        save_file(tensors, folder / file, metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": sum(t.nbytes for tensors in shards.values() for t in tensors.values())},
        "weight_map": {name: file for file, tensors in shards.items() for name in tensors},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
