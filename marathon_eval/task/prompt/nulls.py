"""Refuses templates that write a null as text: a model would be asked about the word "None".

A template may test for null (`{% if hint %}`, `hint is none`) or replace it (`hint | default('', true)`). Jinja2 prints
None as its name: https://jinja.palletsprojects.com/en/stable/api/#jinja2.Environment (`finalize`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

from marathon_eval.errors import RowError
from marathon_eval.task.prompt.repeatable import TEXT_FILTERS

if TYPE_CHECKING:
    from jinja2 import nodes


class NullAsTextError(RowError):
    """Says that a template would write a null as text."""


def is_null(value: Any) -> bool:
    """Return whether a cell of a row holds nothing: null, or the number that is none (nan)."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def not_null(value: Any) -> Any:
    """Return the value. Raises NullAsTextError if it is null."""
    if is_null(value):
        raise NullAsTextError("a null is written as text")
    return value


def parts_not_null(value: Any) -> Any:
    """Return the value. Raises NullAsTextError if it is a list with a null in it."""
    for part in value if isinstance(value, (list, tuple)) else ():
        not_null(part)
    return value


def refuse_nulls_in_text(tree: nodes.Template) -> None:
    """Rewrite what a template prints, so that a null is refused where an operator or a filter would make text of it.

    A null that is printed as it is reaches the environment's `finalize`. Conditions may read nulls.
    """
    from jinja2 import nodes

    for output in tree.find_all(nodes.Output):
        for part in output.nodes:
            _refuse_in(part)


def _refuse_in(node: nodes.Node) -> None:
    from jinja2 import nodes

    if isinstance(node, nodes.CondExpr):
        _refuse_in(node.expr1)
        if node.expr2 is not None:
            _refuse_in(node.expr2)
    elif isinstance(node, nodes.Concat):
        for part in node.nodes:
            _refuse_in(part)
        node.nodes = [_checked(part, "not_null") for part in node.nodes]
    elif isinstance(node, nodes.Filter) and node.node is not None:
        _refuse_in(node.node)
        if node.name == "join":
            node.node = _checked(node.node, "parts_not_null")
        elif node.name in TEXT_FILTERS:
            node.node = _checked(node.node, "not_null")


def _checked(node: nodes.Node, name: str) -> nodes.Filter:
    from jinja2 import nodes

    return nodes.Filter(cast("nodes.Expr", node), name, [], [], None, None, lineno=node.lineno)
