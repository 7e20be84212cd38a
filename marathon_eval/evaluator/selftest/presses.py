"""Checks the press that was asked for: how many tokens it keeps, ratio 0, and its answer against a pass that masks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from marathon_eval.api.press import EvictionPress, Press, PruningPress
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.selftest.inputs import prepared
from marathon_eval.evaluator.selftest.verdicts import NotApplicable, SelfTestResult, require

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.evaluator.selftest.subject import LocalSelfTest


def add_lines(there: LocalSelfTest, plain: Tensor, result: SelfTestResult) -> None:
    """Add the lines of the model's press; one line says so if it has none."""
    press = there.model.press

    def none() -> str:
        raise NotApplicable("no press was asked for: press=NAME,ratio=R in --model_args")

    if press is None:
        result.check("press", none)
        return
    name = press.name()
    result.check(f"{name}: kept tokens", lambda: kept(there, press))
    result.check(f"{name}: ratio 0 = no press", lambda: nothing_removed(there, press, plain))
    result.check(f"{name}: answer = masked pass", lambda: as_masked(there, press))


def kept(there: LocalSelfTest, press: Press) -> str:
    """Hold the number of kept audio tokens against the press's budget."""
    (response,), _ = there.answered(there.adapter(press), [there.request])
    audio, left = response.usage.audio_tokens or 0, response.usage.kept_tokens
    audio -= int(response.usage.details.get("padding_tokens", 0))
    if isinstance(press, PruningPress) and not press.compat:
        expected = press.kept(audio, press.cuts[-1][1])
    elif isinstance(press, EvictionPress) and press.evict != "decode":
        budgets = press.budgets(audio, len(there.model.decoder(there.loaded.model).layers))
        expected = round(sum(budgets) / len(budgets))
    else:
        raise NotApplicable(f"{left} of {audio} are left; other tokens than audio may go too")
    require(left == expected, f"{left} of {audio} audio tokens are left, the budget is {expected}")
    return f"{left} of {audio} audio tokens"


def nothing_removed(there: LocalSelfTest, press: Press, plain: Tensor) -> str:
    """Hold the press at ratio 0 against no press."""
    try:
        whole = replace(press, ratio=0.0)
    except (MarathonError, TypeError) as error:
        raise NotApplicable(f"it takes no ratio of 0: {error}") from None
    if isinstance(press, PruningPress) and press.stages:
        raise NotApplicable("it is set by stages, not by one ratio")
    _, (own,) = there.answered(there.adapter(whole), [there.request])
    return there.compared(plain, own)


def as_masked(there: LocalSelfTest, press: Press) -> str:
    """Hold the answer against one pass without cache in which what the press removed is masked."""
    from marathon_eval.backends.hf.engine.masked_pass import chosen_by, masked_logits

    if any(isinstance(part, PruningPress) and len(part.cuts) > 1 for part in press.parts):
        raise NotApplicable("it cuts several times; each cut alone is checked by a press with one")
    if isinstance(press, EvictionPress) and press.evict == "decode":
        raise NotApplicable("it evicts at every step, and what is masked would change from step to step")
    adapter = there.adapter(press)
    with chosen_by(press) as choices:
        _, (logits,) = there.answered(adapter, [there.request])
    decoder = there.model.decoder(there.loaded.model)
    built = prepared(there, [there.request]).tensors
    tensors = {name: part.to(there.loaded.device) for name, part in built.items()}
    tokens = logits.argmax(dim=-1).tolist()
    places = [n for n, token in enumerate(built["input_ids"][0].tolist()) if token in decoder.audio_token_ids]
    prompt = built["input_ids"].shape[1]
    late = isinstance(press, EvictionPress) and press.evict == "prompt"
    masked = masked_logits(decoder, tensors, tokens, press, choices, prompt if late else places[-1] + 1)
    return there.compared(masked, logits)
