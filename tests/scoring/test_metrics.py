"""Tests metrics: F1 against scikit-learn, lm-eval's exact match, baselines, and refused entries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.metrics.build import build_metric, metric_names

LETTERS = ("A", "B", "C", "D")
ROW = FilterContext(("Cat", "Dog barking", "Frying", "Running water"), LETTERS)
OPEN = FilterContext()
LABELS = st.sampled_from(["A", "B", "C", "D", "E"])
TABLE = st.lists(st.tuples(LABELS, st.none() | LABELS), min_size=1, max_size=40)


def metric(called: str, /, **options: Any) -> Metric:
    return build_metric({"metric": called, **options}, "task.yaml:9")


def row(said: str | None, target: str | tuple[str, ...], context: FilterContext = OPEN) -> ScoredRow:
    return ScoredRow(Answer(said, "test"), target, context, "clip")


def rows(table: Sequence[tuple[str, str | None]]) -> list[ScoredRow]:
    return [row(said, gold) for gold, said in table]


def value(name: str, table: Sequence[tuple[str, str | None]], **options: Any) -> float:
    found = metric(name, **options).aggregate(rows(table))
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["accuracy", "acc", "exact_match"])
@pytest.mark.parametrize("gold", ["A", "C", "rain"])
@pytest.mark.parametrize("said", ["A", "C", "rain"])
def test_options_of_one_text_are_one_answer(name: str, said: str, gold: str) -> None:
    twice = FilterContext(choices=("rain", "wind", "rain"), letters=("A", "B", "C"))
    assert metric(name).score(row(said, gold, twice)) == 1.0
    assert metric(name).score(row("B", gold, twice)) == 0.0
    assert metric(name).score(row(said, "wind", twice)) == 0.0


@settings(max_examples=200, deadline=None)
@given(table=TABLE, average=st.sampled_from(["macro", "weighted"]))
def test_strict_f1_is_scikit_learns(table: list[tuple[str, str | None]], average: str) -> None:
    gold, said = [pair[0] for pair in table], [pair[1] or "none" for pair in table]
    known = f1_score(gold, said, labels=sorted(set(gold)), average=average, zero_division=0)
    assert value(f"{average}_f1", table) == pytest.approx(known, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(table=TABLE)
def test_binary_f1_is_scikit_learns(table: list[tuple[str, str | None]]) -> None:
    gold, said = [pair[0] for pair in table], [pair[1] or "none" for pair in table]
    known = f1_score([label == "A" for label in gold], [label == "A" for label in said], zero_division=np.nan)
    found = metric("f1", pos_label="A").aggregate(rows(table))
    assert (np.nan if found is None else found) == pytest.approx(known, abs=1e-12, nan_ok=True)


@settings(max_examples=50, deadline=None)
@given(tables=st.lists(TABLE, min_size=1, max_size=5))
def test_many_draws_at_once_are_each_alone(tables: list[list[tuple[str, str | None]]]) -> None:
    """A draw's labels are those right in that draw, although the counts were made for all rows together."""
    f1 = metric("macro_f1")
    counts = f1.counts(rows([pair for table in tables for pair in table]))
    ends = np.cumsum([len(table) for table in tables])
    sums = np.stack([part.sum(axis=0) for part in np.split(counts, ends[:-1])])
    assert f1.value(sums) == pytest.approx([value("macro_f1", table) for table in tables])


def test_an_unanswered_row_is_a_miss_and_no_false_alarm() -> None:
    # A: 1 of 2 found, no false alarm: 2/3. B: found, no false alarm: 1.
    assert value("macro_f1", [("A", "A"), ("A", None), ("B", "B")]) == pytest.approx((2 / 3 + 1) / 2)
    assert value("accuracy", [("A", "A"), ("A", None), ("B", "B")]) == pytest.approx(2 / 3)


def test_one_answer_for_all_gets_a_third_of_two_balanced_classes() -> None:
    assert value("macro_f1", [("real", "fake"), ("fake", "fake")]) == pytest.approx(1 / 3)


def test_labels_are_compared_without_case_and_outer_space() -> None:
    table = [("Male", "male "), ("male", "Male"), ("Female", "male")]
    assert value("accuracy", table) == pytest.approx(2 / 3)
    assert value("macro_f1", table) == pytest.approx((0.8 + 0) / 2)


@pytest.mark.parametrize("name", ["accuracy", "exact_match", "macro_f1", "set_f1"])
def test_an_accent_after_its_letter_makes_no_other_word(name: str) -> None:
    for said, target in (("cafe\u0301", "café"), ("café", "cafe\u0301"), ("가", "\u1100\u1161")):
        assert metric(name).aggregate([row(said, target)]) == 1
    assert metric(name).aggregate([row("cafe", "café")]) == 0


def test_a_letter_is_right_where_the_target_is_its_text_and_the_other_way_round() -> None:
    pairs = [
        row("B", "Dog barking", ROW),
        row("Frying", "C", ROW),
        row("A", "Dog barking", ROW),
        row(None, "C", ROW),
    ]
    assert [metric("accuracy").score(one) for one in pairs] == [1, 1, 0, 0]
    assert metric("macro_f1").aggregate(pairs) == pytest.approx(2 / 3)


def test_any_of_several_targets_is_right() -> None:
    assert metric("accuracy").score(row("rome", ("Oslo", "Rome"))) == 1
    assert metric("exact_match").score(row("Rome", ("Oslo", "Rome"))) == 1
    assert metric("exact_match").score(row("Paris", ("Oslo", "Rome"))) == 0


# Expected values were made by running lm-eval 0.4.13's exact_match_hf_evaluate.
@pytest.mark.parametrize(
    ("said", "target", "options", "score"),
    [
        ("42", "42", {}, 1),
        ("42 ", "42", {}, 0),
        ("Oslo", "oslo", {}, 0),
        ("Oslo", "oslo", {"ignore_case": True}, 1),
        ("oslo!", "oslo", {"ignore_punctuation": True}, 1),
        ("oslo2", "oslo", {"ignore_numbers": True}, 1),
        ("$1,000", "1000", {"regexes_to_ignore": [",", r"\$"]}, 1),
        ("#### 7.", "7", {"regexes_to_ignore": ["(?s).*#### ", r"\.$"]}, 1),
        (
            "The Oslo.",
            "oslo",
            {"ignore_case": True, "ignore_punctuation": True, "regexes_to_ignore": ["The "]},
            1,
        ),
    ],
)
def test_exact_match_is_lm_evals(said: str, target: str, options: dict[str, Any], score: float) -> None:
    assert metric("exact_match", **options).score(row(said, target)) == score


@pytest.mark.parametrize(
    ("said", "score"),
    [
        ("B", 1),
        ("b.", 1),
        ("Dog barking", 1),
        ("B. Dog barking", 1),
        ("(b) dog-barking", 1),
        ("The answer is B", 0),
        ("C. Dog barking", 0),
        ("Frying", 0),
        ("", 0),
        (None, 0),
    ],
)
@pytest.mark.parametrize("target", ["B", "Dog barking"])
def test_exact_match_of_options_takes_letter_text_or_both(
    said: str | None, score: float, target: str
) -> None:
    assert metric("exact_match", choice_forms=True).score(row(said, target, ROW)) == score


def test_parse_rate_chance_and_majority() -> None:
    table = [
        row("A", "A", ROW),
        row(None, "A", ROW),
        row("x", "A", FilterContext(("y", "n"))),
        row("B", "B", ROW),
    ]
    assert metric("parse_rate").aggregate(table) == 0.75
    assert metric("chance").aggregate(table) == pytest.approx((0.25 * 3 + 0.5) / 4)
    assert metric("majority").aggregate(table) == 0.75
    assert metric("majority").score(table[0]) is None
    assert metric("chance").aggregate([row("x", "y")]) is None


WXYZ = FilterContext(("w", "x", "y", "z"), LETTERS)
#: Golds of three rows, and what guessing and the best constant answer get.
SEVERAL: list[tuple[list[Any], float, float]] = [
    ([("w", "z"), ("x", "z"), ("y", "z")], 0.5, 1.0),
    ([("w", "z"), ("x", "D"), "z"], (0.5 + 0.5 + 0.25) / 3, 1.0),
    ([("D", "z"), ("A", "w"), ("A",)], 0.25, 2 / 3),
    ([("w", "x", "y", "z"), "B", "C"], (1 + 0.25 + 0.25) / 3, 2 / 3),
    ([("w", "x"), ("y", "z"), ("z", "x")], 0.5, 2 / 3),
]


@pytest.mark.parametrize(("golds", "guessing", "constant"), SEVERAL)
def test_chance_and_majority_count_every_right_answer(
    golds: list[Any], guessing: float, constant: float
) -> None:
    """They are the accuracy of a random and of the best constant answer, counted by accuracy itself."""
    rows = [[row(said, gold, WXYZ) for gold in golds] for said in LETTERS]
    by_letter = [metric("accuracy").aggregate(said) or 0.0 for said in rows]
    assert metric("majority").aggregate(rows[0]) == pytest.approx(max(by_letter)) == pytest.approx(constant)
    assert metric("chance").aggregate(rows[0]) == pytest.approx(sum(by_letter) / 4) == pytest.approx(guessing)


def test_options_that_share_the_right_text_are_guessed_more_often() -> None:
    dogs = FilterContext(("dog", "cat", "dog"), LETTERS[:3])
    by_letter = [metric("accuracy").aggregate([row(said, "dog", dogs)]) or 0.0 for said in LETTERS[:3]]
    assert metric("chance").aggregate([row("A", "dog", dogs)]) == pytest.approx(sum(by_letter) / 3)


@pytest.mark.parametrize(
    "name", ["accuracy", "macro_f1", "weighted_f1", "majority", "chance", "wer", "mean_wer"]
)
def test_no_rows_have_no_value(name: str) -> None:
    options = {"language": "de"} if "wer" in name else {}
    assert metric(name, **options).aggregate([]) is None


def test_names_and_directions() -> None:
    assert metric("acc").name == "acc"
    assert metric("accuracy", name="right").name == "right"
    assert metric("accuracy").higher_is_better
    assert not metric("wer", language="de").higher_is_better
    assert not metric("accuracy", higher_is_better=False, aggregation="mean").higher_is_better
    assert {"accuracy", "macro_f1", "wer", "exact_match", "audiomarathon.f1"} <= set(metric_names())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"metric": "acuracy"}, r"t.yaml:2: no metric 'acuracy'. Did you mean accuracy\?"),
        ({"metric": "acc_norm"}, r"'acc_norm' is not supported here: it needs likelihoods"),
        ({"metric": "bleu"}, r"'bleu' is not supported here: use evaluate:sacrebleu"),
        ({"metric": "wer", "normaliser": "none"}, r"'wer' takes no 'normaliser'. Did you mean normalizer\?"),
        ({"metric": "wer", "normalizer": "whisper"}, r"'wer': normalizer: .*whisper_english"),
        ({"metric": "acc", "aggregation": "median"}, r"aggregation 'median' is not supported here"),
        ({"metric": "acc", "name": "a\x1b[1m"}, r"'acc': name .* is not printable"),
        ({"aggregation": "mean"}, r"a metric is \{metric: name"),
        (
            {"metric": "evaluate:wer"},
            r"runs code that is not part of this package; write trust_remote_code: true",
        ),
    ],
)
def test_mistakes_are_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=message):
        build_metric(spec, "t.yaml:2")


HALVES = """
import datasets
import evaluate

class Halves(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description="", citation="", features=features)

    def _compute(self, predictions, references, right=1.0):
        return {"halves": right if predictions == references else 0.5}
"""


@pytest.mark.filterwarnings("ignore")
def test_a_metric_of_evaluate_by_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    folder = tmp_path / "halves"
    folder.mkdir()
    (folder / "halves.py").write_text(HALVES)
    with pytest.raises(MarathonError, match=r"set MARATHON_EVAL_TRUST_REMOTE_CODE=1 in the environment"):
        metric(f"evaluate:{folder}", trust_remote_code=True, right=0.9)
    monkeypatch.setenv("MARATHON_EVAL_TRUST_REMOTE_CODE", "1")
    halves = metric(f"evaluate:{folder}", trust_remote_code=True, right=0.9)
    assert halves.name == "halves"
    assert halves.aggregate([row("a", "a"), row("b", "a"), row(None, "a")]) == pytest.approx(
        (0.9 + 0.5 + 0.5) / 3
    )


@pytest.mark.filterwarnings("ignore")
def test_a_metric_of_evaluate_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARATHON_EVAL_TRUST_REMOTE_CODE", "1")
    with pytest.raises(MarathonError, match=r"task.yaml:9: metric 'evaluate:.*nothing' cannot be loaded"):
        metric(f"evaluate:{tmp_path / 'nothing'}", trust_remote_code=True)


class TestGoldsInTwoForms:
    """The same right answers, written as a letter in some rows and as the option's text in others."""

    ANSWERS = ("A", "B", "B", "A", "B", "B", "A")
    GOLDS = (0, 0, 1, 1, 0, 1, 0)

    def rows(self, forms: str) -> list[ScoredRow]:
        letters, texts = ("A", "B"), ("real", "fake")
        context = FilterContext(texts, letters)
        return [
            ScoredRow(Answer(answer, "x"), (letters if form == "l" else texts)[gold], context, "clip")
            for answer, gold, form in zip(self.ANSWERS, self.GOLDS, forms, strict=True)
        ]

    @pytest.mark.parametrize("name", ["macro_f1", "weighted_f1", "majority", "accuracy"])
    @pytest.mark.parametrize("forms", ["ttttttt", "ltltltl", "tltltlt", "tllllll", "ltttttt"])
    def test_are_one_class(self, name: str, forms: str) -> None:
        one = metric(name)
        assert one.aggregate(self.rows(forms)) == pytest.approx(one.aggregate(self.rows("lllllll")))

    def test_a_binary_label_is_found_in_both_forms(self) -> None:
        values = {
            (label, forms): metric("f1", pos_label=label).aggregate(self.rows(forms))
            for label in ("fake", "B")
            for forms in ("lllllll", "ttttttt", "ltltltl")
        }
        assert len(set(values.values())) == 1

    def test_golds_of_one_form_keep_their_classes(self) -> None:
        """Texts stay classes where every gold is a text, although their letters change from row to row."""
        swapped = FilterContext(("fake", "real"), ("A", "B"))
        rows = [*self.rows("ttttttt"), ScoredRow(Answer("A", "x"), "fake", swapped, "clip")]
        assert metric("majority").aggregate(rows) == pytest.approx(4 / 8)
