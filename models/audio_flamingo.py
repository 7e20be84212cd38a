"""Adapts Audio Flamingo 3 and Next, and Music Flamingo: https://huggingface.co/nvidia/audio-flamingo-3-hf

Music Flamingo is `pretrained=nvidia/music-flamingo-hf,kind=music`. A question has one clip. The encoder hears it in
windows of 30 s, whose tokens follow each other in the prompt without a delimiter. As in NVIDIA's code, the text comes
before the audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from marathon_eval.api.model import ModelSettings
from marathon_eval.api.press import Press
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.backends.hf.mel import audio_tokens, windows

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: For each kind of checkpoint: the transformers class that loads it, and the tokens before and after its audio.
KINDS = {
    "audio": ("AudioFlamingo3ForConditionalGeneration", "", ""),
    "music": ("MusicFlamingoForConditionalGeneration", "<|sound_bos|>", "<|sound_eos|>"),
}


class AudioFlamingoSettings(ChatSettings):
    """Holds the arguments of every chat model, and the architecture."""

    pretrained: str = "nvidia/audio-flamingo-3-hf"
    audio_first: bool = False
    #: `music` for checkpoints of Music Flamingo's architecture (`model_type: musicflamingo`).
    kind: Literal["audio", "music"] = "audio"


class AudioFlamingo(ChatModel):
    """Answers with Audio Flamingo 3 or Next, or Music Flamingo.

    - Chat: the checkpoint's template, the question before the audio; one clip per question.
    - Audio: 25 tokens per second; its length is limited only by the model's positions, not to the 10 or 20 minutes of
      the official processor.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/nvidia/audio-flamingo-3-hf
    """

    Settings: ClassVar[type[ModelSettings]] = AudioFlamingoSettings
    token_rate = 25.0
    clips_per_question = 1
    end_tokens = ("<|im_end|>", "<|endoftext|>")

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        super().__init__(settings, press)
        kind = cast("AudioFlamingoSettings", settings).kind
        self.weights_class, *self.delimiters = KINDS[kind]

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        size = int(loaded.features.n_samples)
        pieces = [[clip[at : at + size] for at in range(0, max(len(clip), 1), size)] for clip in clips]
        features, mask = windows(loaded.features, [piece for each in pieces for piece in each])
        frames = [int(rows.sum()) for rows in mask.split([len(each) for each in pieces])]
        return ClipFeatures(
            # unlike other encoders in transformers, this one does not cast its input
            {"input_features": features.to(loaded.model.dtype), "input_features_mask": mask},
            [audio_tokens(count) for count in frames],
            [count * loaded.features.hop_length / RATE for count in frames],
        )

    def placeholder(self, loaded: Any) -> str:
        return "<sound>"

    def spelled(self, loaded: Loaded, count: int) -> str:
        before, after = self.delimiters
        return before + super().spelled(loaded, count) + after
