"""Refuses Audio Flamingo 2, whose code is NVIDIA's own repository and not part of transformers.

Source: https://huggingface.co/nvidia/audio-flamingo-2. Audio enters by cross-attention, so there are no audio tokens
in the prompt that a press could drop.
"""

from __future__ import annotations

from typing import ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.remote_code import RemoteCode, RemoteSettings


class AudioFlamingo2Settings(RemoteSettings):
    """Holds the arguments of a refused model; the error message names `pretrained`."""

    pretrained: str = "nvidia/audio-flamingo-2"


class AudioFlamingo2(RemoteCode):
    """Raises MarathonError with the reason and the way out: a server and `--model openai_audio`.

    - Chat, audio: set by the server; the prompt holds no audio tokens.
    - Presses: none.
    - Source: https://huggingface.co/nvidia/audio-flamingo-2
    """

    Settings: ClassVar[type[ModelSettings]] = AudioFlamingo2Settings
    wants = "NVIDIA's own repository, for it was never part of transformers"
