"""Tests the review of data sets that a task's YAML describes: page, rejected rows and relabelled answers in every layout."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile

from helpers import make_other_benchmarks as made
from marathon_eval.cli.main import main
from marathon_eval.corpus.audit.doctor import examine, surveyed_with
from marathon_eval.corpus.audit.expected import load_known
from marathon_eval.corpus.audit.own_tasks import tasks_to_examine
from marathon_eval.corpus.audit.row_files import NewCell, RowFile
from marathon_eval.corpus.audit.survey import SurveyRow

CSV = """\
dataset_path: csv
dataset_kwargs: {data_files: rows.csv, delimiter: ";"}
doc_to_audio: path
doc_to_text: question
doc_to_choice: ["a dog", "a cat"]
doc_to_target: sound
gold_is: text
filter_list: [{name: strict, filter: [{function: choice}]}]
metric_list: [{metric: accuracy}]
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))


def animals(root: Path) -> None:
    """Write a CSV of semicolons, with a cell of two lines, and its sounds."""
    root.mkdir()
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(["path", "question", "sound"])
    for number in range(6):
        soundfile.write(root / f"{number}.wav", made.noise(number), made.RATE)
        writer.writerow([f"{number}.wav", f"Which animal;\nin {number}?", ("a dog", "a cat")[number % 2]])
    (root / "rows.csv").write_bytes(out.getvalue().encode())
    (root / "animals.yaml").write_text(CSV)


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "mmar": made.mmar,
    "mmau": made.mmau,
    "mmsu": made.mmsu,
    "blab": made.blab,
    "air_bench": made.air_bench,
    "air_bench_chat": made.air_bench_chat,
    "animals": animals,
}


def words_of(root: Path, name: str) -> list[str]:
    file = root / f"{name}.yaml"
    return ["--tasks", str(file)] if file.exists() else []


def rows_of(root: Path, name: str) -> list[SurveyRow]:
    known, names = load_known(), words_of(root, name)[1:]
    own = tasks_to_examine(names, root, known, [])
    return surveyed_with(root, known, own.tasks).rows


def review(root: Path, name: str, entries: list[dict[str, str]], capsys: pytest.CaptureFixture[str]) -> str:
    """Apply verdicts with the command, which must succeed, and return what it prints."""
    file = root.parent / "verdicts.json"
    file.write_text(json.dumps({"schema_version": 2, "verdicts": entries}))
    assert main(["review", str(root), *words_of(root, name), "--verdicts", str(file)]) == 0
    return capsys.readouterr().out


def verdict(row: SurveyRow, verdict: str, **more: str) -> dict[str, str]:
    return {"task": row.task, "row": row.key, "verdict": verdict, **more}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_rejected_row_leaves_its_file_and_the_rest_stays_sound(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    LAYOUTS[name](root)
    before = rows_of(root, name)
    gone, kept = before[1], before[2:]
    entries = [verdict(gone, "reject"), verdict(kept[0], "accept")]
    assert f"rejected: {gone.key}" in review(root, name, entries, capsys)
    after = rows_of(root, name)
    told = [(row.task, row.question, row.gold, row.options, row.audio) for row in (before[0], *kept)]
    assert [(row.task, row.question, row.gold, row.options, row.audio) for row in after] == told
    shared = any(row.audio == gone.audio for row in kept + before[:1])
    assert gone.audio is not None
    assert gone.audio.exists() == shared
    assert (root / "rejected" / gone.audio.relative_to(root)).exists() != shared
    known = load_known()
    own = tasks_to_examine(words_of(root, name)[1:], root, known, [])
    assert [item.fault for item in examine(root, known, own=own.tasks).findings] == []
    files = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    review(root, name, entries, capsys)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == files, "once is twice"


@pytest.mark.parametrize("name", ["mmar", "mmau", "mmsu", "air_bench", "animals"])
def test_a_relabelled_answer_is_written_to_its_own_column(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    LAYOUTS[name](root)
    row = rows_of(root, name)[2]
    other = next(option for option in row.options if option != row.gold)
    assert "relabelled" in review(root, name, [verdict(row, "relabel", answer=other)], capsys)
    again = rows_of(root, name)[2]
    assert (again.key, again.gold, again.question) == (row.key, other, row.question)


def test_the_page_has_a_player_for_every_clip_and_its_stretch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    made.blab(root)
    yaml = root / "blab.yaml"
    assert main(["review", str(root), "--tasks", str(yaml), "--share", "1"]) == 0
    out = capsys.readouterr().out
    assert "6 of 6 rows to review" in out
    assert f"then: marathon-eval review {root} --tasks {yaml} --verdicts verdicts.json" in out
    page = (root / "review.html").read_text()
    assert page.count("<audio ") == 6
    assert 'src="talk0.flac#t=0,10.5"' in page
    several = {"clips": ["talk0.flac", "talk1.flac"], "question": "?", "count": "1"}
    (root / "ads.json").write_text(json.dumps({"data": [several]}))
    yaml.write_text(made.BLAB.replace('{path: "{{ video_id }}.flac", start: begin, stop: end}', "clips"))
    assert main(["review", str(root), "--tasks", str(yaml), "--share", "1"]) == 0
    assert (root / "review.html").read_text().count("<audio ") == 2


def test_rows_of_a_table_are_shown_but_not_removed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    made.mmau_hub(root)
    names = words_of(root, "mmau_hub")
    assert main(["review", str(root), *names, "--share", "1"]) == 0
    assert (root / "review.html").read_text().count("<audio ") == 9
    row = rows_of(root, "mmau_hub")[0]
    assert row.key.endswith("/0.wav")
    assert not row.key.startswith("/"), "the same on every machine"
    (tmp_path / "v.json").write_text(json.dumps({"schema_version": 2, "verdicts": [verdict(row, "reject")]}))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert main(["review", str(root), *names, "--verdicts", str(tmp_path / "v.json")]) == 2
    assert "cannot be removed: its rows stand in no JSON, JSONL, CSV or TSV file" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def test_rows_without_a_task_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    animals(tmp_path / "data")
    assert main(["review", str(tmp_path / "data")]) == 2
    assert "holds no rows to review; name their task with --tasks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("form", "text", "left"),
    [
        ("csv", 'a,b\n1,"x\ny"\n\n2,z\n3,w\n', 'a,b\n1,"x\ny"\n3,new\n'),
        ("tsv", "\ta\tb\r\n0\t1\tx\r\n1\t2\ty\r\n2\t3\tz\r\n", "\ta\tb\r\n0\t1\tx\r\n2\t3\tnew\r\n"),
        ("csv", "a,b\n1,x\n2\n3\n", "a,b\n1,x\n3,new\n"),
        ("jsonl", '{"b": 1}\n\n{"b":  2}\n{"b": 3}', '{"b": 1}\n{"b": "new"}\n'),
        ("json", '{"b": 1}\n{"b": 2}\n{"b": 3}\n', '{"b": 1}\n{"b": "new"}\n'),
    ],
)
def test_a_file_keeps_its_layout(tmp_path: Path, form: str, text: str, left: str) -> None:
    file = RowFile(tmp_path / f"rows.{form}", form)
    file.path.write_bytes(text.encode())
    rows: list[Any] = file.rows()
    assert len(rows) == 3
    file.rewrite({1}, {2: NewCell("b", "new")})
    assert file.path.read_bytes().decode() == left
    assert file.rows() == [rows[0], {**rows[2], "b": "new"}]


def test_one_row_left_of_lines_in_a_json_file_is_a_list(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.json", "json")
    file.path.write_text('{"b": 1}\n{"b": 2}\n')
    file.rewrite({0}, {})
    assert file.rows() == [{"b": 2}]
    file.rewrite({0}, {})
    assert file.rows() == []


def test_rows_under_a_key_stay_under_it(tmp_path: Path) -> None:
    file = RowFile(tmp_path / "rows.json", "json", "items")
    file.path.write_text(json.dumps({"about": "x", "items": [{"b": 1}, {"b": 2}]}))
    file.rewrite({0}, {1: NewCell("b", "new")})
    assert json.loads(file.path.read_text()) == {"about": "x", "items": [{"b": "new"}]}


@pytest.mark.parametrize("argument", ["encoding: latin-1", "skiprows: 1", 'quotechar: "\'"'])
def test_rows_of_a_table_of_its_own_layout_are_not_written_again(
    argument: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    animals(root)
    before = (root / "rows.csv").read_bytes()
    lines = before.replace(b"animal;\r\n", b"animal").replace(b"animal;\n", b"animal").replace(b'"', b"")
    before = (b"a title\r\n" if "skiprows" in argument else b"") + lines
    (root / "rows.csv").write_bytes(before)
    (root / "animals.yaml").write_text(CSV.replace('";"}', f'";", {argument}}}'))
    row = rows_of(root, "animals")[1]
    (tmp_path / "verdicts.json").write_text(
        json.dumps({"schema_version": 2, "verdicts": [verdict(row, "reject")]})
    )
    assert (
        main(["review", str(root), *words_of(root, "animals"), "--verdicts", str(tmp_path / "verdicts.json")])
        == 2
    )
    assert "(a table in UTF-8 whose first line is its header)" in capsys.readouterr().err
    assert (root / "rows.csv").read_bytes() == before
