"""Compares free texts by the words they share: F1 of the bags of words, the best over a row's targets.

Rajpurkar et al. 2016 (https://arxiv.org/abs/1606.05250) define it for English; here the language's normaliser splits words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.scoring.metrics.normalizers import Normalizer, normalizer_for


def token_f1(normalizer: Normalizer | None = None, language: str | None = None) -> Metric:
    """Build the mean of 2 shared / (said + gold) words; a row whose targets have no word is left out."""
    plain = normalizer_for(normalizer, language)

    def score(row: ScoredRow) -> float | None:
        said = Counter(plain(row.answer.value or "").split())
        golds = [Counter(plain(target).split()) for target in row.targets]
        values = [2 * (said & gold).total() / (said.total() + gold.total()) for gold in golds if gold]
        return max(values, default=None)

    return Mean("token_f1", score, counts_unscored=True, share=True)


TOKEN_METRICS: dict[str, Callable[..., Metric]] = {"token_f1": token_f1}
