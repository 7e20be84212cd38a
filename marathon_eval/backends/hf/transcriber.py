"""Provides ChatTranscriber, the base class of chat models that were trained to transcribe and to do nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

from marathon_eval.api.model import Request
from marathon_eval.api.press import Press, PruningPress
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings
from marathon_eval.errors import RowError

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded
    from marathon_eval.backends.hf.inputs import Inputs


class ChatTranscriber(ChatModel):
    """Transcribes one clip per request; the question of the task is not sent to the model.

    A subclass implements `hear`, and returns from `instruction` the text that its model was trained with, if any.
    """

    takes_turns: ClassVar[bool] = False
    clips_per_question: ClassVar[int | None] = 1

    @classmethod
    def unfit_press(cls, press: type[Press]) -> str | None:
        if any(issubclass(part, PruningPress) and part.needs_question for part in press.part_classes()):
            return "the rule compares the audio with the question, and this model is sent none"
        return super().unfit_press(press)

    def instruction(self) -> str:
        """Return the text beside the clip, the same for every request; empty for none."""
        return ""

    def prepare(self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[Wave]]) -> Inputs:
        """Build the inputs as `ChatModel.prepare` does. Raises RowError for a request without a clip."""
        if not all(waves):
            raise RowError(f"{self.name()} needs audio: this request has none")
        return super().prepare(loaded, requests, waves)

    def turns(self, request: Request, sounds: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """Return the system turn, if any, and the user's turn: the clip and the instruction, in the model's order."""
        settings = cast("ChatSettings", self.settings)
        system = settings.system_prompt if request.system is None else request.system
        words = [{"type": "text", "text": self.instruction()}] if self.instruction() else []
        content = [*sounds, *words] if settings.audio_first else [*words, *sounds]
        turns: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if system:
            turns.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
        return turns
