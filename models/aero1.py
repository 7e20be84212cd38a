"""Aero-1-Audio 1.5B: https://huggingface.co/lmms-lab/Aero-1-Audio

Remote code for transformers 4.48 to 4.52: a Qwen2.5 that hears 30 s pieces.
"""

from __future__ import annotations

from typing import ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.remote_code import RemoteCode, RemoteSettings


class Aero1Settings(RemoteSettings):
    """The weights that the refusal names."""

    pretrained: str = "lmms-lab/Aero-1-Audio"


class Aero1(RemoteCode):
    """Refused here; asked through a server."""

    Settings: ClassVar[type[ModelSettings]] = Aero1Settings
    wants = "its own remote code and transformers 4.48 to 4.52"
