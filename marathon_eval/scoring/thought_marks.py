"""Lists the marks that model families put around a thought, as data: one line a family.

The marks are those of the families' chat templates and tokenizers on the Hugging Face hub, and of OpenAI's harmony
format (https://github.com/openai/harmony). A task adds marks of its own with the filter option `marks`.
"""

from __future__ import annotations

from typing import NamedTuple


class Marks(NamedTuple):
    """Names the marks of one family: what opens a thought, and what may close it; case does not count.

    `alone` tells whether a closing mark without an opening one ends a thought too, because the chat template writes
    the opening mark into the prompt. It is False where the closing mark also ends other turns.
    `at_start` marks count only at the very beginning of a response, for they could be words anywhere else.
    """

    family: str
    opening: str
    closing: tuple[str, ...]
    alone: bool = True
    at_start: bool = False


#: Names of tags `<name>...</name>` that enclose a thought; case and spaces inside the brackets do not count.
TAGS = ("think", "thinking", "thought", "thoughts", "reasoning", "seed:think", "reflection", "scratchpad")

_FINAL = (
    "<|end|><|start|>assistant<|channel|>final<|message|>",
    "<|start|>assistant<|channel|>final<|message|>",
    "<|channel|>final<|message|>",
    "<|end|>",
)

MARKS = (
    Marks("Kimi", "◁think▷", ("◁/think▷",)),
    Marks("Magistral", "[THINK]", ("[/THINK]",)),
    Marks("Gemma", "<|channel>thought", ("<channel|>",)),
    Marks("Sky-T1, OpenThinker", "<|begin_of_thought|>", ("<|end_of_thought|>",)),
    Marks("beginning of thinking", "<|beginning_of_thinking|>", ("<|end_of_thinking|>",)),
    Marks("begin of thinking", "<|begin_of_thinking|>", ("<|end_of_thinking|>",)),
    Marks("special think token", "<|think|>", ("<|/think|>",)),
    Marks("special thinking token", "<|thinking|>", ("<|/thinking|>", "<|end_thinking|>")),
    Marks("think start", "<|think_start|>", ("<|think_end|>",)),
    Marks("Cohere Command A", "<|START_THINKING|>", ("<|END_THINKING|>",)),
    Marks("Apertus", "<|inner_prefix|>", ("<|inner_suffix|>",)),
    Marks("MedGemma", "<unused94>thought", ("<unused95>",)),
    # with the role, which a server leaves in that returns special tokens
    Marks("harmony: analysis, role", "<|start|>assistant<|channel|>analysis<|message|>", _FINAL, alone=False),
    Marks(
        "harmony: commentary, role", "<|start|>assistant<|channel|>commentary<|message|>", _FINAL, alone=False
    ),
    Marks("harmony: analysis", "<|channel|>analysis<|message|>", _FINAL, alone=False),
    Marks("harmony: commentary", "<|channel|>commentary<|message|>", _FINAL, alone=False),
    # what is left of harmony where the tokenizer skips special tokens
    Marks("harmony without tokens", "assistantanalysis", ("assistantfinal",), at_start=True),
    Marks("harmony without tokens or role", "analysis", ("assistantfinal",), at_start=True),
)


def mark_beginnings() -> set[str]:
    """Return all texts that a tag, or a mark of a family whose closing mark ends nothing else, may begin with.

    A tokenizer may have a special token for a whole mark or for its beginning.
    """
    families = [marks for marks in MARKS if marks.alone and not marks.at_start]
    texts = [text for marks in families for text in (marks.opening, *marks.closing)]
    texts += [bracket + name + ">" for name in TAGS for bracket in ("<", "</")]
    return {text[:length] for text in texts for length in range(1, len(text) + 1)}
