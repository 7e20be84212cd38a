"""Which of `--model_args` are the press's and which the model's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from marathon_eval.api.press import Press, press_from_args
from marathon_eval.backends.hf.kvpress import PREFIX, KVPress
from marathon_eval.errors import MarathonError, did_you_mean


def split_press_args(
    args: Mapping[str, Any],
    model_arguments: set[str],
    find: Callable[[str], type[Press]],
    flag: str = "--model_args",
) -> tuple[dict[str, Any], Press | None]:
    """`press=dart,ratio=0.5,dtype=bfloat16` to the model's arguments and the press. Raises MarathonError.

    `find` resolves the press's name. A name that neither takes is refused here, with both lists.
    """
    remaining = {name: value for name, value in args.items() if name != "press"}
    if args.get("press") is None:
        if "ratio" in remaining and "ratio" not in model_arguments:
            raise MarathonError(f"{flag}: ratio={remaining['ratio']} without press=NAME")
        return remaining, None
    chosen = str(args["press"])
    press_class: type[Press]
    if chosen.startswith(PREFIX):
        press_class, remaining = KVPress, KVPress.named(chosen, remaining)
    else:
        press_class = find(chosen)
    taken = set(press_class.arguments())
    known = taken | model_arguments
    for name in remaining:
        if name not in known:
            raise MarathonError(
                f"{flag}: neither the model nor press {press_class.name()} takes '{name}'."
                f"{did_you_mean(name, known)} The press takes: {', '.join(press_class.arguments())}; "
                f"the model takes: {', '.join(sorted(model_arguments))}"
            )
        if name in taken and name in model_arguments:
            raise MarathonError(f"{flag}: '{name}' is an argument of the model and of the press alike")
    press_args = {name: value for name, value in remaining.items() if name in taken}
    press = press_from_args(press_class, press_args, flag)
    return {name: value for name, value in remaining.items() if name not in taken}, press
