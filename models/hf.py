"""Any audio model of transformers by arguments: `--model hf --model_args pretrained=X,model_class=Y,token="<audio>"`.

The checkpoint's own processor builds the inputs, so whatever it does to long clips happens here too: the truncation
guard holds the tokens that it makes of a clip against the rate at which it hears two short ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import Field

from marathon_eval.errors import MarathonError, RowError
from marathon_eval.hf_audio import RATE, Inputs
from marathon_eval.hf_chat import ChatModel, ChatSettings, Heard
from marathon_eval.model import ModelSettings, Request
from marathon_eval.press import Press

if TYPE_CHECKING:
    from marathon_eval.hf.loading import Loaded
    from marathon_eval.hf_chat import Wave

#: Seconds of the two clips that tell a processor's token rate: no model's limit is below them.
SHORT, LONGER = 8, 24


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
        """The whole processor. Raises MarathonError where it needs a package that is not there."""
        from marathon_eval.hf.loading import transformers

        return transformers.AutoProcessor.from_pretrained(
            folder, trust_remote_code=self.args.trust_remote_code
        )

    def prepare(
        self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[Wave]]
    ) -> Inputs:
        """Whatever the processor returns. Raises RowError when it counts other placeholders than there are clips."""
        if self.token_rate is None:
            self.token_rate = self._measured_rate(loaded)
        pieces = [[piece for wave in sample for piece in self.split(wave)] for sample in waves]
        texts = [
            self.chat(loaded, request, len(each)) for request, each in zip(requests, pieces, strict=True)
        ]
        for text, each in zip(texts, pieces, strict=True):
            if text.count(self.given.token) != len(each):
                raise RowError(
                    f"the chat holds {self.given.token} {text.count(self.given.token)} times "
                    f"for {len(each)} audio clips"
                )
        tensors = self._processed(loaded, texts, [piece for each in pieces for piece in each])
        audio = self.audio_token_id(loaded.model, loaded)
        tokens = (tensors["input_ids"] == audio).sum(dim=1).tolist()
        sent = [sum(len(wave) for wave in sample) / RATE for sample in waves]
        details = {} if self.segment_seconds is None else {"segment_seconds": self.segment_seconds}
        return Inputs(
            tensors=tensors,
            heard_seconds=[min(s, n / self.token_rate) for s, n in zip(sent, tokens, strict=True)],
            audio_tokens=tokens,
            details=details,
        )

    def _processed(self, loaded: Loaded, texts: list[str], clips: list[Wave]) -> dict[str, Any]:
        text = {"padding": True, "padding_side": "left"}
        audio: dict[str, Any] = {"audio": clips, "audio_kwargs": {"sampling_rate": RATE}} if clips else {}
        out = loaded.features(text=texts, return_tensors="pt", text_kwargs=text, **audio)
        return dict(out)
