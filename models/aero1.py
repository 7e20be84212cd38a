"""Refuses Aero-1-Audio 1.5B, whose remote code needs transformers 4.48 to 4.52.

Source: https://huggingface.co/lmms-lab/Aero-1-Audio. The model is a Qwen2.5 that hears audio in pieces of 30 s.
"""

from __future__ import annotations

from typing import ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.remote_code import RemoteCode, RemoteSettings


class Aero1Settings(RemoteSettings):
    """Holds the arguments of a refused model; the error message names `pretrained`."""

    pretrained: str = "lmms-lab/Aero-1-Audio"


class Aero1(RemoteCode):
    """Raises MarathonError with the reason and the way out: a server and `--model openai_audio`.

    - Chat, audio: set by the server; the model itself hears pieces of 30 s.
    - Presses: none.
    - Source: https://huggingface.co/lmms-lab/Aero-1-Audio
    """

    Settings: ClassVar[type[ModelSettings]] = Aero1Settings
    wants = "its own remote code and transformers 4.48 to 4.52"
