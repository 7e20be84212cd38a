"""Makes text from a row: the value of a column, or a Jinja2 template that is compiled once and runs in a sandbox.

Templates refuse undefined names and access to Python internals. Text that comes from the data is never parsed as a
template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from marathon_eval.api.own_code import OwnCode
from marathon_eval.api.task_functions import called, task_function
from marathon_eval.errors import MarathonError, RowError, did_you_mean
from marathon_eval.task.prompt.nulls import NullAsTextError, is_null, refuse_nulls_in_text

if TYPE_CHECKING:
    from jinja2 import Template as Compiled
    from jinja2 import nodes

    from marathon_eval.task.prompt.sandbox import Environment

_INTERNAL = re.compile(r"__\w+__")
#: Texts that a template remembers.
REMEMBERED = 256


class Named(Protocol):
    """Describes anything that needs columns of a row."""

    @property
    def names(self) -> frozenset[str]:
        """Return the names that rows must have; they are checked against the data before any request is sent."""

    @property
    def where(self) -> str:
        """Return `file:line: key` of the rule, for error messages."""


class FromRow(Named, Protocol):
    """Describes a rule that computes a value from one row."""

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the rule's value for a row. Raises RowError if the row lacks a name that it needs."""


class RowValue:
    """Reads one column of a row; the value may have any type."""

    def __init__(self, name: str, where: str) -> None:
        self.name = name
        self.where = where
        self.names = frozenset({name})

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the column's value. Raises RowError if the row lacks the column or has null there."""
        value = values.get(self.name)
        if value is None:
            if self.name in values:
                raise RowError(f"{self.where}: '{self.name}' is null in this row")
            raise RowError(f"{self.where}: the row has no '{self.name}'.{did_you_mean(self.name, values)}")
        return value


class Template:
    """Renders a Jinja2 template to text. Raises MarathonError if the template itself is invalid."""

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
        #: The text for the first values of all names that the template reads.
        self._remembered: dict[tuple[Any, ...], str] = {}

    def value(self, values: Mapping[str, Any]) -> str:
        """Return the text for one row. Raises RowError if rendering fails, MarathonError if the sandbox refuses.

        Rows with the same texts, such as a column of labels, are rendered once.
        """
        read = tuple(map(values.get, self._parsed.read))
        # other values may be equal and yet written otherwise, such as 1, 1.0 and True
        if not all(type(value) is str for value in read):
            return self._rendered(values)
        text = self._remembered.get(read)
        if text is None:
            text = self._rendered(values)
            if len(self._remembered) < REMEMBERED:
                self._remembered[read] = text
        return text

    def _rendered(self, values: Mapping[str, Any]) -> str:
        from jinja2.exceptions import SecurityError, TemplateError, UndefinedError

        from marathon_eval.task.prompt.repeatable import refuse_printed_addresses
        from marathon_eval.task.prompt.sandbox import with_budget

        try:
            text = with_budget(lambda: self._parsed.compiled.render(values))
            refuse_printed_addresses(text, values)
            return text
        except SecurityError as error:
            raise MarathonError(f"{self.where}: the template's sandbox refuses: {error}") from None
        except NullAsTextError:
            raise RowError(f"{self.where}: {self._null_in(values)}") from None
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

    def _null_in(self, values: Mapping[str, Any]) -> str:
        """Describe the null that the template would write as text, and how a template lets it be absent."""
        nulls = [name for name in self._parsed.read if is_null(values.get(name, ""))]
        if not nulls:
            return "it writes a value that is null in this row; `| default('', true)` writes nothing for it"
        name = nulls[0]
        what, instead = (
            ("", "| default('', true)")
            if values[name] is None
            else (" (nan)", f"if {name} == {name} else ''")
        )
        others = f" (or {', '.join(nulls[1:])})" if nulls[1:] else ""
        return (
            f"'{name}' is null in this row{what}{others}; `{{{{ {name} {instead} }}}}` writes nothing for it"
        )


class _Parsed:
    """Holds a template's tree and the names it needs. Compiles on the first row, since `validate` has no rows."""

    def __init__(self, source: str) -> None:
        self.tree = _environment().parse(source)
        _refuse_random(self.tree)
        from jinja2 import meta

        # finding the names generates all code, so unknown filters and tests raise here too
        self.read = tuple(sorted(meta.find_undeclared_variables(self.tree)))
        self.names = frozenset(self.read) - _optional(self.tree)

    @cached_property
    def compiled(self) -> Compiled:
        from jinja2 import Template as Compiled

        from marathon_eval.task.prompt.sandbox import bound

        refuse_nulls_in_text(self.tree)
        bound(self.tree)
        environment = _environment()
        # every rendering copies the globals, and a dict faster than the ChainMap that environment.make_globals returns
        return Compiled.from_code(environment, environment.compile(self.tree), environment.globals)


@lru_cache(maxsize=256)
def _parsed(source: str) -> _Parsed:
    """Parse each text once: tasks that include the same file share its templates."""
    return _Parsed(source)


class PlainText:
    """Gives the column of exactly this name if the row has one, as in lm-eval, else the text itself, unchanged."""

    names: frozenset[str] = frozenset()

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the column of this name, else the text."""
        return values.get(self.text, self.text) if self.text else ""


class RowFunction:
    """Computes a value from a row by a function of the task's own."""

    names: frozenset[str] = frozenset()

    def __init__(self, code: OwnCode, where: str) -> None:
        self.code = code
        self.where = where

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the function's value. Raises RowError if it fails, or returns None."""
        value = called(self.code, dict(values))
        if value is None:
            raise RowError(f"{self.where}: {self.code.name} returns None")
        return value


def from_row(source: str, where: str) -> FromRow:
    """Return the rule for a template or column name; `where` is `file:line: key`. Raises MarathonError.

    An identifier is the name of a column, which must exist.
    """
    if (code := task_function(source)) is not None:
        return RowFunction(code, where)
    if source.isidentifier():
        return RowValue(source, where)
    return Template(source, where) if "{" in source else PlainText(source, where)


def wording(source: str, where: str) -> FromRow:
    """Return the rule as `from_row` does, except that an identifier is plain text if rows have no such column."""
    return Template(source, where) if "{" in source else PlainText(source, where)


def check_names(rule: Named, available: Iterable[str]) -> None:
    """Raise MarathonError when the rule needs a name that no row of the whole dataset has."""
    names = set(available)
    for name in sorted(rule.names - names):
        raise MarathonError(
            f"{rule.where}: no row has '{name}'.{did_you_mean(name, names)} Rows have: {', '.join(sorted(names))}"
        )


@cache
def _environment() -> Environment:
    from marathon_eval.task.prompt.sandbox import Environment

    return Environment()


def _optional(tree: nodes.Template) -> set[str]:
    """Return the names that a row need not have: those tested with `is defined` or given a `default`."""
    from jinja2 import nodes

    optional: set[str] = set()
    for node in tree.find_all((nodes.Test, nodes.Filter)):
        if node.name in ("defined", "undefined", "default", "d") and isinstance(node.node, nodes.Name):
            optional.add(node.node.name)
    return optional


def _refuse_internals(tree: nodes.Template, where: str) -> None:
    """Raise MarathonError for internals at load, where the sandbox would refuse them only on the first row."""
    from jinja2 import nodes

    internals = [node.attr for node in tree.find_all(nodes.Getattr) if node.attr.startswith("_")]
    texts = [node.value for node in tree.find_all(nodes.Const) if isinstance(node.value, str)]
    internals += [text for text in texts if _INTERNAL.fullmatch(text)]
    if internals:
        raise MarathonError(f"{where}: the template uses Python internals: '{internals[0]}'")


def _refuse_random(tree: nodes.Template) -> None:
    """Raise TemplateSyntaxError for the filter that draws at random."""
    from jinja2 import TemplateSyntaxError, nodes

    for node in tree.find_all(nodes.Filter):
        if node.name == "random":
            raise TemplateSyntaxError(
                "the filter 'random' is not allowed: the prompt would differ between runs", node.lineno
            )
