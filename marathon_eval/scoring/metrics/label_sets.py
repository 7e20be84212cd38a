"""Compares sets of labels: F1, Jaccard index and equality for tasks with several right answers that all count.

The targets of a row are the set; elsewhere several targets mean that any of them is right. An answer lists its labels:
option letters or texts, in a JSON list, or separated by commas, semicolons, lines, slashes, bars or "and". Tests hold the
figures against scikit-learn's of `average="samples"` and `average="micro"`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.api.metric import Mean, Metric, NumberTally, ScoredRow, Tally
from marathon_eval.scoring.metrics.accuracy import same_label
from marathon_eval.scoring.metrics.classification import f1
from marathon_eval.scoring.metrics.stated import stated_parts

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SEPARATOR = lazy_pattern(r"\s*[,;|/\n、،，；]\s*(?:and\s+|or\s+)?|\s+(?:and|&)\s+", re.IGNORECASE)
_BULLET = lazy_pattern(r"^\s*(?:[-*•·]\s+|#?\d{1,2}[.):]\s+)")
#: A letter with what it is: "option A", "choice (b)".
_NAMED = lazy_pattern(r"(?:option|choice|label)\s+\(?(\w{1,2})\)?")
_LETTERED = lazy_pattern(r"(?:(?:option|choice|label)\s+)?\(?(\w{1,2})[.):]+\s*(.+)")
_EDGES = " \t*_`\"'“”„‘’«»[]{}"
_NOTHING = frozenset(("", "none", "nothing", "no label", "n/a"))


def listed_labels(text: str, row: ScoredRow) -> list[str]:
    """Return the labels that a text lists, in order and each once; an option's letter or text becomes its text.

    They stand in the last part that states an answer: with options, in the last one that names any of them.
    """
    listed: list[str] | None = None
    options = {same_label(option) for option in row.context.choices}
    for stated in stated_parts(text, remarks_last=not options):
        labels = list(
            dict.fromkeys(label for part in _parts(stated.strip(), row) for label in _canonical(part, row))
        )
        if not options or not options.isdisjoint(labels):
            return labels
        listed = labels if listed is None else listed
    return listed or []


def gold_labels(row: ScoredRow) -> list[str]:
    """Return the labels of the row's targets; a single target may list several."""
    if len(row.targets) == 1:
        return listed_labels(row.targets[0], row)
    return list(dict.fromkeys(label for target in row.targets for label in _canonical(target, row)))


def _parts(text: str, row: ScoredRow) -> Iterator[str]:
    listed = _json_list(text)
    if listed is not None:
        yield from listed
        return
    # labels that hold a separator themselves are found before the text is split
    known = sorted({*row.context.choices, *row.targets}, key=len, reverse=True)
    known = (
        [label for label in known if _SEPARATOR.search(label)]
        if len(row.targets) > 1 or row.context.choices
        else []
    )
    pattern = "|".join(rf"(?<!\w){re.escape(label)}(?!\w)" for label in known)
    place = 0
    for found in re.finditer(pattern, text, re.IGNORECASE) if pattern else ():
        yield from _SEPARATOR.split(text[place : found.start()])
        yield found.group()
        place = found.end()
    yield from _SEPARATOR.split(text[place:])


def _json_list(text: str) -> list[str] | None:
    if not text.startswith("["):
        return None
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return [str(item) for item in loaded] if isinstance(loaded, list) else None


def _canonical(part: str, row: ScoredRow) -> list[str]:
    """Return a listed part as labels: none, one, or several for letters written together ("ACD", "A C")."""
    choices, letters = row.context.choices, row.context.letters
    options = {same_label(text): place for place, text in enumerate(choices)}
    names = {same_label(letter): place for place, letter in enumerate(letters)}
    for text in (
        part,
        _BULLET.sub("", part).strip(_EDGES),
        _BULLET.sub("", part).strip(_EDGES).rstrip(".!。"),
    ):
        if text in letters and not row.context.free_gold:
            return [same_label(choices[letters.index(text)])]
        plain = same_label(text)
        bare = plain.strip("()").rstrip(".):")
        bare = named[1] if (named := _NAMED.fullmatch(bare)) else bare
        if plain in options or bare in names:
            return [same_label(choices[options.get(plain, names.get(bare, -1))])]
        lettered = _LETTERED.fullmatch(plain)
        if lettered and lettered[1] in names and options.get(lettered[2]) == names[lettered[1]]:
            return [lettered[2]]
        if letters and all(sign in letters for sign in text.split() or ["?"]):
            return [same_label(choices[letters.index(sign)]) for sign in text.split()]
        if letters and len(text) > 1 and len({*text}) == len(text) and all(sign in letters for sign in text):
            return [same_label(choices[letters.index(sign)]) for sign in text]
    return [] if plain in _NOTHING else [plain]


class _Sizes:
    """Holds how many labels of a row are right, said, and gold."""

    def __init__(self, row: ScoredRow) -> None:
        gold = {*gold_labels(row)}
        said = {*listed_labels(row.answer.value, row)} if row.answer.value is not None else set()
        self.right, self.said, self.gold = len(gold & said), len(said), len(gold)

    @property
    def f1(self) -> float:
        """Return 2 right / (said + gold)."""
        return 2 * self.right / (self.said + self.gold)


def _mean_over_rows(name: str, value: Callable[[_Sizes], float]) -> Metric:
    def score(row: ScoredRow) -> float | None:
        sizes = _Sizes(row)
        return value(sizes) if sizes.gold else None

    return Mean(name, score, counts_unscored=True, share=True)


class MicroSetF1(Metric):
    """Computes F1 over all labels of all rows together."""

    name = "set_f1"
    counts_unscored = True
    share = True

    def score(self, row: ScoredRow) -> float | None:
        sizes = _Sizes(row)
        return sizes.f1 if sizes.gold else None

    def tally(self) -> Tally:
        """Return a tally of [right, said, gold]."""
        return NumberTally(3, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> tuple[int, int, int]:
        sizes = _Sizes(row)
        return (0, 0, 0) if score is None else (sizes.right, sizes.said, sizes.gold)

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return f1(sums[:, 0], sums[:, 1], sums[:, 2])


def set_f1(average: Literal["samples", "micro"] = "samples") -> Metric:
    """Build the F1 of said and gold labels: the mean over rows (samples), or over all labels together (micro)."""
    return MicroSetF1() if average == "micro" else _mean_over_rows("set_f1", lambda sizes: sizes.f1)


def jaccard() -> Metric:
    """Build the mean of |said and gold| / |said or gold|."""
    return _mean_over_rows("jaccard", lambda sizes: sizes.right / (sizes.said + sizes.gold - sizes.right))


def exact_set() -> Metric:
    """Build the share of rows with all gold labels and no other."""
    return _mean_over_rows("exact_set", lambda sizes: float(sizes.right == sizes.said == sizes.gold))


SET_METRICS: dict[str, Callable[..., Metric]] = {
    factory.__name__: factory for factory in (set_f1, jaccard, exact_set)
}
