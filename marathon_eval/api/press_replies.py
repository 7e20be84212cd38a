"""Checks what a press returns, and says of a wrong reply which press gave it, where it is written and what is expected.

Imports no torch at its top.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from marathon_eval.api.own_code import place_of
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    from torch import LongTensor, Tensor

    from marathon_eval.api.press_views import EvictionView, PruningView


class _Press(Protocol):
    """Describes a press (api/press.py) as far as messages about it need."""

    def name(self) -> str: ...


def press_reply(press: _Press, view: PruningView | EvictionView, rule: Callable[[Any], Any]) -> Any:
    """Return what a press's `select` returns for the view. Raises RowError with file and line of what it raises.

    Want of memory is raised as it is, for the engine then asks with fewer requests at once.
    """
    try:
        return rule(view)
    except (MarathonError, MemoryError):
        raise
    except Exception as error:
        if "out of memory" in str(error).lower():
            raise
        told = f"{type(error).__name__}: {error}"
        file = _file(press)
        place = f"{place_of(error, file)}: " if file is not None else ""
        raise RowError(f"{_press_words(press)}: {place}{told}") from error


def checked_positions(press: _Press, view: PruningView, chosen: Any) -> LongTensor:
    """Return the positions [keep] that a pruning press chose. Raises RowError for anything else.

    They are `view.keep` different entries of `view.audio`.
    """
    import torch

    wanted = f"a LongTensor [{view.keep}] of different entries of view.audio [{len(view.audio)}]"
    positions = _whole_numbers(press, chosen, wanted, view.audio)
    if positions.shape != (view.keep,):
        raise _refused(press, "select", wanted, _shown(positions))
    if not torch.isin(positions, view.audio).all():
        raise _refused(press, "select", wanted, _strangers(positions, view.audio))
    if len(positions.unique()) != view.keep:
        raise _refused(press, "select", wanted, f"{len(positions.unique())} different ones, some twice")
    return cast("LongTensor", positions)


def checked_key_positions(press: _Press, view: EvictionView, chosen: Any) -> Tensor:
    """Return the positions [key heads, keep] that an eviction press chose by itself. Raises RowError for anything else."""
    import torch

    heads, audio = len(view.keys), view.audio
    wanted = f"a LongTensor [{heads} key heads, {view.keep}] of different entries of view.audio [{len(audio)}] in each row"
    positions = _whole_numbers(press, chosen, wanted, audio)
    if positions.shape != (heads, view.keep):
        raise _refused(press, "select", wanted, _shown(positions))
    if not torch.isin(positions, audio).all():
        raise _refused(press, "select", wanted, _strangers(positions, audio))
    if (positions.sort(dim=1).values.diff(dim=1) == 0).any():
        raise _refused(press, "select", wanted, "a row with a position twice")
    return positions


def checked_scores(press: _Press, view: EvictionView, scores: Any) -> Tensor:
    """Return an eviction press's scores as float [key heads, T]. Raises RowError for a reply that is no score of every key."""
    import torch

    heads, length = view.keys.shape[:2]
    wanted = f"a Tensor of scores [{heads} key heads, {length} keys] or [{length} keys]"
    if not isinstance(scores, torch.Tensor):
        raise _refused(press, "score", wanted, _shown(scores))
    if scores.ndim == 0 or scores.shape[-1] != length or scores.shape[:-1] not in ((), (1,), (heads,)):
        hint = ""
        if scores.ndim and scores.shape[-1] in (len(view.audio), view.keep):
            few = (
                "a score is wanted for each of view.keys, text included (scores of text keys are unused)"
                if scores.shape[-1] == len(view.audio)
                else "a score is wanted for each of view.keys, not the positions of those that stay"
            )
            hint = f": {few}"
        raise _refused(press, "score", wanted, _shown(scores) + hint)
    return scores.float().expand(heads, -1)


def _press_words(press: _Press) -> str:
    """Return `press ends (class Ends in mine/presses/ends.py)`."""
    file = _file(press)
    place = "" if file is None else f" in {file}"
    return f"press {press.name()} (class {type(press).__name__}{place})"


def _file(press: _Press) -> Path | None:
    try:
        return Path(inspect.getfile(type(press)))
    except (OSError, TypeError):  # a class that was typed into an interpreter
        return None


def _shown(reply: Any) -> str:
    """Return what a reply is: a tensor's type and shape, or a type with its length."""
    import torch

    if isinstance(reply, torch.Tensor):
        return f"a {str(reply.dtype).removeprefix('torch.')} tensor of shape {list(reply.shape)}"
    length = f" of length {len(reply)}" if hasattr(reply, "__len__") else ""
    return f"{type(reply).__name__}{length}"


def _whole_numbers(press: _Press, chosen: Any, wanted: str, audio: Tensor) -> Tensor:
    import torch

    if not isinstance(chosen, torch.Tensor) or chosen.dtype not in (torch.int64, torch.int32):
        raise _refused(press, "select", wanted, _shown(chosen))
    return chosen.long().to(audio.device)


def _strangers(positions: Tensor, audio: Tensor) -> str:
    """Return what to say of positions that are not the audio's: perhaps they are places in `view.audio`."""
    low, high = int(positions.min()), int(positions.max())
    said = f"numbers from {low} to {high}, and the audio's positions are {int(audio.min())} to {int(audio.max())}"
    if low >= 0 and high < len(audio):
        return f"{said}: places in view.audio; return view.audio[places]"
    return said


def _refused(press: _Press, method: str, wanted: str, got: str) -> RowError:
    return RowError(f"{_press_words(press)}: {method} must return {wanted}, got {got}")
