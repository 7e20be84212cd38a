"""Runs any audio model of transformers, described by `--model_args pretrained=X,model_class=Y,token="<audio>"`.

The checkpoint's own processor builds the inputs, so clips are also cut if that processor cuts them. To detect a cut,
the number of tokens it makes of a clip is compared with its token rate, which two short clips show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from marathon_eval.api.model import ModelSettings, Request
from marathon_eval.api.press import Press
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures, expanded_placeholders
from marathon_eval.backends.hf.inputs import RATE, default_template
from marathon_eval.backends.hf.lone_placeholders import supply_mask
from marathon_eval.backends.hf.token_times import at_rate, evenly
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded
    from marathon_eval.backends.hf.inputs import Inputs

#: Seconds of the two silent clips that measure a processor's token rate; no model's limit is below them.
SHORT, LONGER = 8, 24
#: The most tokens that convolutions without padding take from a clip's edges.
MOST_AT_EDGES = 2.0
#: The tensors of the text; all other tensors that a processor returns belong to the audio.
IDS = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


class HfSettings(ChatSettings):
    """Holds the arguments of every chat model, and what other adapters define in their class."""

    model_class: str
    """The class in transformers that loads the weights."""
    token: str
    """The placeholder that stands for audio in the prompt."""
    template: Literal["processor", "tokenizer"] = "processor"
    """Whether the chat template lies with the processor or with the tokenizer."""
    parts: bool = True
    """Whether the template accepts turns made of parts; false: the turn is one text."""
    segment_seconds: float | None = Field(default=None, gt=0)
    """Split longer clips into pieces of this many seconds."""
    token_rate: float | None = Field(default=None, gt=0)
    """Audio tokens per second; measured if not set."""


class Hf(ChatModel):
    """Answers with any checkpoint; the seconds heard are the prompt's audio tokens divided by the token rate.

    - Chat: the processor's or the tokenizer's template (`template=`), audio before the question (`audio_first=`).
    - Audio: as long as the processor allows; `segment_seconds=` splits longer clips. The token rate is measured, or
      set by `token_rate=`.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/docs/transformers
    """

    Settings = HfSettings
    version = 2
    press_version = 3

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        super().__init__(settings, press)
        self.hf_settings = cast("HfSettings", settings)
        self.weights_class, self.parts = self.hf_settings.model_class, self.hf_settings.parts
        self.segment_seconds, self.token_rate = self.hf_settings.segment_seconds, self.hf_settings.token_rate

    def extractor(self, folder: Path) -> Any:
        """Load the whole processor. Raises MarathonError if no token rate is set and none can be measured."""
        import transformers

        import marathon_eval.backends.hf.engine  # noqa: F401 - before transformers: hides a broken torchvision

        processor = transformers.AutoProcessor.from_pretrained(
            folder, trust_remote_code=self.args.trust_remote_code
        )
        features = Told(processor, self.hf_settings.token)
        self.token_rate = self.hf_settings.token_rate or features.rate
        return features

    def after_load(self, model: Any, folder: Path) -> None:
        supply_mask(model)

    def begin(self, loaded: Loaded) -> None:
        self.token_id = loaded.features.token_id
        self.token_rate = self.hf_settings.token_rate or loaded.features.rate

    def prepare(self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[Wave]]) -> Inputs:
        self.begin(loaded)
        return super().prepare(loaded, requests, waves)

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        """Compute features by calling the processor with the clips and no text."""
        inputs = loaded.features.made([self.hf_settings.token] * len(clips), clips)
        tokens = loaded.features.tokens(inputs)
        sent = [len(clip) / RATE for clip in clips]
        rate = cast("float", self.token_rate)
        # the last token of a clip covers up to a token's length more, and what the encoder's edges cost is not cut
        reach = 1 + loaded.features.edge(rate)
        heard = [
            seconds if count + reach > seconds * rate else count / rate
            for seconds, count in zip(sent, tokens, strict=True)
        ]
        return ClipFeatures({k: v for k, v in inputs.items() if k not in IDS}, tokens, heard)

    def ids(
        self,
        loaded: Loaded,
        requests: Sequence[Request],
        pieces: Sequence[Sequence[Wave]],
        tokens: Sequence[Sequence[int]],
    ) -> dict[str, Tensor]:
        """Compute ids by calling the processor with chats and clips.

        Raises RowError for a placeholder in the question.
        """
        texts = [
            self.chat(loaded, request, len(each)) for request, each in zip(requests, pieces, strict=True)
        ]
        for text, each in zip(texts, pieces, strict=True):
            expanded_placeholders(text, self.hf_settings.token, [""] * len(each))
        inputs = loaded.features.made(texts, [clip for each in pieces for clip in each])
        return {name: inputs[name] for name in IDS if name in inputs}

    def token_times(self, loaded: Loaded, tokens: int, seconds: float) -> NDArray[np.float64]:
        """Return the times [tokens, 2]; tokens far beyond what the clip accounts for are silent ones after it.

        A measured rate may be wrong by a token in the seconds between the two clips that showed it.
        """
        rate = cast("float", self.token_rate)
        measured = self.hf_settings.token_rate is None
        slack = 1 + (seconds / (LONGER - SHORT) if measured else 0)
        return evenly(tokens, seconds) if tokens <= seconds * rate + slack else at_rate(tokens, rate, seconds)

    def chat_template(self, loaded: Loaded) -> str | None:
        template = loaded.tokenizer.chat_template
        if self.hf_settings.template == "processor":
            template = loaded.features.processor.chat_template or template
        return default_template(template, self.args.pretrained)

    def placeholder(self, loaded: Loaded) -> str:
        return self.hf_settings.token

    def audio_token_id(self, model: Any) -> int:
        return int(self.token_id)


@dataclass(frozen=True)
class Told:
    """Calls a checkpoint's processor, and counts the placeholders that it writes, one per audio token."""

    processor: Any
    token: str
    _edges: dict[float, float] = field(default_factory=dict)

    @cached_property
    def token_id(self) -> int:
        return int(self.processor.tokenizer.convert_tokens_to_ids(self.token))

    @cached_property
    def rate(self) -> float:
        """Measure the audio tokens per second with silences of two lengths.

        Raises MarathonError if both make the same number of tokens.
        """
        import numpy as np

        silences = [np.zeros(seconds * RATE, np.float32) for seconds in (SHORT, LONGER)]
        short, longer = (self.tokens(self.made([self.token], [silence]))[0] for silence in silences)
        if longer <= short:
            raise MarathonError(
                f"--model_args: the processor makes {short} and {longer} {self.token} tokens of {SHORT} s and "
                f"{LONGER} s of audio, which shows no token rate: set token_rate=, the audio tokens per second"
            )
        return (longer - short) / (LONGER - SHORT)

    def edge(self, rate: float) -> float:
        """Return the tokens, at most 2, that every clip lacks of its length times the rate, from one of 8 s."""
        import numpy as np

        if rate not in self._edges:
            silence = np.zeros(SHORT * RATE, np.float32)
            made = self.tokens(self.made([self.token], [silence]))[0]
            self._edges[rate] = min(max(0.0, SHORT * rate - made), MOST_AT_EDGES)
        return self._edges[rate]

    def tokens(self, inputs: Mapping[str, Tensor]) -> list[int]:
        """Count the audio tokens of each row."""
        counts: list[int] = (inputs["input_ids"] == self.token_id).sum(dim=1).tolist()
        return counts

    def made(self, texts: Sequence[str], clips: Sequence[Wave]) -> dict[str, Tensor]:
        """Call the processor with texts that contain one placeholder per clip, and return its tensors."""
        # the chat template writes the special tokens, as `ChatModel.ids` says
        text = {"padding": True, "padding_side": "left", "add_special_tokens": False}
        audio: dict[str, Any] = {"audio": [*clips], "audio_kwargs": {"sampling_rate": RATE}} if clips else {}
        return dict(self.processor(text=[*texts], return_tensors="pt", text_kwargs=text, **audio))
