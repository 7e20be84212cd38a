"""Renders templates in a sandbox with a budget of steps and characters.

A task may be hostile, and Jinja2's sandbox does not limit time or memory. This one limits loop iterations and calls
per rendering, repeated text and lists, powers, widths of padding filters, string methods and format strings, and the
size of values that are printed, assigned, joined or passed to a filter or a call.
See https://jinja.palletsprojects.com/en/stable/sandbox/.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from itertools import islice
from typing import Any, cast

from jinja2 import StrictUndefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from marathon_eval.scoring.patterns import substitute
from marathon_eval.task.prompt.filter_checks import checked_filter
from marathon_eval.task.prompt.nulls import not_null, parts_not_null
from marathon_eval.task.prompt.repeatable import (
    NOT_STARTED,
    SLOW_FILTERS,
    TEXT_FILTERS,
    refuse_addresses,
    since,
)

MAX_STEPS = 200_000
#: Steps that a call costs; a loop iteration costs one.
CALL_STEPS = 10
MAX_LENGTH = 1_000_000
MAX_WIDTH = 10_000
#: Limit on the characters that one rendering prints, and on the characters of one value, nested parts included.
MAX_PRINTED = 5_000_000
_PADDING = ("center", "slice", "batch", "wordwrap", "truncate", "round")
#: The first outputs at the top level of a template, up to this many with up to this many parts each, are not counted:
#: ordinary templates have no more.
UNCOUNTED_CHARACTERS = 12
_LEFT: ContextVar[list[float]] = ContextVar(
    "steps and characters left for this rendering, and the processor time at its first step, filter or test"
)


class Environment(ImmutableSandboxedEnvironment):
    """Extends Jinja2's immutable sandbox by the limits of this module."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        # autoescape stays off: prompts are plain text, never HTML
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True, finalize=_finalized)
        del self.globals["lipsum"]
        del self.filters["random"]
        self.filters["regex_replace"] = _regex_replace
        for name in _PADDING:
            self.filters[name] = _narrow(self.filters[name])
        for name, check in (
            ("indent", _check_indent),
            ("join", _check_join),
            ("replace", _check_replace),
            ("format", _check_format_filter),
            ("sum", _check_sum),
        ):
            self.filters[name] = checked_filter(self.filters[name], check)
        for name, filter_ in self.filters.items():
            self.filters[name] = checked_filter(filter_, _check_filter(name))
        for name, test in self.tests.items():
            self.tests[name] = checked_filter(cast("Callable[..., Any]", test), _spend_time)
        self.filters |= {
            "counted": counted_items,
            "printed": counted_text,
            "weighed": weighed,
            "concatenated": concatenated,
            "not_null": not_null,
            "parts_not_null": parts_not_null,
        }

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return `left operator right`. Raises SecurityError if the result would be too large."""
        _spend_time(left, ())
        if isinstance(left, int) and isinstance(right, int):
            _check_length(left.bit_length() + right.bit_length())
        if operator == "*":
            _check_length(_size(left) * right if isinstance(right, int) else 0)
            _check_length(_size(right) * left if isinstance(left, int) else 0)
            weighed(left, right if isinstance(right, int) else 1)
            weighed(right, left if isinstance(left, int) else 1)
        elif operator == "**":
            _check_widths((left, right))
        elif operator == "+":
            _check_length(_size(left) + _size(right))
        elif operator == "%" and isinstance(left, str):
            _check_format(left)
            refuse_addresses((right,))
            weighed(right)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Wrap `str.format`, as Jinja2 does, and check the widths in the format string first."""
        safe = super().wrap_str_format(value)
        if safe is None:
            return None

        def format_text(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__)
            refuse_addresses((*args, *kwargs.values()))
            return safe(*args, **kwargs)

        return format_text

    def call(self, context: Context, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Make a call of a template, after checking its arguments. Raises SecurityError."""
        _step(CALL_STEPS)
        for argument in (*args, *kwargs.values()):
            weighed(argument)
        owner = getattr(called, "__self__", None)
        if isinstance(owner, str):
            _check_method(owner, called.__name__, args)
        return weighed(super().call(context, called, *args, **kwargs))


@pass_context
def _finalized(context: Context, value: Any) -> Any:
    """Return a printed value. Raises RowError for null; with the context, jinja2 calls this on rendering only."""
    return not_null(value)


def with_budget(render: Callable[[], str]) -> str:
    """Run `render` with a fresh budget and return its result. Raises SecurityError if the budget is exceeded."""
    token = _LEFT.set([MAX_STEPS, MAX_PRINTED, NOT_STARTED])
    try:
        return render()
    finally:
        _LEFT.reset(token)


def bound(tree: nodes.Template) -> None:
    """Rewrite a template's tree: count loop iterations, and check values that are printed, assigned or joined."""
    for loop in tree.find_all(nodes.For):
        loop.iter = _filtered(loop.iter, "counted")
    for joined in tree.find_all(nodes.Concat):
        joined.nodes = [_filtered(joined.nodes[0], "concatenated", joined.nodes[1:])]
    for assigned in tree.find_all(nodes.Assign):
        assigned.node = _filtered(assigned.node, "weighed")
    first = islice(_written_once(tree), UNCOUNTED_CHARACTERS)
    once = {id(output) for output in first if len(output.nodes) <= UNCOUNTED_CHARACTERS}
    for output in tree.find_all(nodes.Output):
        if id(output) in once and all(isinstance(node, _BOUNDED) for node in output.nodes):
            continue
        plain = sum(len(node.data) for node in output.nodes if isinstance(node, nodes.TemplateData))
        parts = [
            node if isinstance(node, nodes.TemplateData) else _filtered(node, "printed")
            for node in output.nodes
        ]
        output.nodes = [_filtered(nodes.Const(plain), "printed", [nodes.Const(True)]), *parts]


#: Nodes that print at most the value of a column or variable.
_BOUNDED = (nodes.TemplateData, nodes.Name, nodes.Getattr)


def _written_once(tree: nodes.Node) -> Iterator[nodes.Output]:
    """Yield outputs outside of loops, macros and blocks. Most templates have only these and need no checks."""
    for node in tree.iter_child_nodes():
        if isinstance(node, nodes.Output):
            yield node
        elif isinstance(node, nodes.If):
            yield from _written_once(node)


def _filtered(node: nodes.Node, name: str, arguments: Sequence[nodes.Expr] = ()) -> nodes.Filter:
    # jinja2 types the iterable of a loop as Node, but it is always an expression
    return nodes.Filter(cast("nodes.Expr", node), name, list(arguments), [], None, None, lineno=node.lineno)


@pass_context
def counted_text(context: Context, value: Any, plain: bool = False) -> Any:
    """Subtract the value's characters from the budget and return it.

    With `plain`, the value is the number of characters of literal template text, and "" is returned.
    """
    left = _LEFT.get()
    if not plain:
        refuse_addresses((value,))
    left[1] -= value if plain else weight(value)
    if left[1] < 0:
        raise SecurityError(f"over {MAX_PRINTED} characters for one row")
    return "" if plain else value


@pass_context
def concatenated(context: Context, first: Any, *rest: Any) -> str:
    """Return `first ~ rest`, the concatenation of all values as text."""
    refuse_addresses((first, *rest))
    weighed((first, *rest))
    return "".join(map(str, (first, *rest)))


def weighed(value: Any, times: int = 1) -> Any:
    """Return the value. Raises SecurityError if its text, repeated `times`, exceeds MAX_PRINTED characters."""
    if weight(value) * max(1, times) > MAX_PRINTED:
        raise SecurityError(f"a value of over {MAX_PRINTED} characters")
    return value


def weight(value: Any) -> int:
    """Return the approximate length of a value as text. Counting stops just above MAX_PRINTED."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, bytes):
        return 4 * len(value)
    if not isinstance(value, (list, tuple, dict)):
        return 1
    characters, waiting = 0, [value]
    while waiting and characters <= MAX_PRINTED:
        part = waiting.pop()
        # a part that is not text counts as eight characters, with its quotes and commas
        characters += (
            len(part)
            if isinstance(part, str)
            else 8 * (len(part) if isinstance(part, (list, tuple, dict)) else 1)
        )
        if isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple)):
            waiting += part
    return characters


def counted_items(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items and take one step from the budget for each."""
    for item in items:
        _step()
        yield item


def _step(count: int = 1) -> None:
    left = _LEFT.get()
    left[0] -= count
    left[2] = since(left[2])
    if left[0] < 0:
        raise SecurityError(f"over {MAX_STEPS} steps for one row")


def _size(value: Any) -> int:
    return len(value) if isinstance(value, (str, list, tuple)) else 0


def _check_length(length: int) -> None:
    if length > MAX_LENGTH:
        raise SecurityError(f"a text or list of {length} parts; {MAX_LENGTH} are allowed")


def _check_format(text: str) -> None:
    """Check the widths in a format string; refuse widths that are arguments (`%*d`, `{:{}}`)."""
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
    """Wrap a padding filter to limit its widths."""

    def check(value: Any, arguments: tuple[Any, ...]) -> None:
        _check_widths(arguments)
        for argument in arguments:
            _check_length(_size(argument) * _size(value))

    return checked_filter(filter_, check)


def _check_filter(name: str) -> Callable[[Any, tuple[Any, ...]], None]:
    """Return the check of every use of a filter: the time so far, the size of what it gets, and addresses."""
    most = SLOW_FILTERS.get(name, MAX_PRINTED)

    def check(value: Any, arguments: tuple[Any, ...]) -> None:
        _spend_time(value, arguments)
        weighed((value, *arguments))
        if weight(value) > most:
            raise SecurityError(f"a value of over {most} characters for {name}")
        if name in TEXT_FILTERS or name == "join":
            # `join` only iterates over what is no list
            iterated = name == "join" and not isinstance(value, (list, tuple))
            refuse_addresses(arguments if iterated else (value, *arguments))

    return check


def _spend_time(value: Any, arguments: tuple[Any, ...]) -> None:
    """Check the processor time; outside of a rendering (a constant that is computed on compilation) there is no limit."""
    if (left := _LEFT.get(None)) is not None:
        left[2] = since(left[2])


def _check_indent(value: Any, arguments: tuple[Any, ...]) -> None:
    _check_widths(arguments)
    widths = (argument if isinstance(argument, int) else _size(argument) for argument in arguments)
    width = max(widths, default=4)
    _check_length(str(value).count("\n") * width)


def _check_join(value: Any, arguments: tuple[Any, ...]) -> None:
    if isinstance(value, (list, tuple)):
        longest = max(map(_size, arguments), default=0)
        _check_length(sum(_size(part) + longest for part in value))


def _check_replace(value: Any, arguments: tuple[Any, ...]) -> None:
    _check_length(_grown(value, max(arguments, key=_size, default="")))


def _check_sum(value: Any, arguments: tuple[Any, ...]) -> None:
    """Limit sums of lists: each addition copies the list built so far."""
    if any(isinstance(argument, (list, tuple)) for argument in arguments):
        _check_length(_size(value) * weight(value))


def _check_format_filter(value: Any, arguments: tuple[Any, ...]) -> None:
    _check_format(str(value))


def _regex_replace(string: str, pattern: str, repl: str, count: int = 0) -> str:
    """Replace matches of a pattern; lm-eval's only additional filter, with lm-eval's argument names."""
    return substitute(pattern, repl, string, count)
