"""Tests word error rates: counts by hand, corpus rates against jiwer, and each normaliser."""

from __future__ import annotations

from typing import Any

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.scoring.filters.build import build_pipeline
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.metrics.wer import CorpusWER, Edits, edits

TEXT = st.lists(st.sampled_from(["a", "b", "c", "dog"]), min_size=1, max_size=12).map(" ".join)


def metric(name: str, **options: Any) -> Metric:
    return build_metric({"metric": name, **(options or {"language": "en"})}, "x")


def row(said: str | None, target: str | tuple[str, ...]) -> ScoredRow:
    return ScoredRow(Answer(said, "test"), target, FilterContext(), "clip")


def test_edits_by_hand() -> None:
    assert edits("the bell rang", "the ball rang loud") == Edits(1, 0, 1, 3)
    assert edits("the bell rang", "bell") == Edits(0, 2, 0, 3)
    assert edits("the bell rang", "") == Edits(0, 3, 0, 3)
    assert edits("", "two words") == Edits(0, 0, 2, 0)
    assert edits("same words", "same words") == Edits(0, 0, 0, 2)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
def test_corpus_wer_is_jiwers(pairs: list[tuple[str, str]]) -> None:
    found = metric("wer", normalizer="none").aggregate([row(said, target) for target, said in pairs])
    assert found == pytest.approx(jiwer.wer([pair[0] for pair in pairs], [pair[1] for pair in pairs]))


def test_the_corpus_weighs_words_and_the_mean_utterances() -> None:
    rows = [row("x", "a"), row("b c d e f g h i j", "b c d e f g h i j")]
    assert metric("wer").aggregate(rows) == pytest.approx(1 / 10)
    assert metric("mean_wer").aggregate(rows) == pytest.approx(1 / 2)
    assert metric("wer_accuracy").aggregate(rows) == pytest.approx(9 / 10)


def test_kinds_of_edits_add_up() -> None:
    rows = [row("the ball rang loud", "the bell rang"), row("bell", "the bell rang")]
    parts = [
        metric(name).aggregate(rows) for name in ("substitution_rate", "deletion_rate", "insertion_rate")
    ]
    assert parts == pytest.approx([1 / 6, 2 / 6, 1 / 6])
    assert sum(part or 0 for part in parts) == pytest.approx(metric("wer").aggregate(rows))


@pytest.mark.parametrize(
    "text", ["It is a greeting.</think>hello", "<think>It is a greeting.</think>hello", "hello"]
)
def test_a_thought_adds_no_errors(text: str) -> None:
    pipeline = build_pipeline({"name": "strict", "filter": [{"function": "transcript"}]}, "x")
    answer = pipeline.apply([text], FilterContext())
    assert metric("wer").aggregate([ScoredRow(answer, "hello", FilterContext(), "clip")]) == 0


def test_no_answer_deletes_every_word() -> None:
    assert metric("wer").score(row(None, "the bell rang")) == 1
    assert metric("wer").aggregate([row(None, "the bell rang"), row("oh", "oh")]) == pytest.approx(3 / 4)


def test_wer_exceeds_one_and_its_accuracy_goes_below_zero() -> None:
    assert metric("wer").score(row("red blue green dog", "dog")) == 3
    assert metric("wer_accuracy").aggregate([row("red blue green dog", "dog")]) == pytest.approx(-2)


def test_the_nearest_of_several_references_counts() -> None:
    several = metric("wer")
    assert isinstance(several, CorpusWER)
    assert several.edits(row("the bell", ("a dog barks", "the bell rang"))) == Edits(0, 1, 0, 3)


@pytest.mark.parametrize(
    ("normalizer", "rate"),
    [("whisper_english", 0.0), ("whisper_basic", 3 / 5), ("audiomarathon", 2 / 4), ("none", 3 / 4)],
)
def test_normalisers(normalizer: str, rate: float) -> None:
    # Whisper's English one knows numbers and spellings, the light ones only case and points
    said, target = "The colour is 23.", "the color is twenty-three"
    assert metric("wer", normalizer=normalizer).score(row(said, target)) == pytest.approx(rate)


def test_a_reference_without_words_is_left_out() -> None:
    rows = [row("two words", " "), row("a b", "a")]
    assert metric("wer", normalizer="none").aggregate(rows) == pytest.approx(1.0)
    assert metric("wer", normalizer="none").score(rows[0]) is None
