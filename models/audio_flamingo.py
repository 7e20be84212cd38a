"""Adapts Audio Flamingo 3 and Next, and Music Flamingo: https://huggingface.co/nvidia/audio-flamingo-3-hf

The checkpoint's config.json says which architecture it has. A question has one clip. The encoder hears it in
windows of 30 s, whose tokens follow each other in the prompt without a delimiter. As in NVIDIA's code, the text comes
before the audio.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.config_files import read_json
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.backends.hf.mel import audio_tokens, windows
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: For each kind of checkpoint: the transformers class that loads it, and the tokens before and after its audio.
KINDS = {
    "audio": ("AudioFlamingo3ForConditionalGeneration", "", ""),
    "music": ("MusicFlamingoForConditionalGeneration", "<|sound_bos|>", "<|sound_eos|>"),
}
#: The kind of a checkpoint by the `model_type` in its config.json.
KIND_OF_TYPE = {"audioflamingo3": "audio", "musicflamingo": "music"}


class AudioFlamingoSettings(ChatSettings):
    """Holds the arguments of every chat model, and the architecture."""

    pretrained: str = "nvidia/audio-flamingo-3-hf"
    audio_first: bool = False
    #: The architecture; by default that which the checkpoint's config.json names (`model_type`). Another is refused.
    kind: Literal["audio", "music"] | None = None


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

    @cached_property
    def kind(self) -> str:
        """The checkpoint's architecture, from its config.json. Raises MarathonError when `kind=` says another."""
        name, flag = self.args.pretrained, self.flags.args
        folder = weights.local_folder(name, flag)
        config = read_json(folder / "config.json" if folder else weights.hub_config(name, self.commit, flag))
        written, asked = config.get("model_type"), cast("AudioFlamingoSettings", self.settings).kind
        kind = KIND_OF_TYPE.get(str(written))
        where = f"{flag}: pretrained={name}: its config.json has model_type {written}"
        if kind is None:
            raise MarathonError(f"{where}: {self.name()} loads {' and '.join(KIND_OF_TYPE)}")
        if asked not in (None, kind):
            raise MarathonError(f"{where}, which is kind={kind}, not kind={asked}: leave kind= out")
        return kind

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "kind": self.kind}

    def check(self) -> None:
        super().check()
        self.kind  # noqa: B018 - raises for another model's checkpoint

    @property
    def weights_class(self) -> str:  # type: ignore[override]  # the others know theirs before they see a checkpoint
        return KINDS[self.kind][0]

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
        _, before, after = KINDS[self.kind]
        return before + super().spelled(loaded, count) + after
