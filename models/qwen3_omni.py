"""Adapts Qwen3-Omni 30B-A3B, of which only the thinker is loaded.

Source: https://huggingface.co/Qwen/Qwen3-Omni-30B-A3B-Instruct. Features equal the official processor's for one clip
at a time; when that processor pads clips of unequal length, the padding changes the features at their ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.backends.hf.mel import stacked, whole_clip
from marathon_eval.backends.hf.token_times import by_frames

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded


#: The mel frames that three convolutions of stride 2 turn into one token.
FRAMES_PER_TOKEN = 8


class Qwen3OmniSettings(ChatSettings):
    """Holds the arguments of every chat model. The model card requires no system prompt for text output."""

    pretrained: str = "Qwen/Qwen3-Omni-30B-A3B-Instruct"


class Qwen3Omni(ChatModel):
    """Answers with the thinker of Qwen3-Omni, in text only.

    - Chat: the checkpoint's template without a system turn, audio before the question.
    - Audio: 13 tokens per second; its length is limited only by the model's positions.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/Qwen/Qwen3-Omni-30B-A3B-Instruct
    """

    Settings: ClassVar[type[ModelSettings]] = Qwen3OmniSettings
    weights_class = "Qwen3OmniMoeThinkerForConditionalGeneration"
    weights_prefix = "thinker."
    token_rate = 13.0
    end_tokens = ("<|im_end|>", "<|endoftext|>")

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        mels = [whole_clip(loaded.features, clip) for clip in clips]
        features, mask = stacked(mels)
        chunk = 2 * int(loaded.model.config.audio_config.n_window)
        return ClipFeatures(
            {"input_features": features, "feature_attention_mask": mask},
            [audio_tokens(mel.shape[1], chunk) for mel in mels],
            [mel.shape[1] * loaded.features.hop_length / RATE for mel in mels],
        )

    def token_times(self, loaded: Loaded, tokens: int, seconds: float) -> NDArray[np.float64]:
        """Return the times [tokens, 2]: a token stands for 8 frames, the last of each chunk for what is left of it."""
        import numpy as np

        chunk = 2 * int(loaded.model.config.audio_config.n_window)
        chunks, places = np.divmod(np.arange(tokens), halved(chunk))
        starts = chunks * chunk + places * FRAMES_PER_TOKEN
        ends = np.minimum(starts + FRAMES_PER_TOKEN, (chunks + 1) * chunk)
        return by_frames(starts, ends, RATE / loaded.features.hop_length, seconds)


def audio_tokens(frames: int, chunk: int) -> int:
    """Count the audio tokens of `frames` mel frames.

    The encoder works in chunks of `chunk` frames and halves each chunk three times, rounding up; a whole chunk of 100
    frames makes 13 tokens.
    """
    rest = frames % chunk
    return frames // chunk * halved(chunk) + halved(rest)


def halved(frames: int) -> int:
    """Return how many frames three convolutions of stride 2 leave of `frames`."""
    for _ in range(3):
        frames = -(-frames // 2)
    return frames
