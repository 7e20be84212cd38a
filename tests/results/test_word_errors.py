"""Tests the counts of replaced, left out and added words: on which texts, with which memory, and how `show` prints them."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from jiwer import process_words

from helpers.minimal_task import HEARD, write_task
from marathon_eval.cli.main import main
from marathon_eval.results.word_errors import FrequentErrors, word_errors_of
from marathon_eval.scoring.metrics.wer import WER_METRICS, edits_of_entry


def sample(target: str | list[str], answer: str | None, **more: Any) -> dict[str, Any]:
    read = {"answer": answer, "rule": more.pop("rule", "verbatim")}
    return {"status": "ok", "target": target, "readings": {"heard": read}, **more}


def counted(rows: list[dict[str, Any]], metric: str = "wer", language: str = "de") -> dict[str, Any]:
    errors = word_errors_of(None, {"heard": {metric: {"metric": metric, "language": language}}}, "heard")
    assert errors is not None
    for row in rows:
        errors.add(row, "heard")
    return errors.facts(10)


def test_errors_are_counted_on_normalised_texts() -> None:
    rows = [
        sample("Um acht Uhr, um die Ecke.", "acht Uhr an die Ecke hier"),
        sample("Um acht.", "UM ACHT!"),
        sample("Um acht.", None, rule="empty"),
    ]
    facts = counted(rows)
    assert facts["deletions"] == [{"reference": "um", "count": 2}, {"reference": "acht", "count": 1}]
    assert facts["substitutions"] == [{"reference": "um", "heard": "an", "count": 1}]
    assert facts["insertions"] == [{"heard": "hier", "count": 1}]
    assert (facts["rows"], facts["reference_units"], facts["unit"]) == (3, 10, "words")


def test_rows_that_the_rate_leaves_out_are_left_out() -> None:
    rows = [
        sample("eins", "zwei", status="error"),
        sample("eins", None, rule="judge_failed"),
        sample("...", "zwei"),
        sample(["eins", "zwei"], "zwei"),
        {"status": "ok", "target": "eins", "readings": {}},
    ]
    facts = counted(rows)
    assert (facts["rows"], facts["substituted"], facts["inserted"]) == (1, 0, 0)


@pytest.mark.parametrize(
    ("metric", "unit"), [("cer", "characters"), ("mean_cer", "characters"), ("mean_wer", "words")]
)
def test_the_unit_is_that_of_the_metric(metric: str, unit: str) -> None:
    assert counted([sample("a b", "a c")], metric)["unit"] == unit


def test_languages_without_spaces_are_counted_by_characters() -> None:
    facts = counted([sample("今天 下雨。", "今天下雪")], "cer", "zh")
    assert facts["substitutions"] == [{"reference": "雨", "heard": "雪", "count": 1}]
    assert facts["reference_units"] == 4


def test_sums_are_jiwer_s() -> None:
    noise = random.Random(4)
    rows = [[" ".join(noise.choices("abcdef", k=30)) for _ in range(2)] for _ in range(20)]
    facts = counted([sample(gold, heard) for gold, heard in rows])
    found = process_words(*(list(texts) for texts in zip(*rows, strict=True)))
    assert [facts[name] for name in ("substituted", "deleted", "inserted")] == [
        found.substitutions,
        found.deletions,
        found.insertions,
    ]


def test_of_very_many_errors_the_frequent_ones_stay_and_the_bound_holds() -> None:
    noise, seen = random.Random(7), Counter[str]()
    errors = FrequentErrors[str](most=100)
    for number in range(20_000):
        word = "often" if number % 10 == 0 else f"rare{noise.randrange(5000)}"
        seen[word] += 1
        errors.add(word)
    (first, count), *_ = errors.most_frequent(5)
    assert first == "often"
    assert 0 <= seen["often"] - count <= errors.too_low_by
    assert errors.total == 20_000
    assert len(errors.most_frequent(1000)) <= 100


def test_every_error_rate_has_what_compares_its_texts_and_no_other_metric() -> None:
    for name in (*WER_METRICS, "audiomarathon.wer", "audiomarathon.wer_accuracy"):
        assert edits_of_entry({"metric": name, "language": "en"}) is not None
    earlier = edits_of_entry({"metric": "wer"})
    assert earlier is not None
    assert earlier.plain("It's") == "it is"
    assert edits_of_entry({"metric": "accuracy"}) is None
    assert edits_of_entry({"metric": "wer", "code": {"metrics/wer.py": "00"}}) is None


KEYS = HEARD + "language: de\nfilter_list: [{name: heard, filter: [{function: transcript}]}]\n"


def run_of(folder: Path, metric: str) -> Path:
    soundfile.write(folder / "a.wav", np.full(1000, 0.1), 1000)
    keys = f"{KEYS}metric_list: [{{metric: {metric}}}]\nheadline: {{reading: heard, metric: {metric}}}\n"
    rows = [{"q": "?", "a": text, "path": "a.wav"} for text in ("Um acht Uhr.", "Um neun Uhr.")]
    task = write_task(folder, keys, rows)
    command = ["--model", "dummy", "--model_args", "answer=acht Uhr", "--tasks", str(task)]
    where = ["--data_dir", str(folder), "--use_cache", str(folder / "cache")]
    assert main([*command, "-o", str(folder / "out"), *where]) == 0
    return folder / "out"


def test_show_lists_the_errors_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path, "wer")
    capsys.readouterr()
    assert main(["show", str(run), "--word_errors"]) == 0
    printed = capsys.readouterr().out
    assert "3 errors in 6 words of 2 rows" in printed
    assert "1 replaced, 2 left out, 0 added" in printed
    assert main(["show", str(run), "--word_errors", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)["tasks"].values()
    assert facts["substitutions"] == [{"reference": "um", "heard": "acht", "count": 1}]
    assert main(["show", str(run), "0", "--use_cache", str(tmp_path / "cache")]) == 0
    assert "compared by wer, after its normaliser\n  reference 'um acht uhr '" in capsys.readouterr().out


def test_show_says_where_there_are_no_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(tmp_path, "exact_match")
    capsys.readouterr()
    assert main(["show", str(run), "--word_errors"]) == 2
    assert "has no error rate, such as wer or cer" in capsys.readouterr().err
    assert main(["show", str(run), "--word_errors", "--wrong"]) == 2
    assert main(["show", str(run), "1", "--word_errors"]) == 2


def test_the_run_s_table_marks_error_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_of(tmp_path, "wer")
    printed = capsys.readouterr().out
    assert "wer ↓ *" in printed
    assert "↓ lower is better." in printed


def test_a_run_without_error_rates_has_no_mark(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_of(tmp_path, "exact_match")
    assert "↓" not in capsys.readouterr().out


@pytest.mark.parametrize(("metric", "falls"), [("cer", True), ("mae", True), ("accuracy", False)])
def test_ls_metrics_says_which_way_is_better(
    metric: str, falls: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ls", "metrics", metric]) == 0
    assert ("lower is better" in capsys.readouterr().out) == falls
