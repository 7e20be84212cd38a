"""Audio Flamingo 2: https://huggingface.co/nvidia/audio-flamingo-2

A repository of its own; audio enters by cross-attention, so no press could drop audio tokens either.
"""

from __future__ import annotations

from typing import ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.remote_code import RemoteCode, RemoteSettings


class AudioFlamingo2Settings(RemoteSettings):
    """The weights that the refusal names."""

    pretrained: str = "nvidia/audio-flamingo-2"


class AudioFlamingo2(RemoteCode):
    """Refused here; asked through a server."""

    Settings: ClassVar[type[ModelSettings]] = AudioFlamingo2Settings
    wants = "NVIDIA's own repository, for it was never part of transformers"
