"""Tests how the errors of failed rows are grouped, and which rows of a run are listed as not right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import MakeWav
from helpers import make_result_folders
from helpers.make_result_folders import Made
from marathon_eval.cli.main import main
from marathon_eval.cli.terminal import MOST_REASONS, print_run
from marathon_eval.cli.verbs.sweep import Failures
from marathon_eval.results.failures import failure_kinds


@pytest.mark.parametrize(
    "errors",
    [
        ["data/a b.wav: no such file", "/long/way/c.wav: no such file", "C:\\data\\d.wav: no such file"],
        ["server busy after 3 tries: 'a'", "server busy after 14 tries: 'b c'"],
        ["HTTP 503 in 1.5 s", "HTTP 503 in 2 s"],
        ["it isn't audio: it can't be read"] * 2,
        ["no clip 0123456789ab", "no clip ba9876543210"],
    ],
)
def test_errors_that_differ_in_paths_and_numbers_are_one_kind(errors: list[str]) -> None:
    (kind,) = failure_kinds(("race", row, error) for row, error in enumerate(errors))
    assert (kind.count, kind.first, kind.error) == (len(errors), "race 0", errors[0])


@pytest.mark.parametrize(
    "errors",
    [
        ["HTTP 503", "HTTP 401"],
        ["Error code: 400 - a", "Error code: 500 - a"],
        ["it isn't audio", "it can't be read"],
        ["a.wav: no such file", "a.wav: empty"],
        ["it isn't a file, it can't be read", "it isn't a sound, it can't be read"],
    ],
)
def test_different_reasons_stay_apart(errors: list[str]) -> None:
    kinds = failure_kinds([("race", 0, errors[0]), ("race", 1, errors[1]), ("gtzan", 2, errors[1])])
    assert [(kind.error, kind.rows) for kind in kinds] == [
        (errors[1], {"race": 1, "gtzan": 1}),
        (errors[0], {"race": 1}),
    ]


def test_a_run_says_why_rows_failed(capsys: pytest.CaptureFixture[str]) -> None:
    run = make_result_folders.fabricate(Made(rows={"race": 400, "gtzan": 200}))
    failed = {name: sum(row.status == "error" for row in rows) for name, rows in run.samples.items()}
    assert all(failed.values())
    print_run(run)
    text = capsys.readouterr().out
    assert (
        f"  {sum(failed.values())} failed (race {failed['race']}, gtzan {failed['gtzan']}): "
        "the model ran out of memory (first: row race " in text
    )
    assert "samples_<task>" not in text
    rows = [
        replace(row, status="error", error="reason " + "x" * place)
        for place, row in enumerate(run.samples["race"][: MOST_REASONS + 3])
    ]
    print_run(replace(run, samples={"race": rows}))
    assert "  3 failed for 3 other reasons: show RUN --wrong lists them" in capsys.readouterr().out


def test_a_sweep_counts_rows_without_a_grade_by_cell() -> None:
    run = make_result_folders.fabricate(Made(rows={"race": 6}))
    failures = Failures()
    failures.add("none", replace(run, tasks={"race": replace(run.tasks["race"], n_errors=0)}))
    assert list(failures.lines()) == []
    judged = replace(run.tasks["race"], n_errors=0, n_left_out={"strict": 2})
    failures.add("frame 0.5", replace(run, tasks={"race": judged}))
    assert list(failures.lines()) == [
        "LEFT OUT: rows without a grade (race [frame 0.5] 2): `show` of a cell's folder with --wrong says why."
    ]


def test_show_wrong_lists_each_row_that_is_not_right(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_result_folders.write(Made(rows={"race": 60, "gtzan": 30}), tmp_path)
    samples = [json.loads(line) for line in (folder / "samples_race.jsonl").read_text().splitlines()]

    def not_right(row: dict[str, object]) -> bool:
        readings: dict[str, dict[str, dict[str, float]]] = row["readings"]  # type: ignore[assignment]
        return not readings or readings["strict"]["scores"]["accuracy"] != 1

    expected = [row["doc_id"] for row in samples if not_right(row)]
    assert main(["show", str(tmp_path), "--wrong", "--tasks", "race", "--json"]) == 0
    listed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["row"] for row in listed] == expected
    assert {row["outcome"] for row in listed} == {"wrong", "unanswered", "error"}
    assert all(row["response"] or row["error"] for row in listed)
    assert main(["show", str(tmp_path), "--wrong"]) == 0
    table = capsys.readouterr().out
    assert {"race", "gtzan"} <= {line.split()[0] for line in table.splitlines() if line.strip()}
    outcomes = [row["outcome"] for row in listed]
    assert main(["show", str(tmp_path), "--wrong", "--task", "race"]) == 0
    assert f"{outcomes.count('wrong')} wrong" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--wrong", "--tasks", "gtza"], ["has no task 'gtza'", "Did you mean gtzan?"]),
        (["--wrong", "--reading", "strct"], ["no reading 'strct'", "Did you mean strict?"]),
        (["3", "--wrong"], ["leave out ROW"]),
        (["--reading", "strct"], ["no reading 'strct'", "Did you mean strict?"]),
    ],
)
def test_a_mistake_in_show_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], parts: list[str]
) -> None:
    make_result_folders.write(Made(rows={"gtzan": 5}), tmp_path)
    assert main(["show", str(tmp_path), *flags]) == 2
    error = capsys.readouterr().err
    assert all(part in error for part in parts), error
    assert error.count("\n") == 1


def test_show_says_whether_a_cached_answer_is_right(
    tmp_path: Path, make_wav: MakeWav, capsys: pytest.CaptureFixture[str]
) -> None:
    make_wav("clip.wav", seconds=1.0)
    rows = [{"q": "Which?", "a": letter, "one": "yes", "two": "no", "path": "clip.wav"} for letter in "AB"]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "own.yaml").write_text(
        "dataset_path: json\ndataset_kwargs: {data_files: rows.json}\ndoc_to_text: '{{ q }}'\n"
        "choice_columns: [one, two]\ndoc_to_target: a\ndoc_to_audio: path\n"
        "metric_list: [{metric: accuracy}]\n"
    )
    where = ["--include_path", str(tmp_path), "--data_dir", str(tmp_path), "-c", str(tmp_path / "cache")]
    assert main(["--model", "dummy", "--model_args", "answer=A", "--tasks", "own", *where]) == 0
    capsys.readouterr()
    for row, verdict in (("0", "right: read as 'A'"), ("1", "wrong: read as 'A'")):
        assert main(["show", "own", row, *where]) == 0
        assert capsys.readouterr().out.splitlines()[-1].endswith(f"'A'  {verdict}")
    assert main(["show", "own", "0", "--reading", "nothing", *where]) == 2
    assert "own has no reading 'nothing'" in capsys.readouterr().err
