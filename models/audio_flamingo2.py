"""Runs Audio Flamingo 2 in an environment of its own, with NVIDIA's code, which was never part of transformers.

Source: https://huggingface.co/nvidia/audio-flamingo-2 and https://github.com/NVIDIA/audio-flamingo, branch
audio_flamingo_2. Audio enters by cross-attention, so there are no audio tokens in the prompt that a press could drop.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.env.adapter import EnvModel, EnvSettings
from marathon_eval.errors import MarathonError


class AudioFlamingo2Settings(EnvSettings):
    """Holds the arguments of `audio_flamingo2`; the worker gets all but `env`, `timeout` and `load_timeout`."""

    pretrained: str = "nvidia/audio-flamingo-2"
    revision: str | None = None
    #: The folder `inference_HF_pretrained` of NVIDIA's code, whose Python the worker runs.
    code: str | None = None
    #: Windows of 10 s of a clip that are heard; by default as many as the code's configs/inference.yaml says (12).
    max_windows: int | None = Field(None, ge=1)


class AudioFlamingo2(EnvModel):
    """Answers with NVIDIA's own code.

    - Chat: `<audio>`, the prompt in lower case as in the authors' script, the tokenizer's separator.
    - Audio: one clip, in windows of 10 s; what is beyond `max_windows` makes an error row.
    - Presses: none; the prompt holds no audio tokens.
    - Source: https://github.com/NVIDIA/audio-flamingo
    """

    Settings: ClassVar[type[ModelSettings]] = AudioFlamingo2Settings
    settings: AudioFlamingo2Settings
    worker = Path(__file__).with_name("audio_flamingo2_worker.py")
    hub_file = "README.md"
    folders = ("pretrained", "code")

    def check(self) -> None:
        """Raise MarathonError as `EnvModel.check` does, and when `code=` is missing."""
        if self.settings.code is None:
            raise MarathonError(
                f"{self.flags.model} audio_flamingo2 runs NVIDIA's code: git clone -b audio_flamingo_2 "
                f"https://github.com/NVIDIA/audio-flamingo CODE, then {self.flags.args} code=CODE/inference_HF_pretrained"
            )
        super().check()
