"""Splits `--model_args` into the arguments of the press and those of the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from marathon_eval.api.press import Press


def split_press_args(
    args: Mapping[str, Any],
    model_arguments: set[str],
    find: Callable[[str], type[Press]],
    flag: str = "--model_args",
) -> tuple[dict[str, Any], Press | None]:
    """Split `press=dart,ratio=0.5,dtype=bfloat16` into the model's arguments (`dtype`) and the press.

    `find` returns the press class for a name. Raises MarathonError for an argument that neither or both of them take;
    the message lists what each takes.
    """
    remaining = {name: value for name, value in args.items() if name != "press"}
    if args.get("press") is None:
        if "ratio" in remaining and "ratio" not in model_arguments:
            raise MarathonError(f"{flag}: ratio={remaining['ratio']} without press=NAME")
        return remaining, None
    from marathon_eval.api.press import press_from_args
    from marathon_eval.backends.hf.kvpress import PREFIX, KVPress

    press_name = str(args["press"])
    press_class: type[Press]
    if press_name.startswith(PREFIX):
        press_class, remaining = KVPress, KVPress.named(press_name, remaining)
    else:
        press_class = find(press_name)
    press_arguments = set(press_class.arguments())
    allowed = press_arguments | model_arguments
    for name in remaining:
        if name not in allowed:
            raise MarathonError(
                f"{flag}: neither the model nor press {press_class.name()} takes '{name}'."
                f"{did_you_mean(name, allowed)} The press takes: {', '.join(press_class.arguments())}; "
                f"the model takes: {', '.join(sorted(model_arguments))}"
            )
        if name in press_arguments and name in model_arguments:
            raise MarathonError(f"{flag}: '{name}' is an argument of both the model and the press")
    press = press_from_args(
        press_class, {name: value for name, value in remaining.items() if name in press_arguments}, flag
    )
    return {name: value for name, value in remaining.items() if name not in press_arguments}, press
