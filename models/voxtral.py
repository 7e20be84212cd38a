"""Adapts Voxtral Mini 3B and Small 24B: https://huggingface.co/mistralai/Voxtral-Mini-3B-2507

The checkpoint has no chat template: Mistral's tokenizer writes the chat. It computes the number of audio tokens from
a WAV file and pads each clip to whole windows of 30 s; the features are padded in the same way.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.model import ModelSettings, Request
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: The number of mel frames that the projector turns into one token.
FRAMES_PER_TOKEN = 8


class VoxtralSettings(ChatSettings):
    """Holds the arguments of every chat model. Mistral advises against a system prompt together with audio."""

    pretrained: str = "mistralai/Voxtral-Mini-3B-2507"


class Voxtral(ChatModel):
    """Answers with Voxtral.

    - Chat: written by Mistral's tokenizer (mistral-common), audio before the question.
    - Audio: 12.5 tokens per second, 375 for each 30 s begun; its length is limited only by the model's positions.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/mistralai/Voxtral-Mini-3B-2507
    """

    Settings: ClassVar[type[ModelSettings]] = VoxtralSettings
    press_version = 2
    weights_class = "VoxtralForConditionalGeneration"
    token_rate = 12.5
    padded_to = 30.0
    needs: ClassVar[Mapping[str, str]] = {"mistral_common": "voxtral"}

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        import torch

        window = int(loaded.features.n_samples)
        frames = window // loaded.features.hop_length
        features = [_windows(loaded, clip, window, frames) for clip in clips]
        return ClipFeatures(
            {"input_features": torch.cat(features)},
            [len(each) * frames // FRAMES_PER_TOKEN for each in features],
            [min(len(clip), len(each) * window) / RATE for clip, each in zip(clips, features, strict=True)],
        )

    def ids(
        self,
        loaded: Loaded,
        requests: Sequence[Request],
        pieces: Sequence[Sequence[Wave]],
        tokens: Sequence[Sequence[int]],
    ) -> dict[str, Tensor]:
        import torch

        chats = [
            self.turns(request, [{"type": "audio", "base64": wav(clip)} for clip in clips])
            for request, clips in zip(requests, pieces, strict=True)
        ]
        encoded = loaded.tokenizer.apply_chat_template(chats, padding=True, tokenize=True, return_dict=True)
        return {name: torch.tensor(encoded[name]) for name in ("input_ids", "attention_mask")}


def _windows(loaded: Loaded, clip: Wave, window: int, frames: int) -> Tensor:
    """Compute the clip's features [windows, mel, frames], scaled by the loudest frame of the whole clip."""
    out = loaded.features(
        clip,
        sampling_rate=RATE,
        padding=True,
        truncation=False,
        pad_to_multiple_of=window,
        return_tensors="pt",
    )
    features: Tensor = out["input_features"][0].unflatten(1, (-1, frames)).transpose(0, 1)
    return features


def wav(clip: Wave) -> str:
    """Encode the clip as a WAV file of floats, in base64."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, clip, RATE, format="WAV", subtype="FLOAT")
    return base64.b64encode(file.getvalue()).decode()
