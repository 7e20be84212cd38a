"""Tests error rates in 14 languages: against jiwer and plain dynamic programming, and what each normaliser keeps."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import jiwer
import pytest
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from helpers.minimal_task import make_task, write_task
from helpers.transcript_pairs import SENTENCES, pairs
from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import ScoredRow
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.validate_task import validate_task
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.metrics.normalizers import (
    LANGUAGES,
    UNSPACED_LANGUAGES,
    language_code,
    normalizer_for,
)

PAIRS = list(pairs())
METRIC_LIST = "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: wer}]\n"


def rate(name: str, language: str, *said: tuple[str, str]) -> float:
    metric = build_metric({"metric": name, "language": language}, "x")
    rows = [ScoredRow(Answer(text, "test"), gold, FilterContext(), "clip") for gold, text in said]
    found = metric.aggregate(rows)
    assert found is not None
    return found


def distance(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Levenshtein's distance by the textbook's table: what jiwer's bit-parallel code is held against."""
    row = list(range(len(hypothesis) + 1))
    for number, wanted in enumerate(reference, 1):
        above, row[0] = row[0], number
        for place, said in enumerate(hypothesis, 1):
            above, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, above + (wanted != said))
    return row[-1]


def test_there_are_enough_pairs() -> None:
    assert len(PAIRS) >= 200
    assert len(SENTENCES) == 14


@pytest.mark.parametrize("language", SENTENCES)
def test_corpus_rates_are_jiwers_and_a_plain_tables(language: str) -> None:
    said = [(gold, text) for code, gold, text in PAIRS if code == language]
    plain = normalizer_for(None, language)
    texts = [(" ".join(plain(gold).split()), " ".join(plain(text).split())) for gold, text in said]
    references, hypotheses = [pair[0] for pair in texts], [pair[1] for pair in texts]
    found = rate("wer", language, *said)
    assert found == pytest.approx(jiwer.wer(references, hypotheses), abs=1e-12)
    edits = sum(distance(gold.split(), text.split()) for gold, text in texts)
    assert found == pytest.approx(edits / sum(len(gold.split()) for gold in references), abs=1e-12)
    if language in UNSPACED_LANGUAGES:
        references = [gold.replace(" ", "") for gold in references]
        hypotheses = [text.replace(" ", "") for text in hypotheses]
    found = rate("cer", language, *said)
    assert found == pytest.approx(jiwer.cer(references, hypotheses), abs=1e-12)
    edits = sum(map(distance, references, hypotheses))
    assert found == pytest.approx(edits / sum(map(len, references)), abs=1e-12)
    assert 0 < found < 1


@pytest.mark.parametrize("language", SENTENCES)
def test_a_sentence_without_its_points_and_capitals_is_right(language: str) -> None:
    for sentence in SENTENCES[language]:
        small = sentence.translate(str.maketrans({"I": "ı", "İ": "i"})) if language == "tr" else sentence
        plain = small.lower().rstrip(".!?。？;؟।")
        assert rate("wer", language, (sentence, plain)) == 0
        assert rate("wer", language, (sentence, unicodedata.normalize("NFD", plain))) == 0


@pytest.mark.parametrize(
    ("language", "gold", "said", "wanted"),
    [
        ("de", "Um acht Uhr gehen wir um die Ecke", "acht Uhr gehen wir die Ecke", 2 / 8),
        ("de", "es ist schon da", "es ist schön da", 1 / 4),
        ("hi", "वह दिन", "वह दान", 1 / 2),
        ("th", "ฝน ตก ที่ นี่", "ฝน ตก ทา นี่", 1 / 4),
        ("he", "שָׁלוֹם לך", "שָׁלוֹם לו", 1 / 2),
        ("he", "צה״ל כאן", 'צה"ל כאן', 0),
        ("ar", "كَتَبَ الولد", "كُتِبَ الولد", 1 / 2),
        ("fa", "می\u200cخواهم", "میخواهم", 0),
        ("tr", "IŞIK İNCE", "ışık ince", 0),
        ("uk", "п'ять", "пʼять", 0),
        ("hi", "कमरा १२", "कमरा 12", 0),
        ("ta", "கல்", "கால்", 1),
        ("my", "မြန်မာ", "မြန်မာ။", 0),
    ],
)
def test_words_that_differ_in_a_mark_alone_differ(language: str, gold: str, said: str, wanted: float) -> None:
    assert rate("wer", language, (gold, said)) == pytest.approx(wanted)


WITH_MARKS = [
    code for code in sorted(LANGUAGES) if normalizer_for(None, code) is normalizer_for("keep_marks", None)
]


@pytest.mark.parametrize("language", WITH_MARKS)
def test_no_language_with_marks_loses_them(language: str) -> None:
    """Every mark of the Hebrew, Arabic, Indic, Thai and Lao blocks stays inside its word."""
    blocks = (*range(0x0591, 0x05BE), *range(0x064B, 0x0660), *range(0x0900, 0x0D80), *range(0x0E31, 0x0ECE))
    for code in blocks:
        if unicodedata.category(chr(code)) in ("Mn", "Mc"):
            assert len(normalizer_for(None, language)(f"क{chr(code)}क").split()) == 1, hex(code)


def test_languages_of_scripts_with_marks_keep_them() -> None:
    assert {"hi", "bn", "ta", "te", "th", "lo", "km", "my", "he", "ar", "fa", "ur", "ne", "si"} <= {
        *WITH_MARKS
    }


def test_unspaced_texts_have_rates_by_character() -> None:
    assert rate("cer", "zh", ("今天 下雨。", "今天下雪")) == pytest.approx(1 / 4)
    assert rate("cer", "de", ("ab cd", "abcd")) == pytest.approx(1 / 5)
    assert rate("cer", "en", ("hello", "")) == 1


def test_a_task_without_a_language_is_refused_with_the_list(tmp_path: Path) -> None:
    (line,) = validate_task(write_task(tmp_path, METRIC_LIST, [{"q": "?", "a": "x"}]), Registry().task_path)
    assert "own.yaml:5: metric 'wer': needs `language:` or `normalizer:`" in line
    assert "whisper_basic, keep_marks" in line
    assert "de, dv, el" in line


def test_the_tasks_language_is_each_error_rates_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"q": "?", "a": "我们走"}]
    task = make_task(tmp_path, METRIC_LIST + "language: Chinese\n", rows)
    spec = task.readings["none"].metrics[0].spec
    assert dict(spec) == {"metric": "wer", "language": "Chinese"}
    told = capsys.readouterr().err
    assert "own.yaml:5: metric_list: Chinese is written without spaces" in told
    assert "counts unspaced text as one word; use cer" in told
    make_task(tmp_path, METRIC_LIST.replace("wer", "cer") + "language: zh\n", rows)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("language: germn\n", r"own.yaml:6: language: no language 'germn'. Did you mean german\?"),
        ("normalizer: whisper\n", r"own.yaml:5: metric 'wer': normalizer: .*'keep_marks'"),
        ("language: hi\nnormalizer: whisper_basic\n", "removes or splits at marks of Hindi; use keep_marks"),
        ("language: de\nnormalizer: whisper_english\n", "whisper_english is for English"),
    ],
)
def test_wrong_languages_are_one_line(keys: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=message) as error:
        make_task(tmp_path, METRIC_LIST + keys)
    assert "\n" not in str(error.value)


def test_languages_have_several_names() -> None:
    assert [language_code(name) for name in ("pt-BR", "German", "cmn", "zh_TW", "yue-HK", "HE")] == [
        "pt",
        "de",
        "zh",
        "zh",
        "yue",
        "he",
    ]


@pytest.mark.parametrize(
    ("gold", "said"),
    [
        ("I don't know, it's fine", "I don’t know, it’s fine"),
        ("he's gone and they've left", "heʼs gone and they‘ve left"),
        ("the rock 'n' roll of O'Brien's", "the rock ’n’ roll of O’Brien’s"),
        ("hello there", "Hello there..."),
        ("hello there", "Hello there…"),
        ("hello there", "... hello... there . . ."),
        ("hello there (she waves)", "hello there."),
        ("hello there", "hel\u00adlo the\u200bre\ufeff"),
        ("it takes 3.5 hours", "It takes 3.5 hours.."),
    ],
)
def test_english_words_do_not_depend_on_typography(gold: str, said: str) -> None:
    assert rate("wer", "en", (gold, said)) == 0
    assert rate("wer", "en", (said, gold)) == 0
    assert rate("wer", "en", (gold, f"{said} word")) > 0


def test_other_languages_have_no_invisible_characters_in_words_either() -> None:
    assert rate("wer", "de", ("schöne Wörter da", "schö\u00adne Wörter\u2060 da…")) == 0


@pytest.mark.parametrize("name", ["whisper_english", "whisper_basic"])
def test_plain_texts_are_normalised_as_whispers_own_do(
    name: Literal["whisper_english", "whisper_basic"],
) -> None:
    own = {"whisper_english": EnglishTextNormalizer(), "whisper_basic": BasicTextNormalizer()}[name]
    for _, gold, said in PAIRS:
        for text in (gold, said):
            if text.isascii() and ".." not in text:
                assert normalizer_for(name, None)(text) == own(text)
