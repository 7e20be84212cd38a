"""Compares free texts by the words they share: F1 of the bags of words, the best over a row's targets.

Rajpurkar et al. 2016 (https://arxiv.org/abs/1606.05250) define it for English; here the language's normaliser splits words.
In languages written without spaces each of their characters is a word, as in MLQA (Lewis et al. 2020,
https://arxiv.org/abs/1910.07475).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.scoring.filters.words import UNSPACED
from marathon_eval.scoring.metrics.normalizers import (
    UNSPACED_LANGUAGES,
    Normalizer,
    language_code,
    normalizer_for,
)

#: A character of a script without spaces, or a word of another one: "AI" in a Chinese text.
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")


def token_f1(normalizer: Normalizer | None = None, language: str | None = None) -> Metric:
    """Build the mean of 2 shared / (said + gold) words; a row whose targets have no word is left out."""
    plain = normalizer_for(normalizer, language)
    unspaced = language is not None and language_code(language) in UNSPACED_LANGUAGES

    def words(text: str) -> Counter[str]:
        return Counter(_WORD.findall(plain(text)) if unspaced else plain(text).split())

    def score(row: ScoredRow) -> float | None:
        said = words(row.answer.value or "")
        golds = [words(target) for target in row.targets]
        values = [2 * (said & gold).total() / (said.total() + gold.total()) for gold in golds if gold]
        return max(values, default=None)

    return Mean("token_f1", score, counts_unscored=True, share=True)


TOKEN_METRICS: dict[str, Callable[..., Metric]] = {"token_f1": token_f1}
