"""Tests docs/judges.md: its task runs with local judges, tiny text models in place of those named; its replies are read."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from helpers.called_command import called
from helpers.documented_files import write_files
from helpers.tiny_text_model import make_text_lm
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE
from marathon_eval.evaluator.grading import Grading
from marathon_eval.task.yaml.judge_keys import GradePrompt

PAGE = Path(__file__).resolve().parents[2] / "docs" / "judges.md"
NAMED = ("Qwen/Qwen3-8B", "google/gemma-3-12b-it")


def commands() -> list[str]:
    text = PAGE.read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.strip() for line in text.splitlines() if line.startswith("    marathon-eval ")]


def results(folder: Path) -> dict[str, dict[str, float | None]]:
    stored = json.loads(next(folder.rglob("results.json")).read_text())["tasks"]["heard"]
    return {
        "n_left_out": stored["n_left_out"],
        **{name: entry["value"] for name, entry in stored["graded"].items()},
    }


@pytest.mark.timeout(300)
def test_the_page_from_top_to_bottom(tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    judges = {
        NAMED[0]: make_text_lm(tmp_path / "Qwen3-8B", says='{"grade": 4}'),
        NAMED[1]: make_text_lm(tmp_path / "gemma-3-12b-it", says="It is fine."),
    }
    codes, printed = [], {}
    for written in commands():
        command = written
        for name, folder in judges.items():
            command = command.replace(name, str(folder))
        done = called(shlex.split(command)[1:], tmp_path, {"MARATHON_EVAL_CACHE": str(tmp_path / "cache")})
        assert "Traceback" not in done.stderr, done.stderr
        codes.append(done.returncode)
        printed[written] = done.stdout
    unread = "the second judge of the first panel says nothing readable"
    assert codes == [*[EXIT_WHOLE] * 5, EXIT_INCOMPLETE, *[EXIT_WHOLE] * 9], unread
    heard = {"n_left_out": {}, "grade[Qwen3-8B]": 4.0, "grade_agreement[Qwen3-8B]": None}
    assert results(tmp_path / "runs" / "heard") == heard
    assert results(tmp_path / "runs" / "words")["grade[word_judge]"] == (3 + 2) / 2
    words = results(tmp_path / "runs" / "words_panel")
    grades = [words[f"grade[{name}]"] for name in ("every_word", "long_words", "every_word+long_words")]
    assert grades == [2.5, 2.0, 2.25]
    assert words["grade_agreement[every_word+long_words]"] is not None
    people, of_one, of_two = (text for command, text in printed.items() if " judge_agreement " in command)
    judged = "heard: grade of the answer, 2 rows judged by both\n  agreement        "
    assert f"{judged}50.0%" in people
    assert judged in of_one
    assert judged in of_two
    (of_panel,) = (text for command, text in printed.items() if "--output_path runs/words_panel" in command)
    assert "grade[long_words]" in of_panel
    assert "grade_agreement[" in of_panel
    panel = results(tmp_path / "runs" / "panel")
    assert panel["n_left_out"] == {"graded": 2}
    assert panel["grade[Qwen3-8B+gemma-3-12b-it]"] is None


def test_the_replies_of_the_page_are_read() -> None:
    lines = PAGE.read_text(encoding="utf-8").split("| task | reply |")[1].split("\n\n")[0].splitlines()[2:]
    scale: dict[str, Any] = {"readings": "graded", "scale": [1, 5]}
    criteria = {"criteria": ["correctness", "detail"]}
    read = {
        "a scale": (scale, {"only": {"grade": 4}}),
        "`labels`": ({"readings": "graded", "labels": {"right": 1, "partly": 0.5}}, {"only": {"grade": 0.5}}),
        "`criteria`": ({**scale, **criteria}, {"only": {"correctness": 4, "detail": 2}}),
        "`against`": ({**scale, "against": "theirs"}, {"first": {"grade": 4}, "second": {"grade": 2}}),
        "`against` and `criteria`": (
            {**scale, **criteria, "against": "theirs"},
            {"first": {"correctness": 4, "detail": 2}, "second": {"correctness": 3, "detail": 5}},
        ),
    }
    shown = dict(tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines)
    assert list(shown) == list(read)
    for what, (keys, grades) in read.items():
        assert Grading(GradePrompt.model_validate(keys)).read(shown[what].strip("`")) == grades, what
