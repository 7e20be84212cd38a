"""Baichuan-Omni-1.5: https://huggingface.co/baichuan-inc/Baichuan-Omni-1d5

Remote code for transformers 4.48 to 4.52, with a processor that reads audio from files only.
"""

from __future__ import annotations

from typing import ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.remote_code import RemoteCode, RemoteSettings


class BaichuanOmniSettings(RemoteSettings):
    """The weights that the refusal names."""

    pretrained: str = "baichuan-inc/Baichuan-Omni-1d5"


class BaichuanOmni(RemoteCode):
    """Refused here; asked through a server."""

    Settings: ClassVar[type[ModelSettings]] = BaichuanOmniSettings
    wants = "its own remote code, torchaudio and transformers 4.48 to 4.52"
