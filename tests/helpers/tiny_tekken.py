"""Writes a tokenizer file of Mistral's newer kind, tekken.json, for a vocabulary of 256 bytes."""

from __future__ import annotations

import base64
from typing import Any

TEKKEN_SPECIAL, TEKKEN_AUDIO = 40, 24

#: As in the hub's tekken.json: the text follows the sound by 480 ms, after 32 tokens of silence.
REALTIME = {
    "transcription_format": "streaming",
    "transcription_delay_ms": 480,
    "streaming_look_ahead_ms": 2.5,
    "streaming_look_back_ms": 52.5,
    "streaming_n_left_pad_tokens": 32,
}


def tekken(realtime: bool = False) -> dict[str, Any]:
    """Return a vocabulary of Mistral's newer kind: 256 bytes after 40 special tokens; `realtime` as Voxtral Realtime's."""
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
    special |= {32: "[STREAMING_PAD]", 33: "[STREAMING_WORD]"} if realtime else {}
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
            **(REALTIME if realtime else {"chunk_length_s": 30.0}),
        },
    }
