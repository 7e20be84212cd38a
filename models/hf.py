"""Any audio model of transformers by arguments: `--model hf --model_args pretrained=X,model_class=Y,token="<audio>"`.

The checkpoint's own processor builds the inputs, so whatever it does to long clips happens here too: the truncation
guard holds the tokens that it makes of a clip against the rate at which it hears two short ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from marathon_eval.api.model import ModelSettings, Request
from marathon_eval.api.press import Press
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures, expanded_placeholders
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded
    from marathon_eval.backends.hf.inputs import Inputs

#: Seconds of the two clips that tell a processor's token rate: no model's limit is below them.
SHORT, LONGER = 8, 24
#: What belongs to the words; all else that a processor returns belongs to the sounds.
IDS = ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids")


class HfSettings(ChatSettings):
    """What other adapters say in their class."""

    model_class: str
    """The class in transformers that loads the weights."""
    token: str
    """The placeholder that stands for audio in the prompt."""
    template: Literal["processor", "tokenizer"] = "processor"
    """Who holds the chat template."""
    parts: bool = True
    """Whether the template takes a turn in parts; false: as one text."""
    segment_seconds: float | None = Field(default=None, gt=0)
    """Split longer clips into pieces of so many seconds."""
    token_rate: float | None = Field(default=None, gt=0)
    """Audio tokens per second; measured where it is not given."""


class Hf(ChatModel):
    """Heard seconds follow from the audio tokens in the prompt and the token rate."""

    Settings = HfSettings

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        super().__init__(settings, press)
        self.given = cast("HfSettings", settings)
        self.weights_class, self.parts = self.given.model_class, self.given.parts
        self.segment_seconds, self.token_rate = self.given.segment_seconds, self.given.token_rate

    def extractor(self, folder: Path) -> Any:
        """The whole processor. Raises MarathonError where no token rate is given and none can be measured."""
        import transformers

        import marathon_eval.backends.hf.engine  # noqa: F401 - before transformers: hides a broken torchvision

        processor = transformers.AutoProcessor.from_pretrained(
            folder, trust_remote_code=self.args.trust_remote_code
        )
        told = Told(processor, self.given.token)
        self.token_rate = self.given.token_rate or told.rate
        return told

    def begin(self, loaded: Loaded) -> None:
        self.token_id = loaded.features.token_id
        self.token_rate = self.given.token_rate or loaded.features.rate

    def prepare(self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[Wave]]) -> Inputs:
        self.begin(loaded)
        return super().prepare(loaded, requests, waves)

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        """Features as the processor makes them of clips without words."""
        inputs = loaded.features.made([self.given.token] * len(clips), clips)
        tokens = loaded.features.tokens(inputs)
        sent = [len(clip) / RATE for clip in clips]
        rate = cast("float", self.token_rate)
        heard = [min(seconds, count / rate) for seconds, count in zip(sent, tokens, strict=True)]
        return ClipFeatures({k: v for k, v in inputs.items() if k not in IDS}, tokens, heard)

    def ids(
        self,
        loaded: Loaded,
        requests: Sequence[Request],
        pieces: Sequence[Sequence[Wave]],
        tokens: Sequence[Sequence[int]],
    ) -> dict[str, Tensor]:
        """Ids as the processor makes them of chats and clips. Raises RowError for a placeholder in the question."""
        texts = [
            self.chat(loaded, request, len(each)) for request, each in zip(requests, pieces, strict=True)
        ]
        for text, each in zip(texts, pieces, strict=True):
            expanded_placeholders(text, self.given.token, [""] * len(each))
        inputs = loaded.features.made(texts, [clip for each in pieces for clip in each])
        return {name: inputs[name] for name in IDS if name in inputs}

    def chat_template(self, loaded: Loaded) -> str | None:
        held: str | None = loaded.tokenizer.chat_template
        return held if self.given.template == "tokenizer" else loaded.features.processor.chat_template or held

    def placeholder(self, loaded: Loaded) -> str:
        return self.given.token

    def audio_token_id(self, model: Any) -> int:
        return int(self.token_id)


@dataclass(frozen=True)
class Told:
    """A checkpoint's processor, and the placeholder that it repeats once per audio token."""

    processor: Any
    token: str

    @cached_property
    def token_id(self) -> int:
        return int(self.processor.tokenizer.convert_tokens_to_ids(self.token))

    @cached_property
    def rate(self) -> float:
        """Audio tokens per second, from silences of two lengths. Raises MarathonError where they make as many."""
        import numpy as np

        silences = [np.zeros(seconds * RATE, np.float32) for seconds in (SHORT, LONGER)]
        short, longer = (self.tokens(self.made([self.token], [silence]))[0] for silence in silences)
        if longer <= short:
            raise MarathonError(
                f"--model_args: {SHORT} s and {LONGER} s of audio make {short} and {longer} times {self.token}: "
                "give token_rate=, the audio tokens per second"
            )
        return (longer - short) / (LONGER - SHORT)

    def tokens(self, inputs: Mapping[str, Tensor]) -> list[int]:
        """Audio tokens of each row."""
        counts: list[int] = (inputs["input_ids"] == self.token_id).sum(dim=1).tolist()
        return counts

    def made(self, texts: Sequence[str], clips: Sequence[Wave]) -> dict[str, Tensor]:
        """The processor's tensors for texts that hold as many placeholders as there are clips."""
        text = {"padding": True, "padding_side": "left"}
        audio: dict[str, Any] = {"audio": [*clips], "audio_kwargs": {"sampling_rate": RATE}} if clips else {}
        return dict(self.processor(text=[*texts], return_tensors="pt", text_kwargs=text, **audio))
