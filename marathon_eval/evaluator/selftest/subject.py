"""Holds the model of a self-test with its weights in memory, and answers with it under other settings."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.model import Generation, Request, Response
from marathon_eval.api.press import Press
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.chat import ChatModel
from marathon_eval.evaluator.selftest.clips import rustle_file
from marathon_eval.evaluator.selftest.verdicts import require

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.backends.hf.engine.loaded import Loaded

#: Short answers suffice: the first logits show a wrong input, the later ones a wrong cache.
FEW = Generation(max_new_tokens=4)
#: The seconds of the clip that most checks ask about.
CLIP_SECONDS = 10.0


class LocalSelfTest:
    """Holds a loaded model and makes the checks on it."""

    #: No further long clip is answered after this many seconds, so that a self-test ends within five minutes.
    long_clips_until: ClassVar[float] = 180.0

    def __init__(self, model: ChatModel, folder: Path) -> None:
        from marathon_eval.backends.hf.engine.load import load

        self.model, self.folder = model, folder
        self.started = time.monotonic()
        self.loaded: Loaded = load(model)
        self.request = Request("What is heard?", (rustle_file(folder, CLIP_SECONDS),), FEW)
        model.begin(self.loaded)

    @property
    def tolerance(self) -> float:
        """The largest difference of logits that rounding explains in the weights' dtype."""
        from marathon_eval.backends.hf.engine.head_logits import ROUNDING

        return ROUNDING.get(self.loaded.model.dtype, 0.25)

    def adapter(self, press: Press | None = None, **args: Any) -> ChatModel:
        """Build an adapter on the loaded weights with another press or with other arguments."""
        made = type(self.model)(self.model.settings.model_copy(update=args), press)
        made.attach(self.loaded)
        made.begin(self.loaded)
        return made

    def answered(self, adapter: HFAudio, requests: Sequence[Request]) -> tuple[list[Response], list[Tensor]]:
        """Answer requests, and return the responses with their logits [steps, vocabulary]; a batch counts as one answer.

        Raises CheckFailed with the error of a request that failed.
        """
        import torch

        from marathon_eval.backends.hf.engine.head_logits import head_logits

        with head_logits(self.loaded.model) as passes:
            found = dict(adapter.generate(requests))
        responses = [found[request] for request in requests]
        for response in responses:
            require(response.status == "ok", f"{response.error}")
        steps = max(response.usage.output_tokens or 1 for response in responses)
        rows = torch.stack(passes[-steps:], dim=1)
        lengths = [response.usage.output_tokens or 1 for response in responses]
        return responses, [row[:length] for row, length in zip(rows, lengths, strict=False)]

    def compared(self, first: Tensor, second: Tensor) -> str:
        """Return how far two answers' logits lie apart. Raises CheckFailed where rounding does not explain it."""
        from marathon_eval.backends.hf.engine.head_logits import logit_difference

        apart = logit_difference(first, second)
        dtype = str(self.loaded.model.dtype).removeprefix("torch.")
        said = (
            f"largest difference of logits {apart:.2g} of their deviation; {dtype} allows {self.tolerance:g}"
        )
        require(apart <= self.tolerance, said)
        return said
