"""Defines the task key `long_audio`: what happens to a clip that is longer than the model is to get at once."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from marathon_eval.files import sha256_of
from marathon_eval.task.yaml.data_config import Keys

#: What a window is asked when the model itself combines the notes on all windows.
NOTES_PROMPT = (
    "This recording is part {part} of {parts} of a longer recording. Write short notes on what it contains that helps "
    "to answer the question below. If nothing in it does, write: nothing.\n\n{question}"
)
#: Characters of the hash by which a label tells one `ask` text from another.
_SHORT_HASH = 8


class Windows(Keys):
    """Says how a long clip is cut into windows of equal length, what each is asked, and how the answers combine."""

    seconds: float = Field(gt=0, allow_inf_nan=False, description="the longest window; longer clips are cut")
    overlap: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="seconds that two neighbouring windows share"
    )
    combine: Literal["vote", "last", "join", "map_reduce"] = Field(
        description="vote: the answer of most windows, the earliest of equally frequent ones; last: of the last window "
        "that has an answer; join: all texts, joined by spaces (transcripts); map_reduce: the model takes notes on each "
        "window and then answers from the notes, without audio"
    )
    ask: str | None = Field(
        None,
        description="what each window is asked instead of the row's prompt: {question} stands for that prompt, {part} and "
        "{parts} for the window's number and their count",
    )
    notes_tokens: int = Field(
        256, ge=1, description="the longest notes of map_reduce on one window, in tokens"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.overlap >= self.seconds:
            raise ValueError("the overlap must be shorter than the window")
        if self.combine == "join" and self.overlap:
            raise ValueError("combine: join needs overlap: 0, or words would be written twice")
        if self.ask is not None and "{question}" not in self.ask:
            raise ValueError("ask must contain {question}, where the row's prompt stands")
        return self

    @property
    def label(self) -> str:
        """Return the settings as a run's label shows them: `windows of 600 s, vote`."""
        words = [f"windows of {self.seconds:g} s", *([f"overlap {self.overlap:g} s"] if self.overlap else [])]
        words.append(self.combine.replace("_", "-"))
        if self.combine == "map_reduce" and self.notes_tokens != Windows.model_fields["notes_tokens"].default:
            words.append(f"notes of {self.notes_tokens} tokens")
        if self.ask is not None:
            words.append(f"asked {sha256_of(self.ask)[:_SHORT_HASH]}")
        return ", ".join(words)

    def prompt(self, question: str, part: int, parts: int) -> str:
        """Return what window `part` (from 1) of `parts` is asked."""
        text = self.ask if self.ask is not None or self.combine != "map_reduce" else NOTES_PROMPT
        if text is None:
            return question
        # the question last: it may contain the other names
        numbered = text.replace("{part}", str(part)).replace("{parts}", str(parts))
        return numbered.replace("{question}", question)


class LongAudio(Keys):
    """Cuts clips that are longer than a window."""

    window: Windows = Field(description="how clips are cut, and how the answers about the windows combine")


#: `refuse`: a clip that does not fit the model is an error row, and nothing is cut.
LongAudioRule = Literal["refuse"] | LongAudio
