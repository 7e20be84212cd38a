"""Adapts Granite Speech 4.1 2B Plus: https://huggingface.co/ibm-granite/granite-speech-4.1-2b-plus

Its projector reads outputs of several layers of the encoder; all else is Granite Speech's. By prompts of its own, which
the model card lists, it also writes who speaks and when a word ends.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf import weights
from marathon_eval.models.granite_speech import GraniteSpeech, GraniteSpeechSettings


class GraniteSpeechPlusSettings(GraniteSpeechSettings):
    """Holds the arguments of every chat model."""

    pretrained: str = "ibm-granite/granite-speech-4.1-2b-plus"


class GraniteSpeechPlus(GraniteSpeech):
    """Answers with Granite Speech Plus, one request at a time.

    - Chat: the checkpoint's template with turns of plain text, audio before the question, one clip per question.
    - Audio: 10 tokens per second (3 per 0.3 s begun); its length is limited only by the model's positions.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/ibm-granite/granite-speech-4.1-2b-plus
    """

    Settings: ClassVar[type[ModelSettings]] = GraniteSpeechPlusSettings
    weights_class = "GraniteSpeechPlusForConditionalGeneration"

    def optional_packages(self, folder: Path | None) -> dict[str, Any]:
        """Add peft's release where the checkpoint's config.json says that it has a speech LoRA."""
        if folder is None:
            folder = weights.hub_config(self.args.pretrained, self.commit, self.flags.args).parent
        return super().optional_packages(folder)
