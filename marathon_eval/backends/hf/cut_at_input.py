"""Says which presses fit a model in which tokens can be dropped before the first layer, and nowhere else.

Such models attend in windows, share caches between layers or keep a state. This file imports no torch.
"""

from __future__ import annotations

from marathon_eval.api.press import Press, PruningPress
from marathon_eval.errors import MarathonError


def unfit_at_input(press: type[Press], why: str) -> str | None:
    """Return why no press of the class can work on the embeddings before the first layer; None if one can.

    `why` says what the model's layers do.
    """
    if not issubclass(press, PruningPress):
        return f"it {why}, so not every layer has keys of the whole prompt to evict; pruning presses with layer=0 work"
    dropped = f"it {why}, so tokens are dropped before the first layer"
    if press.needs_attention:
        return f"{dropped}, and the rule reads attention"
    if press.only_layer not in (None, 0):
        return f"{dropped}, and the rule works at layer {press.only_layer} alone"
    return None


def refuse_later_cuts(model: str, press: Press, flag: str, why: str) -> None:
    """Raise MarathonError for a press that cuts at another layer than the first."""
    if isinstance(press, PruningPress) and [layer for layer, _ in press.cuts] != [0]:
        raise MarathonError(
            f"{flag}: {model} takes press={press.name()} only with layer=0: it {why}, so tokens are dropped "
            "before the first layer"
        )
