"""Runs Baichuan-Omni-1.5 in an environment of its own: its code lies beside its weights and needs transformers 4.45.

Source: https://huggingface.co/baichuan-inc/Baichuan-Omni-1d5 and https://github.com/baichuan-inc/Baichuan-Omni-1.5
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.env.adapter import EnvModel, EnvSettings


class BaichuanOmniSettings(EnvSettings):
    """Holds the arguments of `baichuan_omni`; the worker gets all but `env`, `timeout` and `load_timeout`."""

    pretrained: str = "baichuan-inc/Baichuan-Omni-1d5"
    revision: str | None = None
    trust_remote_code: bool = False
    dtype: str = "bfloat16"


class BaichuanOmni(EnvModel):
    """Answers with Baichuan-Omni-1.5's own code.

    - Chat: `<C_Q>`, audio, prompt, `<C_A>`; a system text after `<B_SYS>`.
    - Audio: 12.5 tokens per second, in pieces of 30 s that its processor makes.
    - Presses: none.
    - Source: https://huggingface.co/baichuan-inc/Baichuan-Omni-1d5
    """

    Settings: ClassVar[type[ModelSettings]] = BaichuanOmniSettings
    worker = Path(__file__).with_name("baichuan_omni_worker.py")
    runs_remote_code = True
