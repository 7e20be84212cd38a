"""Tests predictions files: reading and writing the official formats, and errors for unusable files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import make_air_bench_mmar_data, make_audiomarathon_data
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.rescore.score_predictions import Predicted, score_predictions
from marathon_eval.scoring.released import air_bench, mmar, mmau

PARITY = Path(__file__).resolve().parents[1] / "parity"
Rows = list[dict[str, Any]]


def cases(name: str) -> Rows:
    rows: Rows = json.loads((PARITY / f"{name}.json").read_text(encoding="utf-8"))["items"]
    return rows


def written(path: Path, rows: Any) -> Path:
    lines = isinstance(rows, list) and path.suffix == ".jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n" if lines else json.dumps(rows), encoding="utf-8")
    return path


def scored(path: Path, *tasks: str, **settings: Any) -> Predicted:
    return score_predictions(tasks, path, **settings)


def verdicts(found: Predicted, task: str, metric: str = "accuracy") -> list[float | None]:
    return [sample.readings["paper"].scores[metric] for sample in found.result.samples[task]]


@pytest.mark.parametrize(("name", "suffix"), [("mmar", "jsonl"), ("mmar", "json"), ("mmau", "json")])
def test_shared_cases_by_file(tmp_path: Path, name: str, suffix: str) -> None:
    rows = cases(name)
    found = scored(written(tmp_path / f"p.{suffix}", rows), name)
    assert verdicts(found, name) == [float(row["verdict"]) for row in rows]
    right = sum(row["verdict"] for row in rows)
    assert f"Total Accuracy: {right / len(rows) * 100:.2f}% over {len(rows)} samples" in found.printout
    assert found.result.tasks[name].readings["paper"]["accuracy"].value == right / len(rows)


def test_shared_air_bench_cases_by_file(tmp_path: Path) -> None:
    rows = cases("airbench")
    found = scored(written(tmp_path / "p.jsonl", rows), "air_bench_foundation")
    wanted = {"correct": 1.0, "wrong": 0.0, "dropped": None, "abort": 0.0}
    scores = {
        sample.doc_id: sample.readings["paper"].scores
        for samples in found.result.samples.values()
        for sample in samples
    }
    assert [scores[number]["accuracy"] for number in range(len(rows))] == [
        wanted[row["verdict"]] for row in rows
    ]
    stopped = [row["verdict"] == "abort" for row in rows]
    assert [bool(scores[number]["invalid"]) for number in range(len(rows))] == stopped
    assert found.printout[-1] == f"fail_num: {sum(row['verdict'] == 'dropped' for row in rows)}"


@pytest.mark.parametrize("task", ["mmar", "mmau", "air_bench_sound_aqa"])
def test_a_prediction_that_is_null_is_no_answer_and_is_not_scored(tmp_path: Path, task: str) -> None:
    rows = {"mmar": cases("mmar")[:2], "mmau": cases("mmau")[:2]}.get(task, cases("airbench")[:2])
    rows[1][{"mmar": "answer_prediction", "mmau": "model_output"}.get(task, "response")] = None
    found = scored(written(tmp_path / "p.json", rows), task).result
    assert found.samples[task][1].error == f"row {found.samples[task][1].doc_id}: the prediction is null"
    assert (found.tasks[task].n_errors, found.tasks[task].n_scored) == (1, 1)


@pytest.mark.parametrize("value", [7, 2.5, ["pigeon"], {"text": "pigeon"}, True])
@pytest.mark.parametrize("task", ["mmar", "mmau", "air_bench_sound_aqa"])
def test_a_prediction_that_is_no_text_is_invalid_and_wrong(tmp_path: Path, task: str, value: Any) -> None:
    rows = {"mmar": cases("mmar")[:2], "mmau": cases("mmau")[:2]}.get(task, cases("airbench")[:2])
    key = {"mmar": "answer_prediction", "mmau": "model_output"}.get(task, "response")
    rows[1][key] = value
    found = scored(written(tmp_path / "p.json", rows), task)
    sample = found.result.samples[task][1]
    assert {reading.rule for reading in sample.readings.values()} == {"invalid"}
    assert [sample.readings[name].scores["accuracy"] for name in ("paper", "strict")] == [0.0, 0.0]
    assert sample.response == (None if value is None else json.dumps(value))
    task_result = found.result.tasks[task]
    assert task_result.readings["paper"]["invalid"].value == 0.5
    assert task_result.readings["paper"]["accuracy"].value == 0.5
    assert found.result.whole


def test_rows_without_a_prediction_are_error_rows_and_leave_the_denominator(tmp_path: Path) -> None:
    rows = cases("mmar")[:3]
    del rows[2]["answer_prediction"]
    found = scored(written(tmp_path / "p.jsonl", rows), "mmar")
    assert found.result.tasks["mmar"].n_errors == 1
    assert found.result.tasks["mmar"].readings["paper"]["accuracy"].value == 1.0
    assert "Total Accuracy: 100.00% over 2 samples" in found.printout
    assert not found.result.whole


def test_a_failure_written_as_an_answer_is_an_error_row(tmp_path: Path) -> None:
    rows = [
        {**row, "response": text}
        for row, text in zip(cases("airbench"), ["C", "ERROR: out of memory"], strict=False)
    ]
    found = scored(written(tmp_path / "p.jsonl", rows), "air_bench_sound_aqa")
    assert [sample.status for sample in found.result.samples["air_bench_sound_aqa"]] == ["ok", "error"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [*rows, rows[0]], "id 'syn-0000' is there 2 times"),
        (lambda rows: [], "holds no rows"),
        (lambda rows: ["text", *rows], "row 0 is str, not an object"),
        (
            lambda rows: [{k: v for k, v in r.items() if k != "answer_prediction"} for r in rows],
            "no row has a prediction under",
        ),
        (lambda rows: {"rows": rows}, "without a list of rows under samples"),
        (lambda rows: [{"id": "syn-0000", "response": "x"}], "--data_dir names the dataset"),
    ],
)
def test_a_file_that_cannot_be_scored_is_one_line(tmp_path: Path, change: Any, said: str) -> None:
    path = written(tmp_path / "p.json", change(cases("mmar")[:3]))
    with pytest.raises(MarathonError, match=said) as caught:
        scored(path, "mmar")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1, 2", '{"id": 1}\n{"id":', "\x00"])
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_broken_file_ends_with_code_2_and_one_line(
    tmp_path: Path, text: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"p.{suffix}"
    path.write_text(text)
    assert main(["score", "--task", "mmar", "--predictions", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("marathon-eval: error: ")
    assert error.count("\n") == 1
    assert str(path) in error


@pytest.mark.parametrize("choices", ["Pigeon", "Kettle, Pigeon", 3, None, {}])
def test_choices_that_are_no_list_make_an_error_row(tmp_path: Path, choices: Any) -> None:
    rows = cases("mmar")[:2]
    rows[1]["choices"] = choices
    found = scored(written(tmp_path / "p.jsonl", rows), "mmar")
    assert found.result.samples["mmar"][1].status == "error"
    assert found.result.samples["mmar"][1].readings == {}
    assert found.result.tasks["mmar"].n_scored == 1


def test_answers_with_ids_are_joined_with_the_dataset(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.mmar(tmp_path, rows=4)
    answers = [{"id": row["id"], "response": row["answer"]} for row in reversed(rows[:3])]
    found = scored(written(tmp_path / "p.jsonl", answers), "mmar", data_dir=str(tmp_path))
    assert verdicts_by_doc(found, "mmar") == {0: 1.0, 1: 1.0, 2: 1.0}
    assert found.result.tasks["mmar"].n_errors == 1
    assert found.result.samples["mmar"][3].error == "row 3: has no prediction"


def verdicts_by_doc(found: Predicted, task: str) -> dict[int, float | None]:
    return {
        sample.doc_id: sample.readings["paper"].scores["accuracy"]
        for sample in found.result.samples[task]
        if sample.readings
    }


def test_audio_is_not_needed_to_score(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.mmar(tmp_path, rows=2)
    for clip in (tmp_path / "audio").iterdir():
        clip.unlink()
    answers = [{"id": row["id"], "response": row["answer"]} for row in rows]
    found = scored(written(tmp_path / "p.jsonl", answers), "mmar", data_dir=str(tmp_path))
    assert found.result.whole


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (
            ["vid000_00-00-10_00-00-20", "vid001_00-00-10_00-00-2"],
            "no row with id 'vid001.*Did you mean vid001",
        ),
        (["nobody", "no one"], "no prediction matches a row of mmar"),
        (["vid000_00-00-10_00-00-20"] * 2, "is there 2 times"),
    ],
)
def test_ids_that_do_not_fit_are_told(tmp_path: Path, ids: list[str], said: str) -> None:
    make_air_bench_mmar_data.mmar(tmp_path, rows=3)
    path = written(tmp_path / "p.jsonl", [{"id": name, "response": "x"} for name in ids])
    with pytest.raises(MarathonError, match=said):
        scored(path, "mmar", data_dir=str(tmp_path))


#: what AudioMarathon's scripts write, task by task
RESULTS: dict[str, tuple[str, str, str]] = {
    "race": ("samples", "idx", "raw_response"),
    "gtzan": ("detailed_results", "sample_id", "model_response"),
    "had": ("samples", "audio_file", "model_output"),
    "librispeech": ("detailed_results", "idx", "response_text"),
    "vesus": ("samples", "path", "response"),
}


@pytest.mark.parametrize("task", RESULTS)
def test_audiomarathon_result_files(tmp_path: Path, task: str) -> None:
    from marathon_eval.api.registry import Registry
    from marathon_eval.task.task import Task, load_task

    registry = Registry()
    make_audiomarathon_data.build(tmp_path, {task: 8})
    mine = load_task(registry.task_path(task), registry.task_path)
    assert isinstance(mine, Task)
    docs = mine.docs(str(tmp_path), subset="full").docs
    name, key, answer = RESULTS[task]
    rows = []
    for doc in docs:
        identity = {"idx": doc.doc_id, "sample_id": doc.doc_id}.get(key, Path(doc.audio_names[0]).name)
        rows.append({key: identity, answer: doc.target if isinstance(doc.target, str) else doc.target[0]})
    path = written(tmp_path / "r.json", {"summary": {"accuracy": 0}, name: rows})
    found = scored(path, task, data_dir=str(tmp_path), subset="full")
    assert found.result.whole
    assert {sample.readings["strict"].answer is not None for sample in found.result.samples[task]} == {True}
    metric = "wer" if task == "librispeech" else "accuracy"
    value = found.result.tasks[task].readings["strict"][metric].value
    assert value == (0.0 if task == "librispeech" else 1.0)


@pytest.mark.parametrize(
    ("task", "make", "file", "rule"),
    [
        ("mmar", make_air_bench_mmar_data.mmar, "mmar_predictions.jsonl", mmar),
        ("mmau", make_air_bench_mmar_data.mmau, "mmau_predictions.json", mmau),
        (
            "air_bench_foundation",
            make_air_bench_mmar_data.foundation,
            "Foundation_result_modelx.jsonl",
            air_bench,
        ),
    ],
)
def test_export_and_back(tmp_path: Path, task: str, make: Any, file: str, rule: Any, capsys: Any) -> None:
    make(tmp_path / "data")
    run = ["run", "--model", "dummy", "--model_args", "answer=C. It is a zip", "--tasks", task, "--no_cache"]
    assert main([*run, "--data_dir", str(tmp_path / "data"), "--output_path", str(tmp_path / "out")]) == 0
    data = ["--data_dir", str(tmp_path / "data")]
    assert main(["score", str(tmp_path / "out"), "--export", "official", "-o", str(tmp_path), *data]) == 0
    text = (tmp_path / file).read_text(encoding="utf-8")
    rows = json.loads(text) if file.endswith(".json") else [json.loads(line) for line in text.splitlines()]
    meta = rows_of(tmp_path / "data")
    assert len(rows) == len(meta)
    # the released scripts read every row, none crashes them, and the verdicts are the run's
    results = json.loads(next((tmp_path / "out").rglob("results.json")).read_text())["tasks"]
    name = rule.__name__.rpartition(".")[2]
    verdict, printout = getattr(rule, f"{name}_verdict"), getattr(rule, f"{name}_printout")
    marks = [verdict(row) for row in rows]
    right = sum(mark in ("right", "correct") for mark in marks)
    assert right == round(
        sum(one["paper"]["accuracy"]["value"] * one["n_scored"] for one in results.values())
    )
    again = scored(tmp_path / file, task)
    assert again.printout == printout(rows, marks)
    assert "No prediction" in again.printout[-1] or again.printout[-1] == "fail_num: 0"


def rows_of(data: Path) -> Rows:
    path = next(path for path in data.rglob("*.json*"))
    text = path.read_text(encoding="utf-8")
    rows: Rows = (
        json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    )
    return rows


def test_thoughts_are_exported_apart(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.mmar(tmp_path / "data", rows=1)
    answer = f"<think>the kettle? no</think>{rows[0]['answer']}"
    run = [
        "run",
        "--model",
        "dummy",
        "--model_args",
        json.dumps({"answer": answer}),
        "--tasks",
        "mmar",
        "--no_cache",
    ]
    assert main([*run, "--data_dir", str(tmp_path / "data"), "--output_path", str(tmp_path / "out")]) == 0
    data = ["--data_dir", str(tmp_path / "data")]
    assert main(["score", str(tmp_path / "out"), "--export", "official", "-o", str(tmp_path), *data]) == 0
    row = json.loads((tmp_path / "mmar_predictions.jsonl").read_text())
    assert (row["thinking_prediction"], row["answer_prediction"]) == ("the kettle? no", rows[0]["answer"])
    assert {key: row[key] for key in rows[0]} == rows[0]


def test_a_json_number_answers_an_open_question_and_names_no_option(tmp_path: Path) -> None:
    keys = "dataset_path: json\ndataset_kwargs: {data_files: rows.json}\ndoc_to_text: q\ndoc_to_target: a\n"
    reading = "filter_list: [{name: paper, filter: [{function: take_first}]}]\n"
    (tmp_path / "sum.yaml").write_text(f"{keys}{reading}metric_list: [{{metric: number_match}}]\n")
    (tmp_path / "pick.yaml").write_text(
        f"{keys}doc_to_choice: ['5', '7']\n{reading}metric_list: [{{metric: accuracy}}]\n"
    )
    rows = [{"q": "?", "a": "5", "response": said} for said in (5, 5.0, "5", 6, True, [5])]
    path = written(tmp_path / "p.jsonl", rows)
    numbers = verdicts(scored(path, str(tmp_path / "sum.yaml")), "sum", "number_match")
    assert numbers == [1, 1, 1, 0, 0, 0]
    assert verdicts(scored(path, str(tmp_path / "pick.yaml")), "pick") == [0, 0, 1, 0, 0, 0]


def test_the_command_writes_what_a_run_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "p.jsonl", cases("mmar"))
    assert main(["score", "--task", "mmar", "--predictions", str(path), "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "Modality-wise Accuracy:" in printed
    folder = next((tmp_path / "out").glob("predictions__*/*"))
    results = json.loads((folder / "results.json").read_text())
    assert results["tasks"]["mmar"]["n_scored"] == len(cases("mmar"))
    line = json.loads((folder / "samples_mmar.jsonl").read_text().splitlines()[0])
    assert line["response"] == "Pigeon"
    assert line["readings"]["paper"] == {
        "answer": "Pigeon",
        "rule": "response",
        "scores": {"accuracy": 1.0, "invalid": 0.0},
    }


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--task", "mmar"],
        ["RUN", "--predictions", "p"],
        ["--predictions", "p"],
        ["RUN", "--export", "official"],
    ],
)
def test_flags_that_do_not_go_together(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", *arguments]) == 2
    assert "marathon-eval: error: " in capsys.readouterr().err
