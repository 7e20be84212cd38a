"""The sandbox of templates, with a budget: a task may be hostile, and Jinja2's own sandbox does not bound its cost.

What is bounded: turns of loops and calls in one rendering, repeated text and lists, powers, the widths that padding
filters, string methods and format strings take, and what is printed, assigned, joined or given to a filter or a call. See https://jinja.palletsprojects.com/en/stable/sandbox/.
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

MAX_STEPS = 200_000
#: A call takes as long as so many turns of a loop.
CALL_STEPS = 10
MAX_LENGTH = 1_000_000
MAX_WIDTH = 10_000
#: Characters that one rendering prints, and that one value takes when it is written out; a list counts with its parts.
MAX_PRINTED = 5_000_000
_PADDING = ("center", "slice", "batch", "wordwrap", "truncate", "round")
#: So many outputs of so many parts at the top of a template are not counted: ordinary templates have no more.
UNCOUNTED_CHARACTERS = 12
_LEFT: ContextVar[list[int]] = ContextVar("steps and characters that this rendering may still take")


class Environment(ImmutableSandboxedEnvironment):
    """Jinja2's immutable sandbox that counts."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})

    def __init__(self) -> None:
        # autoescape stays off: prompts are plain text, never HTML
        super().__init__(undefined=StrictUndefined, keep_trailing_newline=True)
        del self.globals["lipsum"]
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
            self.filters[name] = _checked(self.filters[name], check)
        for name, filter_ in self.filters.items():
            self.filters[name] = _checked(filter_, _weigh_all)
        self.filters |= {
            "counted": counted_items,
            "printed": counted_text,
            "weighed": weighed,
            "concatenated": concatenated,
        }

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`. Raises SecurityError for a result without measure."""
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
            weighed(right)
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
        _step(CALL_STEPS)
        for given in (*args, *kwargs.values()):
            weighed(given)
        owner = getattr(called, "__self__", None)
        if isinstance(owner, str):
            _check_method(owner, called.__name__, args)
        return weighed(super().call(context, called, *args, **kwargs))


def with_budget(render: Callable[[], str]) -> str:
    """What `render` gives, held to one budget. Raises SecurityError."""
    token = _LEFT.set([MAX_STEPS, MAX_PRINTED])
    try:
        return render()
    finally:
        _LEFT.reset(token)


def bound(tree: nodes.Template) -> None:
    """Make loops take their turns from the budget, and weigh what is printed, assigned and joined."""
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


#: What prints no more than a row or a variable holds.
_BOUNDED = (nodes.TemplateData, nodes.Name, nodes.Getattr)


def _written_once(tree: nodes.Node) -> Iterator[nodes.Output]:
    """Outputs in no loop, macro or block: most templates have no others, and pay nothing for the budget."""
    for node in tree.iter_child_nodes():
        if isinstance(node, nodes.Output):
            yield node
        elif isinstance(node, nodes.If):
            yield from _written_once(node)


def _filtered(node: nodes.Node, name: str, given: Sequence[nodes.Expr] = ()) -> nodes.Filter:
    # jinja2 types a loop's items as any node; they are expressions
    return nodes.Filter(cast("nodes.Expr", node), name, list(given), [], None, None, lineno=node.lineno)


@pass_context
def counted_text(context: Context, value: Any, plain: bool = False) -> Any:
    """The value, its characters taken from the budget; `plain`: so many of the template's own, and no text."""
    left = _LEFT.get()
    left[1] -= value if plain else weight(value)
    if left[1] < 0:
        raise SecurityError(f"over {MAX_PRINTED} characters for one row")
    return "" if plain else value


@pass_context
def concatenated(context: Context, first: Any, *rest: Any) -> str:
    """`first ~ rest`."""
    weighed((first, *rest))
    return "".join(map(str, (first, *rest)))


def weighed(value: Any, times: int = 1) -> Any:
    """The value, if it may be written out so many times. Raises SecurityError."""
    if weight(value) * max(1, times) > MAX_PRINTED:
        raise SecurityError(f"a value of over {MAX_PRINTED} characters")
    return value


def weight(value: Any) -> int:
    """About the characters of a value when it is written out; no more is counted than the limit and one step over it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, bytes):
        return 4 * len(value)
    if not isinstance(value, (list, tuple, dict)):
        return 1
    found, waiting = 0, [value]
    while waiting and found <= MAX_PRINTED:
        part = waiting.pop()
        # a part that is not text counts as eight characters, with its quotes and commas
        found += (
            len(part)
            if isinstance(part, str)
            else 8 * (len(part) if isinstance(part, (list, tuple, dict)) else 1)
        )
        if isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple)):
            waiting += part
    return found


def counted_items(items: Iterable[Any]) -> Iterator[Any]:
    """The items, each a step."""
    for item in items:
        _step()
        yield item


def _step(count: int = 1) -> None:
    left = _LEFT.get()
    left[0] -= count
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


def _weigh_all(value: Any, given: tuple[Any, ...]) -> None:
    weighed((value, *given))


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


def _check_sum(value: Any, given: tuple[Any, ...]) -> None:
    """Lists are added one after the other, each time with a copy of all so far."""
    if any(isinstance(one, (list, tuple)) for one in given):
        _check_length(_size(value) * weight(value))


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
    return substitute(pattern, repl, string, count)
