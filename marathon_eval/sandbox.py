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
_PADDING = ("center", "slice", "batch", "wordwrap", "truncate", "round")
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
        for name, check in (
            ("indent", _check_indent),
            ("join", _check_join),
            ("replace", _check_replace),
            ("format", _check_format_filter),
        ):
            self.filters[name] = _checked(self.filters[name], check)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`. Raises SecurityError for a result without measure."""
        if operator == "*":
            _check_length(_size(left) * right if isinstance(right, int) else 0)
            _check_length(_size(right) * left if isinstance(left, int) else 0)
        elif operator == "**":
            _check_widths((left, right))
        elif operator == "+":
            _check_length(_size(left) + _size(right))
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Jinja2 puts its own function in the place of `str.format`; this one looks at the widths first."""
        safe = super().wrap_str_format(value)
        if safe is None:
            return None

        def format_text(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__)
            return safe(*args, **kwargs)

        return format_text

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
    """Widths stand in the format itself; one that is an argument (`%*d`, `{:{}}`) is refused."""
    wide = any(int(digits) > MAX_WIDTH for digits in re.findall(r"\d{5,4000}", text))
    if wide or re.search(r"%[-+ #0]*\*|%[-+ #0\d]*\.\*|\{[^{}]+\{", text):
        raise SecurityError(f"a format with a width over {MAX_WIDTH}, or one that is an argument")


def _check_widths(values: Iterable[Any]) -> None:
    if any(isinstance(value, (int, float)) and abs(value) > MAX_WIDTH for value in values):
        raise SecurityError(f"a width or count over {MAX_WIDTH}")


def _check_method(owner: str, name: str, args: tuple[Any, ...]) -> None:
    _check_widths(args)
    if name == "replace" and len(args) > 1:
        _check_length(_grown(owner, args[1]))
    elif name == "join" and args and isinstance(args[0], (list, tuple)):
        _check_length(sum(_size(part) + len(owner) for part in args[0]))
    elif name in ("translate", "expandtabs"):
        raise SecurityError(f"the method {name}")


def _grown(text: Any, new: Any) -> int:
    return (_size(text) + 1) * max(1, _size(new))


def _narrow(filter_: Callable[..., Any]) -> Callable[..., Any]:
    """A padding filter with bounded widths."""

    def check(value: Any, given: tuple[Any, ...]) -> None:
        _check_widths(given)
        for other in given:
            _check_length(_size(other) * _size(value))

    return _checked(filter_, check)


def _check_indent(value: Any, given: tuple[Any, ...]) -> None:
    _check_widths(given)
    width = max((one if isinstance(one, int) else _size(one) for one in given), default=4)
    _check_length(str(value).count("\n") * width)


def _check_join(value: Any, given: tuple[Any, ...]) -> None:
    if isinstance(value, (list, tuple)):
        longest = max(map(_size, given), default=0)
        _check_length(sum(_size(part) + longest for part in value))


def _check_replace(value: Any, given: tuple[Any, ...]) -> None:
    _check_length(_grown(value, max(given, key=_size, default="")))


def _check_format_filter(value: Any, given: tuple[Any, ...]) -> None:
    _check_format(str(value))


def _checked(
    filter_: Callable[..., Any], check: Callable[[Any, tuple[Any, ...]], None]
) -> Callable[..., Any]:
    """The filter behind its check; some are given jinja2's own context before the value."""
    mark = getattr(filter_, "jinja_pass_arg", None)
    before = 0 if mark is None else 1

    def checked(*args: Any, **kwargs: Any) -> Any:
        check(args[before], (*args[before + 1 :], *kwargs.values()))
        return filter_(*args, **kwargs)

    if mark is not None:
        vars(checked)["jinja_pass_arg"] = mark
    return checked


def _regex_replace(string: str, pattern: str, repl: str, count: int = 0) -> str:
    """lm-eval's one filter of its own, with its argument names."""
    return re.sub(pattern, repl, string, count=count)
