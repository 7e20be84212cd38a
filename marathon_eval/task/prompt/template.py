"""Text made from a row: a column's name, or a Jinja2 template compiled once in a sandbox.

Undefined names are refused, Python internals are out of reach, and text that comes out of the data is
never read as a template again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from marathon_eval.errors import MarathonError, RowError, did_you_mean

if TYPE_CHECKING:
    from jinja2 import Template as Compiled
    from jinja2 import nodes

    from marathon_eval.task.prompt.sandbox import Environment

_INTERNAL = re.compile(r"__\w+__")


class Named(Protocol):
    """Something that needs columns."""

    @property
    def names(self) -> frozenset[str]:
        """Names that rows must have; checked against the data before anything is asked."""

    @property
    def where(self) -> str:
        """`file:line: key` of the rule."""


class FromRow(Named, Protocol):
    """A rule that reads one row."""

    def value(self, values: Mapping[str, Any]) -> Any:
        """What the rule gives for a row. Raises RowError where the row lacks what it needs."""


class RowValue:
    """A row's own value, of whatever type it is."""

    def __init__(self, name: str, where: str) -> None:
        self.name = name
        self.where = where
        self.names = frozenset({name})

    def value(self, values: Mapping[str, Any]) -> Any:
        """The column of this row. Raises RowError when the row lacks it or has null there."""
        found = values.get(self.name)
        if found is None:
            raise RowError(f"{self.where}: the row has no '{self.name}'.{did_you_mean(self.name, values)}")
        return found


class Template:
    """A Jinja2 template; always gives text. Raises MarathonError for all that is wrong with it in itself."""

    def __init__(self, source: str, where: str) -> None:
        from jinja2 import TemplateSyntaxError

        self.where = where
        try:
            self._parsed = _parsed(source)
            _refuse_internals(self._parsed.tree, where)
        except TemplateSyntaxError as error:
            raise MarathonError(f"{where}: broken template: {error.message}") from None
        except RecursionError:
            raise MarathonError(f"{where}: broken template: nested too deep") from None
        self.names = self._parsed.names

    def value(self, values: Mapping[str, Any]) -> str:
        """The text for one row. Raises RowError; MarathonError for what the sandbox refuses."""
        from jinja2 import TemplateError, UndefinedError
        from jinja2.exceptions import SecurityError

        from marathon_eval.task.prompt.sandbox import with_budget

        try:
            return with_budget(lambda: self._parsed.compiled.render(values))
        except SecurityError as error:
            raise MarathonError(f"{self.where}: the template's sandbox refuses: {error}") from None
        except RowError as error:
            raise RowError(f"{self.where}: {error}") from None
        except UndefinedError as error:
            raise RowError(f"{self.where}: {error}; the row has {', '.join(map(str, values))}") from None
        except (
            TemplateError,
            TypeError,
            ValueError,
            LookupError,
            ArithmeticError,
            AttributeError,
            RecursionError,
            AssertionError,  # jinja2's own, of a filter's arguments
            re.error,
            MemoryError,
        ) as error:
            reason = str(error) or type(error).__name__
            raise RowError(f"{self.where}: the template fails on this row: {reason}") from None


class _Parsed:
    """A template's tree and the names it needs; compiled on the first row, for `validate` has none."""

    def __init__(self, source: str) -> None:
        self.tree = _environment().parse(source)
        # finding the names generates all code, so that unknown filters and tests are told here too
        self.names = _needed(self.tree)

    @cached_property
    def compiled(self) -> Compiled:
        from jinja2 import Template as Compiled

        from marathon_eval.task.prompt.sandbox import bound

        bound(self.tree)
        environment = _environment()
        return Compiled.from_code(environment, environment.compile(self.tree), environment.make_globals(None))


@lru_cache(maxsize=256)
def _parsed(source: str) -> _Parsed:
    """Once per text: tasks that include one base share its templates."""
    return _Parsed(source)


class PlainText:
    """Text without Jinja marks: the column of exactly this name where the row has one, as in lm-eval, else itself."""

    names: frozenset[str] = frozenset()

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where

    def value(self, values: Mapping[str, Any]) -> Any:
        return values.get(self.text, self.text)


def from_row(source: str, where: str) -> FromRow:
    """An identifier is a column and must exist; `where` is `file:line: key`. Raises MarathonError."""
    if source.isidentifier():
        return RowValue(source, where)
    return Template(source, where) if "{" in source else PlainText(source, where)


def wording(source: str, where: str) -> FromRow:
    """Like `from_row`, for keys that mostly hold plain words: one word is that word unless rows have such a column."""
    return Template(source, where) if "{" in source else PlainText(source, where)


def check_names(rule: Named, known: Iterable[str]) -> None:
    """Raise MarathonError when the rule needs a name that no row of the whole dataset has."""
    names = set(known)
    for name in sorted(rule.names - names):
        raise MarathonError(
            f"{rule.where}: no row has '{name}'.{did_you_mean(name, names)} Rows have: {', '.join(sorted(names))}"
        )


@cache
def _environment() -> Environment:
    from marathon_eval.task.prompt.sandbox import Environment

    return Environment()


def _needed(tree: nodes.Template) -> frozenset[str]:
    """Names a row must give; those behind `is defined` or `default` may be absent."""
    from jinja2 import meta, nodes

    optional: set[str] = set()
    for node in tree.find_all((nodes.Test, nodes.Filter)):
        if node.name in ("defined", "undefined", "default", "d") and isinstance(node.node, nodes.Name):
            optional.add(node.node.name)
    return frozenset(meta.find_undeclared_variables(tree)) - optional


def _refuse_internals(tree: nodes.Template, where: str) -> None:
    """Refuse at load what the sandbox would only refuse on the first row."""
    from jinja2 import nodes

    reached = [node.attr for node in tree.find_all(nodes.Getattr) if node.attr.startswith("_")]
    texts = [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
    reached += [text for text in texts if _INTERNAL.fullmatch(text)]
    if reached:
        raise MarathonError(f"{where}: the template reaches for Python internals: '{reached[0]}'")
