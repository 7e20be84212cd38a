"""Refuses Baichuan-Omni-1.5, whose remote code needs transformers 4.48 to 4.52.

Source: https://huggingface.co/baichuan-inc/Baichuan-Omni-1d5. Its processor reads audio from files only.
"""

from __future__ import annotations

from typing import ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.remote_code import RemoteCode, RemoteSettings


class BaichuanOmniSettings(RemoteSettings):
    """Holds the arguments of a refused model; the error message names `pretrained`."""

    pretrained: str = "baichuan-inc/Baichuan-Omni-1d5"


class BaichuanOmni(RemoteCode):
    """Raises MarathonError with the reason and the way out: a server and `--model openai_audio`.

    - Chat, audio: set by the server.
    - Presses: none.
    - Source: https://huggingface.co/baichuan-inc/Baichuan-Omni-1d5
    """

    Settings: ClassVar[type[ModelSettings]] = BaichuanOmniSettings
    wants = "its own remote code, torchaudio and transformers 4.48 to 4.52"
