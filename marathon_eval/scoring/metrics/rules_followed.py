"""Scores how many of a row's instructions about form an answer follows, as IFEval does, strictly and loosely.

Strictly, the answer is checked as it is. Loosely, a rule counts as followed if any of eight readings follows it: the answer
with or without its first line, its last line and its asterisks. Source: https://arxiv.org/abs/2311.07911, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.metric import Metric, NumberTally, ScoredRow, Tally, ratio
from marathon_eval.errors import RowError, did_you_mean
from marathon_eval.scoring.metrics.form_rules import FORM_RULES, RuleArguments

if TYPE_CHECKING:
    from numpy.typing import NDArray

Per = Literal["row", "rule", "mean_of_four"]


class RulesFollowed(Metric):
    """Computes the share of rows, or of rules, that are followed, or the mean of the strict and loose shares of both."""

    name = "rules_followed"
    share = True

    def __init__(self, rules: str, arguments: str, per: Per, loose: bool) -> None:
        self._columns = rules, arguments
        self._per, self._loose = per, loose

    def score(self, row: ScoredRow) -> float:
        """Return the row's own share: for `mean_of_four` the mean of the row's four. Raises RowError for a bad rule."""
        rows, rules, loose_rows, loose_rules, count = self._numbers(row)
        if self._per == "mean_of_four":
            return (rows + loose_rows + (rules + loose_rules) / count) / 4
        if self._per == "row":
            return loose_rows if self._loose else rows
        return (loose_rules if self._loose else rules) / count

    def tally(self) -> Tally:
        """Return a tally of [row followed, rules followed, both loosely, rules, rows]."""
        return NumberTally(6, lambda row, score: (*self._numbers(row), 1.0))

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        of_rows, of_rules = sums[:, 5], sums[:, 4]
        strict = ratio(sums[:, 0], of_rows), ratio(sums[:, 1], of_rules)
        loose = ratio(sums[:, 2], of_rows), ratio(sums[:, 3], of_rules)
        if self._per == "mean_of_four":
            mean: NDArray[Any] = (strict[0] + strict[1] + loose[0] + loose[1]) / 4
            return mean
        return (loose if self._loose else strict)[self._per == "rule"]

    def _numbers(self, row: ScoredRow) -> tuple[float, float, float, float, float]:
        checks = _checks(row, *self._columns)
        text = row.answer.value or ""
        strict = [_follows(text, check) for check in checks]
        readings = _loose_readings(text)
        loose = [any(_follows(each, check) for each in readings) for check in checks]
        return float(all(strict)), sum(strict), float(all(loose)), sum(loose), len(checks)


def _follows(text: str, check: Callable[[str], bool]) -> bool:
    # a blank answer follows nothing
    return bool(text.strip()) and check(text)


def _loose_readings(text: str) -> list[str]:
    lines = text.split("\n")
    cuts = [
        "\n".join(lines[start : len(lines) - end]).strip()
        for start, end in product((0, 1), (0, 1))
        if start or end
    ]
    readings = [text, *cuts]
    return [*readings, *(reading.replace("*", "") for reading in readings)]


def _checks(row: ScoredRow, rules: str, arguments: str) -> list[Callable[[str], bool]]:
    """Return the checks of a row. Raises RowError for an unknown rule, and for lists of unequal length."""
    names, given = _listed(row, rules), _arguments(row, arguments)
    if len(given) != len(names):
        raise RowError(
            f"column '{arguments}' has {len(given)} entries for the {len(names)} rules of '{rules}'"
        )
    return [_check(str(name), each) for name, each in zip(names, given, strict=True)]


def _check(name: str, given: Mapping[str, Any]) -> Callable[[str], bool]:
    if name not in FORM_RULES:
        raise RowError(
            f"there is no rule '{name}'.{did_you_mean(name, FORM_RULES)} Rules: {', '.join(sorted(FORM_RULES))}"
        )
    arguments = RuleArguments(name, given)
    return lambda text: FORM_RULES[name](text, arguments)


def _listed(row: ScoredRow, column: str) -> Sequence[Any]:
    value = row.fields.get(column)
    value = [value] if isinstance(value, str) else value
    if not isinstance(value, (list, tuple)) or not value:
        raise RowError(f"column '{column}' must hold a list of rules, got {value!r}")
    return value


def _arguments(row: ScoredRow, column: str) -> list[Mapping[str, Any]]:
    value = row.fields.get(column)
    value = [value] if isinstance(value, Mapping) else value
    if not isinstance(value, (list, tuple)) or not all(
        each is None or isinstance(each, Mapping) for each in value
    ):
        raise RowError(f"column '{column}' must hold a mapping of arguments for each rule, got {value!r}")
    return [each or {} for each in value]


def rules_followed(
    rules: str = "instruction_id_list", arguments: str = "kwargs", per: Per = "row", loose: bool = False
) -> Metric:
    """Build the share of rows that follow all their rules (per: row), or of rules that are followed (per: rule).

    `rules` and `arguments` name the columns with each row's rules and their arguments; a blank answer follows none. `loose`
    also tries the answer without its first line, its last line and its asterisks. `mean_of_four` is the mean of the
    strict and loose shares of rows and of rules.
    """
    return RulesFollowed(rules, arguments, per, loose)


RULE_METRICS: dict[str, Callable[..., Metric]] = {"rules_followed": rules_followed}
