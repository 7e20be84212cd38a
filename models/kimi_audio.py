"""Runs Kimi-Audio in an environment of its own, with Moonshot AI's package `kimia_infer`.

Source: https://github.com/MoonshotAI/Kimi-Audio and https://huggingface.co/moonshotai/Kimi-Audio-7B-Instruct
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.env.adapter import EnvModel, EnvSettings


class KimiAudioSettings(EnvSettings):
    """Holds the arguments of `kimi_audio`; the worker gets all but `env`, `timeout` and `load_timeout`."""

    pretrained: str = "moonshotai/Kimi-Audio-7B-Instruct"
    revision: str | None = None
    trust_remote_code: bool = False


class KimiAudio(EnvModel):
    """Answers with Kimi-Audio's own package, text alone.

    - Chat: one user turn, the prompt before the audio, as the authors' package wants an instruction.
    - Audio: 12.5 tokens per second, encoded in pieces of 30 s.
    - Presses: none.
    - Source: https://github.com/MoonshotAI/Kimi-Audio
    """

    Settings: ClassVar[type[ModelSettings]] = KimiAudioSettings
    worker = Path(__file__).with_name("kimi_audio_worker.py")
    runs_remote_code = True
