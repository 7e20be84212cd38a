"""Tests where the gold of a predictions file comes from, and how its rows are joined with the data set's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import make_air_bench_mmar_data
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.rescore.score_predictions import Predicted, score_predictions

TASK = """dataset_path: json
dataset_kwargs: {data_files: rows.jsonl}
doc_to_text: "{{ q }}"
doc_to_target: answer
filter_list:
  - {name: said, filter: [{function: take_first}]}
metric_list: [{metric: exact_match}]
headline: {reading: said, metric: exact_match, scale: 100}
"""
Rows = list[dict[str, Any]]
ROWS: Rows = [{"id": number, "q": f"q{number}", "answer": f"gold{number}"} for number in range(1, 5)]


def lines(path: Path, rows: Rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def scored(folder: Path, predictions: Rows, data: Rows | None = ROWS, key: str | None = None) -> Predicted:
    task = folder / "mine.yaml"
    task.write_text(TASK)
    if data is not None:
        lines(folder / "rows.jsonl", data)
    given = str(folder) if data is not None else None
    return score_predictions([str(task)], lines(folder / "p.jsonl", predictions), data_dir=given, key=key)


def right(found: Predicted) -> list[float | None]:
    """Return each row's score; None for a row without a prediction."""
    return [
        row.readings["said"].scores["exact_match"] if row.readings else None
        for row in found.result.samples["mine"]
    ]


def test_gold_comes_from_the_data_set_where_both_have_the_column(tmp_path: Path) -> None:
    predictions = [{"id": row["id"], "answer": "wrong", "response": "wrong"} for row in ROWS]
    found = scored(tmp_path, predictions)
    assert right(found) == [0, 0, 0, 0]
    assert found.notes == (
        f"mine: the gold (answer) is that of the dataset in {tmp_path}, not of the predictions file",
    )


def test_one_row_with_the_column_changes_nothing(tmp_path: Path) -> None:
    predictions = [{"id": row["id"], "response": row["answer"]} for row in ROWS]
    predictions[2]["answer"] = "x"
    assert right(scored(tmp_path, predictions)) == [1, 1, 1, 1]


def test_a_prediction_under_the_name_of_the_target_is_no_gold(tmp_path: Path) -> None:
    predictions = [{"id": row["id"], "answer": row["answer"]} for row in ROWS]
    assert right(scored(tmp_path, predictions, key="answer")) == [1, 1, 1, 1]
    with pytest.raises(MarathonError, match=r"\(answer\), and 'answer' holds the prediction; --data_dir"):
        scored(tmp_path, predictions, data=None, key="answer")


def test_a_file_with_a_part_of_the_gold_is_refused_without_a_data_set(tmp_path: Path) -> None:
    predictions = [{**row, "response": row["answer"]} for row in ROWS]
    del predictions[1]["answer"]
    with pytest.raises(MarathonError, match="1 of 4 rows, the first of them row 1, lack the fields"):
        scored(tmp_path, predictions, data=None)


def test_a_file_that_is_the_data_set_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = scored(tmp_path, [{**row, "response": row["answer"]} for row in ROWS], data=None)
    assert found.notes == ("mine: the gold (answer) is that of the predictions file: no --data_dir is given",)
    command = ["score", "--tasks", str(tmp_path / "mine.yaml"), "--predictions", str(tmp_path / "p.jsonl")]
    assert main(command) == 0
    assert f"marathon-eval: {found.notes[0]}\n" in capsys.readouterr().err


PREDICTED: Rows = [{"id": number, "response": f"gold{number}"} for number in (1, 2, 3)]


def test_an_id_that_two_rows_have_is_refused(tmp_path: Path) -> None:
    data = [*ROWS[:2], {**ROWS[2], "id": 2}, {**ROWS[3], "id": 3}]
    with pytest.raises(MarathonError, match="id '2' is that of rows 1, 2.*as 'doc_id'"):
        scored(tmp_path, PREDICTED, data)
    by_number = [{**row, "doc_id": place} for place, row in enumerate(PREDICTED)]
    found = scored(tmp_path, by_number, data)
    assert right(found) == [1, 1, 1, None]
    assert "'doc_id' of the predictions file is taken as the row's number, from 0" in found.notes[0]


def test_an_id_that_two_rows_have_hinders_no_other(tmp_path: Path) -> None:
    data = [*ROWS[:3], {**ROWS[3], "id": 9}, {**ROWS[3], "id": 9}]
    assert right(scored(tmp_path, PREDICTED, data)) == [1, 1, 1, None, None]


def test_a_row_without_an_id_has_no_prediction(tmp_path: Path) -> None:
    data = [ROWS[0], ROWS[1], {**ROWS[3], "id": None}, ROWS[2]]
    assert right(scored(tmp_path, PREDICTED, data)) == [1, 1, None, 1]


@pytest.mark.parametrize("name", ["id", "idx", "sample_id", "doc_id"])
def test_a_column_goes_before_the_row_number(tmp_path: Path, name: str) -> None:
    data = [{name: row["id"], "q": row["q"], "answer": row["answer"]} for row in ROWS]
    predictions = [{name: row["id"], "response": row["response"]} for row in PREDICTED]
    assert right(scored(tmp_path, predictions, data)) == [1, 1, 1, None]
    with pytest.raises(MarathonError, match="no prediction matches a row of mine"):
        scored(tmp_path, [{name: 0, "response": "x"}], data)


def test_rows_without_ids_are_joined_by_number_with_a_note(tmp_path: Path) -> None:
    data = [{"q": row["q"], "answer": row["answer"]} for row in ROWS]
    found = scored(tmp_path, PREDICTED, data)
    assert right(found) == [None, 0, 0, 0]
    assert found.notes == ("mine: 'id' of the predictions file is taken as the row's number, from 0",)


def test_each_task_of_a_group_takes_its_own_predictions(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.foundation(tmp_path / "data")
    predictions = [{"uniq_id": row["uniq_id"], "response": "A"} for row in rows]
    path = lines(tmp_path / "p.jsonl", predictions)
    by_id = score_predictions(["air_bench_foundation"], path, data_dir=str(tmp_path / "data")).result
    path = lines(tmp_path / "p.jsonl", [{**row, "response": "A"} for row in rows])
    whole_rows = score_predictions(["air_bench_foundation"], path, data_dir=str(tmp_path / "data")).result
    assert len(by_id.tasks) > 1
    assert by_id.whole
    assert {name: task.readings for name, task in by_id.tasks.items()} == {
        name: task.readings for name, task in whole_rows.tasks.items()
    }


def test_own_code_of_a_trusted_task_scores_predictions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.py").write_text("def gold(doc):\n    return doc['answer']\n")
    task = tmp_path / "mine.yaml"
    task.write_text(TASK.replace("doc_to_target: answer", "doc_to_target: !function own.gold"))
    lines(tmp_path / "rows.jsonl", ROWS)
    predictions = lines(tmp_path / "p.jsonl", [{"id": row["id"], "response": row["answer"]} for row in ROWS])
    command = ["score", "--tasks", str(task), "--predictions", str(predictions), "--data_dir", str(tmp_path)]
    assert main(command) == 2
    assert "trust_task_code" in capsys.readouterr().err
    assert main([*command, "--trust_task_code", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"]["mine"]["said"]["exact_match"]["value"] == 1
