"""`score RUN` joins by what was asked: reordered rows keep their answers, and changed rows are refused by number."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers import make_audiomarathon_data
from marathon_eval.cli.main import main
from marathon_eval.results.files import read_results

META = "GTZAN/concatenated_audio/music_genre_classification_meta.json"
ROWS = 6


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """A run of six rows with random answers below out/, its data below data/, its task below mine/."""
    data = make_audiomarathon_data.build(tmp_path / "data", {"gtzan": ROWS})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mine.yaml").write_text("include: gtzan.yaml\n")
    run(tmp_path)
    assert data.is_dir()
    return tmp_path


def run(folder: Path, *flags: str) -> None:
    common = ["run", "--model", "dummy", "--model_args", "mode=random", "--tasks", "mine", "--use_cache"]
    places = [str(folder / "cache"), *folders(folder)]
    assert main([*common, *places, "-o", str(folder / "out"), *flags]) == 0


def folders(folder: Path) -> list[str]:
    return ["--data_dir", str(folder / "data"), "--include_path", str(folder / "mine")]


def score(folder: Path, *flags: str) -> int:
    places = ["--use_cache", str(folder / "cache"), *folders(folder)]
    return main(["score", str(folder / "out"), "-o", str(folder / "again"), *places, *flags])


def tasks_of(folder: Path) -> Any:
    return read_results(folder)["tasks"]


def reordered(folder: Path, change: Callable[[list[Any]], list[Any]]) -> None:
    path = folder / "data" / META
    path.write_text(json.dumps(change(json.loads(path.read_text()))))


def test_an_unchanged_run_has_its_scores(asked: Path) -> None:
    assert score(asked) == 0
    assert tasks_of(asked / "again") == tasks_of(asked / "out")


def test_rows_in_another_order_keep_their_answers(asked: Path) -> None:
    reordered(asked, lambda rows: rows[::-1])
    assert score(asked) == 0
    old, new = tasks_of(asked / "out")["mine"], tasks_of(asked / "again")["mine"]
    assert new["strict"]["accuracy"]["value"] == old["strict"]["accuracy"]["value"]


def test_a_limited_run_keeps_its_rows(asked: Path) -> None:
    run(asked, "--limit", "2")
    reordered(asked, lambda rows: rows[::-1])
    assert score(asked) == 0
    old, new = tasks_of(asked / "out")["mine"], tasks_of(asked / "again")["mine"]
    assert new["n_loaded"] == 2
    assert new["strict"]["accuracy"]["value"] == old["strict"]["accuracy"]["value"]


@pytest.mark.parametrize("flags", [(), ("--export", "official")])
def test_options_in_another_order_are_refused(asked: Path, capsys: Any, flags: tuple[str, ...]) -> None:
    (asked / "mine" / "mine.yaml").write_text(
        "include: gtzan.yaml\nchoice_columns: [choice_b, choice_a, choice_c, choice_d]\n"
    )
    assert score(asked, *flags) == 2
    message = capsys.readouterr().err
    assert "samples_mine.jsonl: 6 of 6 rows do not fit" in message
    assert "another prompt: rows 0, 1, 2, 3, 4, 5" in message


def test_options_that_the_prompt_does_not_show_are_refused(asked: Path, capsys: Any) -> None:
    yaml = asked / "mine" / "mine.yaml"
    yaml.write_text("include: gtzan.yaml\ndoc_to_text: question\n")
    run(asked)
    yaml.write_text(yaml.read_text() + "choice_columns: [choice_b, choice_a, choice_c, choice_d]\n")
    assert score(asked) == 2
    assert "other options: rows 0, 1, 2" in capsys.readouterr().err


def test_a_changed_question_and_a_new_row_are_named(asked: Path, capsys: Any) -> None:
    reordered(
        asked, lambda rows: [{**rows[0], "question": "Which?"}, *rows[1:], {**rows[1], "question": "What?"}]
    )
    assert score(asked) == 2
    message = capsys.readouterr().err
    assert "2 of 6 rows do not fit" in message
    assert "another prompt: row 0; not asked: row 6" in message


def test_a_replaced_clip_is_named(asked: Path, capsys: Any) -> None:
    clips = sorted((asked / "data" / "GTZAN").rglob("*.wav"))
    clips[0].write_bytes(clips[1].read_bytes())
    assert score(asked) == 2
    message = capsys.readouterr().err
    assert "1 of 6 rows do not fit" in message
    assert "another clip: row " in message


def test_a_removed_row_is_left_out_and_said(asked: Path, capsys: Any) -> None:
    reordered(asked, lambda rows: rows[1:])
    assert score(asked) == 0
    assert "mine: row 0 of the run left out" in capsys.readouterr().err
    assert tasks_of(asked / "again")["mine"]["n_loaded"] == ROWS - 1


def test_a_corrected_gold_is_scored(asked: Path) -> None:
    reordered(asked, lambda rows: [{**row, "answer_gt": "A"} for row in rows])
    assert score(asked) == 0


def test_the_official_format_has_each_rows_own_answer(asked: Path) -> None:
    def exported(name: str) -> dict[str, str]:
        exported = ["--export", "official", "-o", str(asked / name), *folders(asked)]
        assert main(["score", str(asked / "out"), *exported]) == 0
        meta = json.loads((asked / "data" / META).read_text())
        rows = [json.loads(line) for line in (asked / name / "mine.jsonl").read_text().splitlines()]
        return {one["path"]: row["response"] for one, row in zip(meta, rows, strict=True)}

    before = exported("before")
    reordered(asked, lambda rows: rows[::-1])
    assert exported("after") == before


def test_an_error_row_of_the_run_stays_one(asked: Path) -> None:
    reordered(asked, lambda rows: [{**rows[0], "answer_gt": "E"}, *rows[1:]])
    main(
        ["run", "--model", "dummy", "--tasks", "mine", "--no_cache", "--data_dir", str(asked / "data")]
        + ["--include_path", str(asked / "mine"), "-o", str(asked / "out")]
    )
    reordered(asked, lambda rows: [{**rows[0], "answer_gt": "A"}, *rows[1:]])
    assert score(asked) == 3
    assert tasks_of(asked / "again")["mine"]["n_errors"] == 1


def test_sounds_that_are_gone_are_not_needed(asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sounds = [*(asked / "data").rglob("*.wav")]
    assert sounds
    for path in sounds:
        path.unlink()
    capsys.readouterr()
    assert score(asked) == 0
    assert tasks_of(asked / "again") == tasks_of(asked / "out")
    err = capsys.readouterr().err
    assert err.count("not there, and not needed: the answers are the run's own") == 1
    assert f"{len(sounds)} sound file" in err


def test_a_run_that_was_moved_needs_no_sounds(asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tasks_of(asked / "out")
    meta = asked / "meta" / META
    meta.parent.mkdir(parents=True)
    meta.write_bytes((asked / "data" / META).read_bytes())
    (asked / "data").rename(asked / "elsewhere")
    (asked / "out").rename(asked / "moved")
    flags = ["--data_dir", str(asked / "meta"), "--include_path", str(asked / "mine"), "--no_cache"]
    assert main(["score", str(asked / "moved"), "-o", str(asked / "again"), *flags]) == 0
    assert tasks_of(asked / "again") == before
    capsys.readouterr()


def test_a_changed_prompt_is_still_seen_without_the_sounds(
    asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (asked / "data").rglob("*.wav"):
        path.unlink()
    (asked / "mine" / "mine.yaml").write_text("include: gtzan.yaml\ndescription: 'Listen. '\n")
    assert score(asked) == 2
    assert "another prompt: rows 0, 1, 2, 3, 4, 5" in capsys.readouterr().err


def test_rows_that_the_run_left_out_for_their_sound_stay_out(asked: Path) -> None:
    task = "include: gtzan.yaml\non_missing_audio: drop\n"
    (asked / "mine" / "mine.yaml").write_text(task)
    sounds = sorted((asked / "data").rglob("*.wav"))
    sounds[0].unlink()
    run(asked, "-o", str(asked / "fewer"))
    before = tasks_of(asked / "fewer")
    assert before["mine"]["n_loaded"] < ROWS
    for path in sounds[1:]:
        path.unlink()
    places = ["--use_cache", str(asked / "cache"), *folders(asked)]
    assert main(["score", str(asked / "fewer"), "-o", str(asked / "again"), *places]) == 0
    assert tasks_of(asked / "again") == before


def of_questions(folder: Path, *rows: tuple[str, str]) -> None:
    (folder / "rows.json").write_text(json.dumps([{"q": question, "a": answer} for question, answer in rows]))


def test_rows_that_ask_the_same_are_each_joined_with_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two rows have one prompt: neither is left out where the order changes, and one is where it is asked once."""
    (tmp_path / "own.yaml").write_text(
        "dataset_path: json\ndataset_kwargs: {data_files: rows.json}\ndoc_to_text: q\ndoc_to_target: a\n"
        "filter_list:\n  - {name: said, filter: [{function: take_first}]}\nmetric_list: [{metric: exact_match}]\n"
    )
    four = (("same", "x"), ("same", "y"), ("other", "x"), ("third", "x"))
    of_questions(tmp_path, *four)
    folder = ["--include_path", str(tmp_path)]
    own = ["--tasks", str(tmp_path / "own.yaml"), "--no_cache", "-o", str(tmp_path / "out")]
    assert main(["run", "--model", "dummy", "--model_args", "answer=x", *own]) == 0
    for rows in (four[::-1], (four[2], four[0], four[3], four[1]), (four[3], *four[:3])):
        of_questions(tmp_path, *rows)
        capsys.readouterr()
        assert main(["score", str(tmp_path / "out"), "-o", str(tmp_path / "again"), *folder]) == 0
        assert "left out" not in capsys.readouterr().err
        value = tasks_of(tmp_path / "again")["own"]["said"]["exact_match"]["value"]
        assert value == 0.75
    of_questions(tmp_path, *four[1:])
    assert main(["score", str(tmp_path / "out"), *folder]) == 0
    assert "of the run left out: the task has no row for them any more" in capsys.readouterr().err
