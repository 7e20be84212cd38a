"""Tests that scorers which cannot tell right from wrong are refused before weights load, and only those."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo import assistant_layouts, spoken_layouts
from helpers import (
    make_air_bench_mmar_data,
    make_audiomarathon_data,
    make_other_benchmarks,
)
from helpers.audiomarathon_prompts import load_shipped
from helpers.fuzz_cases import cases
from helpers.metric_rows import BY_COLUMN
from helpers.minimal_task import make_task, touch
from marathon_eval.api.registry import Registry, shipped_folder
from marathon_eval.evaluator.gold_spellings import spellings
from marathon_eval.evaluator.scorer_check import NEUTRAL, Checked, check_scorers
from marathon_eval.scoring.metrics.build import metric_names
from marathon_eval.task.task import Task, load_task

ALL = [
    path.stem
    for path in sorted(shipped_folder("task").glob("**/*.yaml"))
    if not path.name.startswith("_") and isinstance(load_task(path, Registry().task_path), Task)
]
FRUIT = [{"q": "?", "a": fruit} for fruit in ("apple", "pear", "fig")]
LETTERS = [{"q": "?", "a": letter, "c": ["dog", "cat", "owl", "hen"]} for letter in "BDA"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows for every shipped task, in the released layouts."""
    root = tmp_path_factory.mktemp("rows")
    make_audiomarathon_data.build(root, 10)
    make_air_bench_mmar_data.foundation(root, rows=3)
    make_air_bench_mmar_data.chat(root, rows=2)
    make_air_bench_mmar_data.mmar(root)
    (root / "MMAR-meta.json").write_text(
        json.dumps([json.loads(line) for line in (root / "MMAR-meta.jsonl").read_text().splitlines()])
    )
    make_air_bench_mmar_data.mmau(root)
    spoken_layouts.mmsu(root)
    spoken_layouts.big_bench_audio(root)
    spoken_layouts.voicegiraffe(root)
    make_other_benchmarks.mmau_parquet(root)
    assistant_layouts.mmau_pro(root)
    assistant_layouts.voicebench(root)
    assistant_layouts.blab(root)
    assistant_layouts.lat_bench(root)
    needles = [
        {"id": f"180_end_{n}", "path": f"{n}.wav", "question": "Which?", "answer_gt": "ABC"[n]}
        | {
            "choice_a": "dog",
            "choice_b": "cat",
            "choice_c": "owl",
            "choice_d": "hen",
            "seconds": 180,
            "place": "end",
            "kind": "dog",
        }
        for n in range(3)
    ]
    for name in ("needle", "needle_words"):
        (root / name).mkdir()
        (root / name / f"{name}.json").write_text(json.dumps(needles))
        for n in range(3):
            touch(root / name / f"{n}.wav")
    return root


#: Tasks whose rows have gold answers to check scorers with.
SCORED = [
    name
    for name in ALL
    if load_shipped(name).config.gold_is != "absent" and load_shipped(name).config.doc_to_target != ""
]


@pytest.mark.parametrize("name", SCORED)
def test_no_shipped_task_is_refused_and_none_goes_unchecked(
    name: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)  # MMSU's dataset_path is then the folder here
    task = load_shipped(name)
    copy = data / task.config.dataset_path
    rows = copy if (copy / "metadata.jsonl").is_file() else data
    docs = task.docs(str(rows), subset="full" if "full" in task.config.subsets else None).docs
    found = check_scorers(task, docs)
    assert found.faults == []
    assert found.untold == []
    if task.config.judge is None:
        assert found.telling


def checked(folder: Path, filters: Any, metric: Any, rows: Any = FRUIT, more: str = "") -> Checked:
    keys = (
        f"doc_to_text: q\ndoc_to_target: a\n{more}filter_list: [{{name: s, filter: {json.dumps(filters)}}}]\n"
    )
    task = make_task(folder, keys + f"metric_list: [{json.dumps(metric)}]\n", rows)
    return check_scorers(task, task.docs(str(folder)).docs)


CHOICE = "doc_to_choice: c\n"


@pytest.mark.parametrize(
    ("filters", "metric", "rows", "fault"),
    [
        (
            [{"function": "regex", "regex_pattern": "FINAL: ([0-9]+)"}],
            {"metric": "exact_match"},
            FRUIT,
            "never gives 1",
        ),
        (
            [{"function": "regex", "regex_pattern": "\\(([E-H])\\)"}],
            {"metric": "acc"},
            LETTERS,
            "never gives 1",
        ),
        ([{"function": "uppercase"}], {"metric": "exact_match"}, FRUIT, "never gives 1"),
        # of two groups the first is the answer
        (
            [{"function": "regex", "regex_pattern": "((?:final )?answer: )(\\w+)"}],
            {"metric": "exact_match"},
            FRUIT,
            "never gives 1",
        ),
        (
            [{"function": "map", "mapping_dict": {"yes": "1", "no": "0"}}],
            {"metric": "exact_match"},
            FRUIT,
            "never gives 1",
        ),
        (
            [{"function": "take_first"}],
            {"metric": "exact_match", "regexes_to_ignore": [".*"]},
            FRUIT,
            "gives 1 whatever is answered",
        ),
        (
            [{"function": "choice"}, {"function": "lowercase"}],
            {"metric": "exact_match"},
            LETTERS,
            "never gives 1",
        ),
        (
            [{"function": "audiomarathon.vox_gender"}],
            {"metric": "audiomarathon.accuracy"},
            FRUIT,
            "never gives 1",
        ),
        (
            [{"function": "regex", "regex_pattern": "words: ([0-9]{9})"}],
            {"metric": "wer", "language": "en"},
            FRUIT,
            "never gives 0",
        ),
    ],
)
def test_a_scorer_that_cannot_be_right_is_one_line(
    filters: Any, metric: Any, rows: Any, fault: str, tmp_path: Path
) -> None:
    more = CHOICE if rows is LETTERS else ""
    (line,) = checked(tmp_path, filters, metric, rows, more).faults
    assert "\n" not in line
    assert fault in line
    assert line.startswith(f"{tmp_path}/own.yaml:")
    assert f": own: {metric['metric'].removeprefix('audiomarathon.')} of the reading 's' " in line


NUMBERS = [{"q": "?", "a": "1,200"}, {"q": "?", "a": "$35"}, {"q": "?", "a": "-7"}]
SOLUTIONS = [{"q": "?", "a": "Twice 1,500 is 3,000. #### 3,000"}, {"q": "?", "a": "He pays $7.\\nSo #### 7"}]
IGNORED = [",", "\\$", "(?s).*#### ", "\\.$"]
#: Readings of lm-evaluation-harness' own tasks, and what else people write.
SOUND: list[tuple[Any, Any, Any]] = [
    ([{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}], {"metric": "exact_match"}, NUMBERS),
    (
        [{"function": "regex", "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)", "group_select": -1}],
        {"metric": "exact_match", "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"]},
        NUMBERS,
    ),
    (
        [{"function": "regex", "regex_pattern": "The answer is (\\-?[0-9\\.\\,]*[0-9]+)"}],
        {"metric": "exact_match", "regexes_to_ignore": [",", "\\$"]},
        NUMBERS,
    ),
    (
        [
            {"function": "take_first"},
            {"function": "regex", "regex_pattern": "The answer is (\\-?[0-9\\.\\,]*[0-9]+)"},
            {"function": "majority_vote"},
        ],
        {"metric": "exact_match", "regexes_to_ignore": IGNORED},
        SOLUTIONS,
    ),
    (
        [{"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"}],
        {"metric": "exact_match", "regexes_to_ignore": IGNORED, "ignore_case": True},
        SOLUTIONS,
    ),
    (
        [{"function": "regex", "regex_pattern": "(?<=the answer is )(.*)(?=.)"}, {"function": "take_first"}],
        {"metric": "exact_match"},
        FRUIT,
    ),
    (
        [{"function": "regex", "regex_pattern": "(?i)answer\\s*(?:is|:)\\s*\\(?\\b([A-D])\\b"}],
        {"metric": "acc"},
        LETTERS,
    ),
    ([{"function": "regex", "regex_pattern": "^\\s*([A-D])[.)]?\\s*$"}], {"metric": "acc"}, LETTERS),
    (
        [{"function": "regex", "regex_pattern": "<answer>(.*?)</answer>"}, {"function": "choice"}],
        {"metric": "acc"},
        LETTERS,
    ),
    ([{"function": "regex", "regex_pattern": "answer\\b.*?\\b([A-D])\\b"}], {"metric": "macro_f1"}, LETTERS),
    ([{"function": "regex", "regex_pattern": "\\w+"}], {"metric": "exact_match"}, FRUIT),
    ([{"function": "regex", "regex_pattern": "(?<=is )\\w+"}], {"metric": "exact_match"}, FRUIT),
    ([{"function": "regex", "regex_pattern": "(['\"]?)(\\w+)\\1!"}], {"metric": "exact_match"}, FRUIT),
    (
        [{"function": "regex", "regex_pattern": "(?!no)Final[^A-Za-z]+(\\w{2,})"}],
        {"metric": "exact_match"},
        FRUIT,
    ),
    ([{"function": "map", "mapping_dict": {"1": "apple", "2": "pear"}}], {"metric": "exact_match"}, FRUIT),
    (
        [
            {"function": "regex", "regex_pattern": "say (\\d)"},
            {"function": "map", "mapping_dict": {"1": "apple", "2": "pear"}},
        ],
        {"metric": "exact_match"},
        FRUIT,
    ),
    ([{"function": "choice_text"}], {"metric": "accuracy"}, LETTERS),
    (
        [{"function": "lowercase"}, {"function": "remove_whitespace"}],
        {"metric": "exact_match", "ignore_case": True},
        FRUIT,
    ),
    ([{"function": "take_first"}], {"metric": "exact_match", "choice_forms": True}, LETTERS),
    ([{"function": "transcript"}], {"metric": "wer", "language": "en"}, FRUIT),
    ([{"function": "transcript"}], {"metric": "wer_accuracy", "language": "en"}, FRUIT),
    ([{"function": "transcript"}], {"metric": "mean_wer", "language": "en"}, FRUIT),
    (
        [{"function": "regex_pos"}],
        {"metric": "exact_match"},
        [{"q": "?", "a": "NN VB"}, {"q": "?", "a": "DT"}],
    ),
    ([{"function": "format_span"}], {"metric": "exact_match"}, [{"q": "?", "a": "per: ann $ loc: bath"}]),
    ([{"function": "strip_reasoning"}], {"metric": "exact_match"}, FRUIT),
    (
        [{"function": "take_first"}],
        {"metric": "exact_match", "ignore_punctuation": True, "ignore_numbers": True},
        FRUIT,
    ),
    ([{"function": "take_first"}], {"metric": "parse_rate"}, FRUIT),
    ([{"function": "take_first"}], {"metric": "exact_match"}, []),
    ([{"function": "take_first"}], {"metric": "f1", "pos_label": "fig"}, FRUIT),
]


@pytest.mark.parametrize(("filters", "metric", "rows"), SOUND, ids=lambda value: str(value)[:50])
def test_a_scorer_that_can_be_right_is_not_refused(
    filters: Any, metric: Any, rows: Any, tmp_path: Path
) -> None:
    if not rows:
        (tmp_path / "rows.json").touch()
        task = make_task(tmp_path, "doc_to_text: q\ndoc_to_target: a\n", FRUIT)
        assert check_scorers(task, []).faults == []
        return
    assert checked(tmp_path, filters, metric, rows, CHOICE if rows is LETTERS else "").faults == []


def test_several_answers_of_a_row_are_voted_on(tmp_path: Path) -> None:
    more = "repeats: 3\ngeneration_kwargs: {temperature: 0.5}\n"
    filters = [{"function": "take_first_k", "k": 3}, {"function": "majority_vote"}]
    assert checked(tmp_path, filters, {"metric": "exact_match"}, more=more).telling == ["s: exact_match"]


def test_one_gold_answer_that_a_rule_misreads_is_no_reason_to_refuse(tmp_path: Path) -> None:
    rows = [{"q": "?", "a": "Apple"}, {"q": "?", "a": "fig"}]
    assert checked(tmp_path, [{"function": "lowercase"}], {"metric": "exact_match"}, rows).faults == []


def test_every_metric_is_checked_or_says_nothing_of_right_and_wrong(tmp_path: Path) -> None:
    """A new metric must tell rows like these apart, or stand in NEUTRAL."""
    known = set(metric_names())
    assert known >= NEUTRAL
    rates = ("wer", "wer_accuracy", "mean_wer", "cer", "cer_accuracy", "mean_cer", "token_f1")
    options: dict[str, dict[str, str]] = {"f1": {"pos_label": "fig"}, "blab.frames": {"kind": "entity"}}
    options |= {name: {"language": "en"} for name in rates}
    high = [{**row, "audio_path": "high/x", "answer_gt": row["c"]["ABCD".index(row["a"])]} for row in LETTERS]
    lettered = [
        {**row, **{f"choice_{place}": text for place, text in zip("abcd", row["c"], strict=True)}}
        for row in high
    ]
    worded = [{**row, "a": row["answer_gt"]} for row in high]
    for name in sorted(known - NEUTRAL):
        metric = {"metric": name, **options.get(name, {})}
        found = [
            checked(
                tmp_path, [{"function": function}], metric, rows, CHOICE if "c" in rows[0] else ""
            ).telling
            for function, rows in (
                ("choice", lettered),
                ("choice_text", worded),
                ("take_first", FRUIT),
                ("take_first", [{"q": "?", "a": [start, start + 5]} for start in (5, 70)]),
                ("take_first", [{"q": "?", "a": size} for size in (5, 70.5)]),
                ("take_first", [{"q": "?", "a": span} for span in ("00:05 - 00:10", "01:10 - 01:20")]),
                ("air_bench.letter", lettered),
                *(("take_first", rows) for rows in BY_COLUMN.get(name, ())),
            )
        ]
        assert any(found), name


PARTS = st.sampled_from(
    ["a", "Answer: ", "\\s*", "\\(?", "[.:]+", "(?:x|yy)", ".*?", "[^0-9]", "x{2,3}", "(?i:z)", "\\d"]
)


@cases(400)
@given(
    st.lists(PARTS, max_size=5),
    st.lists(PARTS, max_size=4),
    st.sampled_from(["(fig|pear)", "(?:(fig)|(pear))"]),
)
def test_a_pattern_is_written_so_that_it_captures_the_answer(
    before: list[str], behind: list[str], inner: str
) -> None:
    pattern = "".join([*before, inner, *behind])
    found = spellings([{"function": "regex", "regex_pattern": pattern}], ["fig"])
    assert found.complete
    assert any("fig" in match for text in found.texts for match in re.findall(pattern, text))
