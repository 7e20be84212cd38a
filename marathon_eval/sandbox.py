"""The sandbox of templates, with a budget: a task may be hostile, and Jinja2's own sandbox does not bound its cost.

What is bounded: turns of loops and calls in one rendering, repeated text and lists, powers, and the widths that
padding filters, string methods and format strings take. See https://jinja.palletsprojects.com/en/stable/sandbox/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

from jinja2 import StrictUndefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_STEPS = 200_000
MAX_LENGTH = 1_000_000
MAX_WIDTH = 10_000
_PADDING = ("center", "indent", "slice", "batch", "wordwrap", "truncate", "round")
_LEFT: ContextVar[list[int]] = ContextVar("steps that this rendering may still take")


class Environment(ImmutableSandboxedEnvironment):
    """Jinja2's immutable sandbox that counts."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        # autoescape stays off: prompts are plain text, never HTML
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True)
        del self.globals["lipsum"]
        self.filters["counted"] = counted
        self.filters["regex_replace"] = _regex_replace
        for name in _PADDING:
            self.filters[name] = _narrow(self.filters[name])
        for name in ("join", "replace", "format"):
            self.filters[name] = _short(name, self.filters[name])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`. Raises SecurityError for a result without measure."""
        if operator == "*":
            _check_length(_size(left) * right if isinstance(right, int) else 0)
            _check_length(_size(right) * left if isinstance(left, int) else 0)
        elif operator == "**" and max(abs(left), abs(right)) > MAX_WIDTH:
            raise SecurityError(f"a power of numbers over {MAX_WIDTH}")
        elif operator == "+":
            _check_length(_size(left) + _size(right))
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Every call of a template comes by here."""
        _step()
        owner = getattr(called, "__self__", None)
        if isinstance(owner, str):
            _check_method(owner, called.__name__, args)
        return super().call(context, called, *args, **kwargs)


def with_budget(render: Callable[[], str]) -> str:
    """What `render` gives, held to one budget. Raises SecurityError."""
    token = _LEFT.set([MAX_STEPS])
    try:
        return render()
    finally:
        _LEFT.reset(token)


def count_loops(tree: nodes.Template) -> None:
    """Make every loop of a template take its turns from the budget."""
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)


def counted(items: Iterable[Any]) -> Iterator[Any]:
    """The items, each a step."""
    for item in items:
        _step()
        yield item


def _step() -> None:
    left = _LEFT.get()
    left[0] -= 1
    if left[0] < 0:
        raise SecurityError(f"over {MAX_STEPS} steps for one row")


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple)) else 0


def _check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise SecurityError(f"a text or list of {length} parts; {MAX_LENGTH} are allowed")


def _check_format(text: str) -> None:
    """Widths stand in the format itself; one that is an argument (`%*d`) is refused."""
    wide = any(int(digits) > MAX_WIDTH for digits in re.findall(r"\d{5,4000}", text))
    if wide or "*" in text:
        raise SecurityError(f"a format with a width over {MAX_WIDTH}, or one that is an argument")


def _check_widths(values: Iterable[Any]) -> None:
    if any(isinstance(value, (int, float)) and abs(value) > MAX_WIDTH for value in values):
        raise SecurityError(f"a width or count over {MAX_WIDTH}")


def _check_method(owner: str, name: str, args: tuple[Any, ...]) -> None:
    _check_widths(args)
    if name in ("format", "format_map"):
        _check_format(owner)
        _check_widths(value for arg in args for value in (arg.values() if isinstance(arg, dict) else [arg]))
    elif name == "replace" and len(args) > 1:
        _check_length(_grown(owner, args[1]))
    elif name == "join" and args and isinstance(args[0], (list, tuple)):
        _check_length(sum(_size(part) + len(owner) for part in args[0]))
    elif name in ("translate", "expandtabs"):
        raise SecurityError(f"the method {name}")


def _grown(text: Any, new: Any) -> int:
    return (_size(text) + 1) * max(1, _size(new))


def _narrow(filter_: Callable[..., Any]) -> Callable[..., Any]:
    def narrow(value: Any, *args: Any, **kwargs: Any) -> Any:
        _check_widths((*args, *kwargs.values()))
        for text in (*args, *kwargs.values()):
            _check_length(_size(text) * _size(value))
        return filter_(value, *args, **kwargs)

    return _passing(filter_, narrow)


def _short(name: str, filter_: Callable[..., Any]) -> Callable[..., Any]:
    def short(value: Any, *args: Any, **kwargs: Any) -> Any:
        given = (*args, *kwargs.values())
        if name == "join":
            parts = value if isinstance(value, (list, tuple)) else list(counted(value))
            value = parts
            _check_length(sum(_size(part) + max(map(_size, given), default=0) for part in parts))
        elif name == "replace":
            _check_length(_grown(value, max(given, key=_size, default="")))
        else:
            _check_format(str(value))
        return filter_(value, *args, **kwargs)

    return _passing(filter_, short)


def _passing(filter_: Callable[..., Any], wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper for filters that are given the environment (or an evaluation context) before the value."""
    mark = getattr(filter_, "jinja_pass_arg", None)
    if mark is None:
        return wrapped

    def marked(first: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        inner = _bound(filter_, first)
        return (_short(filter_.__name__.removeprefix("do_").removeprefix("sync_"), inner) if wrapped.__name__ == "short" else _narrow(inner))(
            value, *args, **kwargs
        )

    marked.jinja_pass_arg = mark  # type: ignore[attr-defined]  # how jinja2 marks such filters
    return marked
