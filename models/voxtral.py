"""Voxtral Mini 3B and Small 24B: https://huggingface.co/mistralai/Voxtral-Mini-3B-2507

Its chat has no template: Mistral's own tokenizer writes it, counts the audio tokens from a WAV file that it is handed,
and pads each clip to whole windows of 30 s, as the features here do.
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

#: The projector makes one token of eight mel frames.
FRAMES_PER_TOKEN = 8


class VoxtralSettings(ChatSettings):
    """Mistral advises against a system prompt beside audio."""

    pretrained: str = "mistralai/Voxtral-Mini-3B-2507"


class Voxtral(ChatModel):
    """12.5 audio tokens per second, 375 for each 30 s that are begun."""

    Settings: ClassVar[type[ModelSettings]] = VoxtralSettings
    weights_class = "VoxtralForConditionalGeneration"
    token_rate = 12.5
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
    """[windows, mel, frames]: the clip's features, scaled by the loudest frame of the whole clip."""
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
    """The clip as a WAV file of floats, in base64."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, clip, RATE, format="WAV", subtype="FLOAT")
    return base64.b64encode(file.getvalue()).decode()
