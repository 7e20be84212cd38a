"""Adapts Qwen3-ASR 1.7B and 0.6B: https://huggingface.co/Qwen/Qwen3-ASR-1.7B-hf

The audio encoder is Qwen3-Omni's. The model names the language before the transcript, `language English<asr_text>...`;
the response's text is what follows the mark, and `usage.details` has the language. The layout of Qwen's own package,
without `-hf` in its name, is not what transformers loads, and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, cast

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from marathon_eval.api.model import ModelSettings, Request, Response
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.chat import ChatSettings, ClipFeatures
from marathon_eval.backends.hf.config_files import read_json
from marathon_eval.backends.hf.inputs import RATE, Inputs
from marathon_eval.backends.hf.mel import stacked
from marathon_eval.backends.hf.transcriber import ChatTranscriber
from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.models.qwen3_omni import Qwen3Omni, audio_tokens

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: The mark between the language and the transcript.
TRANSCRIPT_MARK = "<asr_text>"
#: The languages of the model card by code; the model was trained with their names.
LANGUAGE_NAMES = dict(
    pair.split("=")
    for pair in [
        "ar=Arabic",
        "cs=Czech",
        "da=Danish",
        "de=German",
        "el=Greek",
        "en=English",
        "es=Spanish",
        "fa=Persian",
        "fi=Finnish",
        "fil=Filipino",
        "fr=French",
        "hi=Hindi",
        "hu=Hungarian",
        "id=Indonesian",
        "it=Italian",
        "ja=Japanese",
        "ko=Korean",
        "mk=Macedonian",
        "ms=Malay",
        "nl=Dutch",
        "pl=Polish",
        "pt=Portuguese",
        "ro=Romanian",
        "ru=Russian",
        "sv=Swedish",
        "th=Thai",
        "tr=Turkish",
        "vi=Vietnamese",
        "yue=Cantonese",
        "zh=Chinese",
    ]
)


class Qwen3ASRSettings(ChatSettings):
    """Holds the arguments of every chat model; `system_prompt` is context, such as names that may be spoken."""

    pretrained: str = "Qwen/Qwen3-ASR-1.7B-hf"
    #: The language that is spoken, by code or name; by default the model recognises it.
    language: str | None = None

    @field_validator("language")
    @classmethod
    def _name(cls, value: str | None) -> str | None:
        """Return the language's name, for its code or name."""
        if value is None:
            return None
        names = {**LANGUAGE_NAMES, **{name.lower(): name for name in LANGUAGE_NAMES.values()}}
        if value.lower() not in names:
            known = ", ".join(LANGUAGE_NAMES.values())
            hint = did_you_mean(value.capitalize(), LANGUAGE_NAMES.values())
            raise PydanticCustomError(
                "language", "no language of the model.{hint} Known: {known}", {"hint": hint, "known": known}
            )
        return names[value.lower()]


class Qwen3ASR(ChatTranscriber):
    """Transcribes with Qwen3-ASR.

    - Chat: the checkpoint's template, the clip alone in the user's turn; the question is not sent.
    - Audio: 13 tokens per second; its length is limited only by the model's positions. Qwen's own package splits clips
      of more than 20 minutes.
    - Presses: all pruning and eviction presses, except those that read the question.
    - Source: https://huggingface.co/Qwen/Qwen3-ASR-1.7B-hf
    """

    Settings: ClassVar[type[ModelSettings]] = Qwen3ASRSettings
    weights_class = "Qwen3ASRForConditionalGeneration"
    token_rate = 13.0
    end_tokens = ("<|im_end|>", "<|endoftext|>")
    #: The encoder divides time as Qwen3-Omni's does.
    token_times = Qwen3Omni.token_times

    def check(self) -> None:
        super().check()
        name, flag = self.args.pretrained, self.flags.args
        folder = weights.local_folder(name, flag)
        config = read_json(folder / "config.json" if folder else weights.hub_config(name, self.commit, flag))
        if "thinker_config" in config:
            raise MarathonError(
                f"{flag}: pretrained={name}: is in the layout of the package qwen-asr (its config.json has "
                "thinker_config); transformers loads Qwen/Qwen3-ASR-1.7B-hf and Qwen/Qwen3-ASR-0.6B-hf"
            )

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        from torch.nn.functional import pad

        chunk = 2 * int(loaded.model.config.audio_config.n_window)
        # one clip at a time: beside a longer clip, the extractor counts a frame more for a shorter one
        mels = [self._mel(loaded, clip) for clip in clips]
        features, mask = stacked(mels)
        rest = -features.shape[-1] % chunk
        hop = int(loaded.features.hop_length)
        # the encoder does not cast its input
        features = pad(features, (0, rest)).to(loaded.model.dtype)
        return ClipFeatures(
            {"input_features": features, "input_features_mask": pad(mask, (0, rest))},
            [audio_tokens(mel.shape[1], chunk) for mel in mels],
            [min(len(clip), mel.shape[1] * hop) / RATE for clip, mel in zip(clips, mels, strict=True)],
        )

    def _mel(self, loaded: Loaded, clip: Wave) -> Wave:
        """Compute a clip's features [mel, frames], without the padding to whole chunks."""
        out = loaded.features(clip, sampling_rate=RATE, padding=True, n_window=0, return_tensors="np")
        features: Wave = out["input_features"][0]
        return features

    def chat(self, loaded: Loaded, request: Request, clips: int) -> str:
        """Fill the chat template, and begin the answer with the language if it is given."""
        chat = super().chat(loaded, request, clips)
        language = cast("Qwen3ASRSettings", self.settings).language
        return chat if language is None else f"{chat}language {language}{TRANSCRIPT_MARK}"

    def answer(self, loaded: Loaded, requests: Sequence[Request], inputs: Inputs) -> list[Response]:
        return [transcript_of(response) for response in super().answer(loaded, requests, inputs)]


def transcript_of(response: Response) -> Response:
    """Return the response with the text after the mark, and the language before it in `usage.details`.

    A text without the mark stays as it is: that of a given language, or one that was cut before the mark.
    """
    before, mark, text = response.text.partition(TRANSCRIPT_MARK)
    if not mark:
        return response
    details = {**response.usage.details, "language": before.strip().removeprefix("language").strip()}
    return replace(response, text=text.strip(), usage=replace(response.usage, details=details))
