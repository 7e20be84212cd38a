"""Words the errors of a model's or a press's arguments: which argument, what is wrong with it, what is allowed."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ValidationError

from marathon_eval.api.secrets import without_secrets
from marathon_eval.errors import did_you_mean


def argument_errors(
    name: str, error: ValidationError, settings: type[BaseModel], flag: str = "--model_args"
) -> str:
    """Describe each wrong argument in a line: `--model_args: qwen_omni takes no 'dtypo'. Did you mean dtype? …`."""
    known = list(settings.model_fields)
    lines = []
    for item in error.errors():
        argument = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(
                f"{flag}: {name} takes no '{argument}'.{did_you_mean(argument, known)} It takes: {listed_names(known)}"
            )
        else:
            lines.append(
                f"{flag}: {name}: {argument or 'arguments'}: {item['msg']}, got {without_secrets({argument: item['input']})[argument]!r}"
            )
    return "\n".join(lines)


def listed_names(names: Iterable[str]) -> str:
    """Join argument names for a message; `no arguments` when there are none."""
    return ", ".join(names) or "no arguments"
