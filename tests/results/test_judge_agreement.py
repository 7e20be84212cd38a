"""Tests the agreement of judges: statistics against hand-made and published values, runs and people's labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers.judged_run import JUDGE, Court, Rules, order, sound_questions
from helpers.minimal_task import KEYS, write_task
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE, main
from marathon_eval.cli.verbs.judge_agreement import agreement_lines
from marathon_eval.errors import MarathonError
from marathon_eval.results.agreement import bias, compared_labels, kappa, ranks, spearman, weighted_kappa
from marathon_eval.results.files import newest_run
from marathon_eval.results.judge_labels import Judgement, Place, judgements


def test_kappa_of_cohens_kind() -> None:
    """20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, expected 0.5."""
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert kappa(one, other) == pytest.approx(0.4)
    assert kappa(one, one) == 1.0
    assert kappa(["yes"], ["yes"]) is None
    assert kappa([], []) is None


def test_statistics_equal_scikit_learns_and_known_values() -> None:
    from sklearn.metrics import cohen_kappa_score

    one, other = [1, 2, 3, 4, 5, 9, 7, 7, 2, 10], [1, 3, 3, 4, 6, 8, 7, 5, 2, 9]
    assert kappa(one, other) == pytest.approx(cohen_kappa_score(one, other))
    assert weighted_kappa(one, other) == pytest.approx(cohen_kappa_score(one, other, weights="quadratic"))
    halves = [1.5, 2.5, 8.5, 7.5], [2.5, 2.5, 9.5, 6.0]
    doubled = ([round(2 * score) for score in side] for side in halves)
    assert weighted_kappa(*halves) == pytest.approx(
        cohen_kappa_score(*doubled, labels=range(2, 21), weights="quadratic")
    )
    assert weighted_kappa([0.1] * 3, [0.1] * 3) is None
    assert spearman([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]) == pytest.approx(0.8207826817)
    assert spearman([1, 2, 3], [3, 2, 1]) == -1.0
    assert spearman([1, 1, 1], [1, 2, 3]) is None
    assert ranks([10, 20, 20, 5]) == [2.0, 3.5, 3.5, 1.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agreement")


@pytest.fixture(scope="module")
def two_runs(folder: Path) -> tuple[str, str]:
    """The same answers judged twice: (win, loss, tie, win, -, win) against (win, win, tie, loss, win, win)."""
    court = Court(folder)
    q = sound_questions(court)
    first: Rules = [
        *order(q[0], ["4 8"], ["8 4"]),
        *order(q[1], ["8 4"], ["4 8"]),
        *order(q[2], ["6 6"], ["6 6"]),
        *order(q[3], ["5 6"], ["7 5"]),
        *order(q[4], ["prose"], ["7 5"]),
        *order(q[5], ["2 9"], ["5 6"]),
    ]
    second: Rules = [
        *order(q[0], ["4 8"], ["8 4"]),
        *order(q[2], ["5 5"], ["7 7"]),
        *order(q[3], ["6 5"], ["5 7"]),
    ]
    second += order("", ["3 6"], ["6 3"])
    return judged(court, "one", first), judged(court, "two", second)


def judged(court: Court, name: str, rules: Rules, answer: str = "It buzzes.", out: str = "") -> str:
    out = out or str(court.folder / f"out_{name}")
    script = court.folder / f"{name}.json"
    script.write_text(json.dumps(rules))
    arguments = json.dumps({"script": str(script), "log": str(court.log), "identity": name})
    run = [
        "--model",
        "dummy",
        "--model_args",
        f"answer={answer}",
        "--tasks",
        "air_bench_chat_sound",
        "--no_cache",
    ]
    where = ["--data_dir", str(court.folder / "data"), "--output_path", out]
    assert main([*run, *where, "--judge_model", JUDGE, "--judge_args", arguments]) in (
        EXIT_WHOLE,
        EXIT_INCOMPLETE,
    )
    return out


def test_compare_says_how_the_judges_differ(
    two_runs: tuple[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    table = tmp_path / "table.tex"
    assert main(["compare", *two_runs, "--latex", str(table)]) == 0
    assert (
        "air_bench_chat_sound: the judges differ: model one and two; argument script one.json and two.json; "
        "argument identity one and two" in capsys.readouterr().out
    )
    assert r"air\_bench\_chat\_sound: the judges of the two runs differ" in table.read_text()
    assert main(["compare", *two_runs, "--json"]) == 0
    (task,) = json.loads(capsys.readouterr().out)["tasks"].values()
    assert task["judge_differences"][0] == {"what": "model", "name": "", "a": "one", "b": "two"}
    assert main(["compare", two_runs[0], two_runs[0]]) == 0
    assert "the judges differ" not in capsys.readouterr().out


def test_two_judges_of_the_same_answers(
    two_runs: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (judgements(Path(folder)) for folder in two_runs)
    (found,) = compared_labels(one, other)
    assert (found.kind, found.n, found.n_one_alone, found.n_other_alone) == ("pair", 5, 0, 1)
    assert found.agreement == pytest.approx(3 / 5)
    assert found.kappa == pytest.approx((3 / 5 - 11 / 25) / (1 - 11 / 25))
    assert found.mean_difference == pytest.approx((0 + 2 + 0 + 1.5 + 1) / 5)
    first = bias(one)
    assert first.n == 5
    assert first.position_bias == pytest.approx((0 + 0 + 0 + (6 - 7) + (9 - 5)) / 5)
    assert first.flip_rate == pytest.approx(1 / 5)
    assert first.win_rate == pytest.approx(5 / 10)
    assert main(["judge_agreement", *two_runs]) == 0
    text = capsys.readouterr().out
    assert (
        "air_bench_chat_sound: answer against reference, 5 rows judged by both "
        "(0 by the first alone, 1 by the second alone)" in text
    )
    assert "agreement        60.0%  [n too small (5 of 6 rows)]" in text
    assert "position bias +0.600 points for the second place" in text


def test_labels_of_people(
    two_runs: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [place.doc_id for place in judgements(Path(two_runs[0]))]
    path = tmp_path / "people.csv"
    path.write_text(
        "doc_id,label,score\n"
        + "".join(f"{i},{x},7\n" for i, x in zip(ids, ["win", "Loss", "tie"], strict=False))
    )
    assert main(["judge_agreement", two_runs[0], str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["agreement"][0]["n"] == 3
    assert found["agreement"][0]["agreement"] == 1.0
    assert found["other"] == {"n": 0, "position_bias": None, "flip_rate": None, "win_rate": None}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"doc_id": 1}]', "needs doc_id, and label or score"),
        ('[{"doc_id": 1, "label": "wins"}]', "no label 'wins'. Did you mean win"),
        ('[{"doc_id": 1, "score": "high"}]', "score must be a number"),
        ('[{"doc_id": 1, "score": "nan"}]', "score must be a finite number, or empty"),
        ('[{"doc_id": "x", "label": "win"}]', "doc_id must be a row's number"),
        ('[{"doc_id": 1.7, "label": "win"}]', "doc_id must be a row's number"),
        ('[{"doc_id": true, "label": "win"}]', "doc_id must be a row's number"),
        ('[{"doc_id": 1, "label": "", "score": null}]', "the second has no row"),
        ('[{"doc_id": 1, "label": "win"}, {"doc_id": 1, "label": "tie"}]', "is there twice"),
        ("[", "not readable as JSON"),
        ('[{"doc_id": 1, "label": "partly"}]', "A grade in words is given as its number, in score"),
        ('[{"doc_id": 1, "score": 1, "kind": "grades"}]', "no kind of judging with scores 'grades'. Did you"),
        (
            '[{"doc_id": 999, "label": "win"}]',
            r"both: the first has air_bench_chat_sound: pair \(answer against reference\), 5 rows .* pair .*, row 999",
        ),
        (
            '[{"doc_id": 0, "label": "B"}]',
            r"the second has air_bench_chat_sound: align \(which option an answer means\), row 0",
        ),
    ],
)
def test_labels_that_cannot_be_used(two_runs: tuple[str, str], tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(MarathonError, match=said):
        compared_labels(judgements(Path(two_runs[0])), judgements(path))


@pytest.fixture(scope="module")
def graded(folder: Path) -> str:
    """A run of six answers that a judge graded 1, 2, 3, 4, 5 and 5 on a scale from 1 to 5."""
    rows = [{"q": f"Question {n}?", "a": "yes"} for n in range(6)]
    keys = (
        "filter_list: [{name: graded, filter: [{function: judge_grade}]}]\nmetric_list: [{metric: grade}]\n"
    )
    task = write_task(folder, KEYS + keys + "judge: {grade: {readings: graded, scale: [1, 5]}}\n", rows)
    rules = [{"has": [f"Question {n}?"], "replies": [f'{{"grade": {min(n + 1, 5)}}}']} for n in range(6)]
    (folder / "grades.json").write_text(json.dumps(rules))
    judge = f"script={folder / 'grades.json'},log={folder / 'grades.log'}"
    out = str(folder / "graded")
    run = ["--model", "dummy", "--tasks", str(task), "--no_cache", "-o", out]
    assert main([*run, "--judge_model", JUDGE, "--judge_args", judge]) == EXIT_WHOLE
    return out


def people(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_scores_of_people_are_held_against_grades(
    graded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grades = [1, 3, 3, 4, 4, 5]
    rows = [f"{n},{grade}" for n, grade in enumerate(grades)]
    short = people(tmp_path / "people.csv", "\n".join(["doc_id,score", *rows]))
    named = people(tmp_path / "named.csv", "\n".join(["doc_id,score,task", *(f"{row},own" for row in rows)]))
    assert main(["judge_agreement", graded, named, "--json"]) == EXIT_WHOLE
    printed = capsys.readouterr().out
    assert main(["judge_agreement", graded, short, "--json"]) == EXIT_WHOLE
    assert capsys.readouterr().out == printed
    (found,) = json.loads(printed)["agreement"]
    assert (found["kind"], found["task"], found["n"], found["n_one_alone"]) == ("grade", "own", 6, 0)
    assert found["agreement"] == pytest.approx(4 / 6)
    by_chance = (1 * 1 + 0 * 1 + 1 * 2 + 1 * 2 + 2 * 1) / 36
    assert found["kappa"] == pytest.approx((4 / 6 - by_chance) / (1 - by_chance))
    assert found["spearman"] == spearman([1, 2, 3, 4, 5, 5], grades)
    assert (found["other_minus_one"], found["mean_difference"]) == (0.0, pytest.approx(2 / 6))
    assert main(["judge_agreement", graded, short]) == EXIT_WHOLE
    text = capsys.readouterr().out
    assert text.startswith("own: grade of the answer, 6 rows judged by both\n  agreement        66.7%  [")
    assert "  mean difference  +0.000  (the second minus the first; 0.333 without signs)" in text
    assert "position bias" not in text
    half = people(tmp_path / "half.csv", "doc_id,score\n0,1\n1,\n2,4\n3,\n")
    assert main(["judge_agreement", graded, half, "--json"]) == EXIT_WHOLE
    (found,) = json.loads(capsys.readouterr().out)["agreement"]
    assert (found["n"], found["n_one_alone"], found["agreement"]) == (2, 4, 0.5)
    assert main(["judge_agreement", graded, people(tmp_path / "high.csv", "doc_id,score\n0,3\n1,2.5\n")]) == 0
    assert "mean difference  +1.250" in capsys.readouterr().out


def test_kappa_is_of_grades_that_are_classes(graded: str, tmp_path: Path) -> None:
    run = judgements(Path(graded))
    fine = people(tmp_path / "fine.csv", "doc_id,score\n0,1.1\n1,2.2\n2,3.3\n3,4.4\n")
    assert compared_labels(run, judgements(Path(fine)))[0].kappa is None
    assert judgements(Path(fine))[Place("score", "", 2)].where == f"{fine}:4"
    halves = people(tmp_path / "halves.csv", "doc_id,score\n0,0.5\n1,1\n2,0\n3,1\n")
    (found,) = compared_labels(judgements(Path(halves)), judgements(Path(halves)))
    assert (found.kind, found.agreement, found.kappa) == ("score", 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("people.csv", 'doc_id,score,why\n0,3,ok\n\n1,0,"two\nlines"\n', ":4"),
        ("people.csv", 'doc_id,score,why\n0,3,"two\nlines"\n1,5.5,\n', ":4"),
        ("people.jsonl", '{"doc_id": 0, "score": 3}\n\n{"doc_id": 1, "score": 7}\n', ":3"),
        ("people.json", '[{"doc_id": 0, "score": 3}, {"doc_id": 1, "score": -1}]', ": row 1"),
    ],
)
def test_scores_off_the_judges_scale_are_refused(
    graded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, where: str
) -> None:
    path = people(tmp_path / name, text)
    for pair in ([graded, path], [path, graded]):
        assert main(["judge_agreement", *pair]) == 2
        said = capsys.readouterr().err
        assert f"{path}{where}: score " in said
        assert "is outside the judge's scale, 1 to 5" in said
    again = people(tmp_path / f"again_{name}", text)
    assert main(["judge_agreement", path, again]) == EXIT_WHOLE, "without a judge no scale is declared"


def test_a_run_or_file_is_not_compared_with_itself(
    graded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = people(tmp_path / "people.csv", "doc_id,score\n0,3\n1,2\n")
    (link := tmp_path / "link").symlink_to(graded)
    for one, other in (
        (graded, graded),
        (graded, str(link)),
        (graded, str(Path(graded) / ".")),
        (path, path),
    ):
        assert main(["judge_agreement", one, other]) == 2
        said = capsys.readouterr()
        place = path if one == path else newest_run(Path(graded))
        assert (
            f"judge_agreement: both sides are {place}, and a judge agrees with itself. Name two runs"
            in said.err
        )
        assert not said.out


def test_the_same_judge_in_two_runs_is_named(
    two_runs: tuple[str, str], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rules = json.loads((folder / "one.json").read_text())
    again = folder / "again"
    again.mkdir()
    third = judged(Court(folder), "one", rules, out=str(again))
    assert main(["judge_agreement", two_runs[0], third]) == EXIT_WHOLE
    text = capsys.readouterr().out
    assert (
        "  the same judge in both runs (one), so this is how far it agrees with itself: wholly, where" in text
    )
    assert "agreement        100.0%" in text
    for other, name in ((third, "one"), (two_runs[1], None)):
        assert main(["judge_agreement", two_runs[0], other, "--json"]) == EXIT_WHOLE
        assert json.loads(capsys.readouterr().out)["agreement"][0]["same_judge"] == name
    assert main(["judge_agreement", *two_runs]) == EXIT_WHOLE
    assert "the same judge" not in capsys.readouterr().out


def test_labels_that_a_grade_cannot_be_held_against_are_named(graded: str, tmp_path: Path) -> None:
    path = people(tmp_path / "people.csv", "doc_id,label\n0,win\n1,loss\n")
    said = r"the first has own: grade \(grade of the answer\), 6 rows from 0 to 5; the second has own: pair \(answer"
    with pytest.raises(MarathonError, match=said):
        compared_labels(judgements(Path(graded)), judgements(Path(path)))


def test_scores_of_a_task_that_was_judged_in_two_ways_name_theirs(tmp_path: Path) -> None:
    both = {Place(kind, "own", 0): Judgement(None, 0.5) for kind in ("grade", "rubric")}
    path = people(tmp_path / "people.csv", "doc_id,score\n0,1\n")
    with pytest.raises(
        MarathonError, match="own was judged in several ways.* must name a kind: grade, rubric"
    ):
        compared_labels(both, judgements(Path(path)))
    path = people(tmp_path / "people.csv", "doc_id,score,kind\n0,1,rubric\n")
    grade, rubric = compared_labels(both, judgements(Path(path)))
    assert (grade.kind, grade.n, rubric.kind, rubric.n) == ("grade", 0, "rubric", 1)
    (line,) = agreement_lines(grade)
    assert (
        line
        == "own: grade of the answer, 0 rows judged by both (1 by the first alone, the second has none of these)"
    )


def test_runs_that_judged_different_answers_do_not_compare(two_runs: tuple[str, str], folder: Path) -> None:
    third = judged(Court(folder), "three", order("", ["5 5"], ["5 5"], said="It hums."), answer="It hums.")
    with pytest.raises(MarathonError, match="judged different answers"):
        compared_labels(judgements(Path(two_runs[0])), judgements(Path(third)))


def test_a_run_without_a_judge_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    court = Court(tmp_path)
    sound_questions(court)
    run = ["--model", "dummy", "--tasks", "air_bench_chat_sound", "--predict_only", "--no_cache"]
    assert main([*run, "--data_dir", str(tmp_path / "data"), "-o", str(tmp_path / "out")]) == 0
    assert main(["judge_agreement", str(tmp_path / "out"), str(tmp_path / "out")]) == 2
    assert "no row was judged" in capsys.readouterr().err
