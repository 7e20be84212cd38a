"""Tests the problems that `validate` reports for tasks."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import make_audiomarathon_data
from helpers.minimal_task import KEYS, write_task
from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import main
from marathon_eval.evaluator.prompt_letters import reads_letters_by_default
from marathon_eval.evaluator.validate_task import validate_task, validated
from marathon_eval.task.task import Task, load_task

#: What the warning of a prompt without letters advises.
PLAIN = "choice_layout: plain\n"
ROOT = Path(__file__).resolve().parents[2]


class TestValidation:
    def problems(self, path: Path, data_dir: Path | None = None) -> list[str]:
        return validate_task(path, Registry().task_path, None if data_dir is None else str(data_dir))

    def test_the_ten_pass_with_data(self, tmp_path: Path) -> None:
        data = make_audiomarathon_data.build(tmp_path, 6)
        for name in make_audiomarathon_data.NOMINAL:
            assert self.problems(ROOT / "tasks" / f"{name}.yaml", data) == []

    def test_bad_rows_are_told_but_not_all_of_them(self, tmp_path: Path) -> None:
        rows = [{"q": "?", "a": "x"}, *({"q": "?"} for _ in range(9))]
        found = self.problems(write_task(tmp_path, "doc_to_text: q\ndoc_to_target: a\n", rows))
        assert found[0].startswith("own: row 1: ")
        assert found[-1] == "own: and 6 more rows of 10 cannot be asked"

    def test_a_scorer_that_is_wrong_on_gold_is_found(self, tmp_path: Path) -> None:
        keys = (
            "doc_to_text: q\ndoc_to_target: a\ndoc_to_choice: [x, y]\n"
            "filter_list: [{name: s, filter: [{function: choice}, {function: map, mapping_dict: {A: B}, default_value: A}]}]\n"
            "metric_list: [{metric: accuracy}]\n"
        )
        found = self.problems(write_task(tmp_path, keys, [{"q": "?", "a": "A"}]))
        assert found == [
            "own: row 0: the gold answer 'A' gets accuracy 0 in 's', not 1",
            "own: row 0: a wrong answer 'B' gets accuracy 1 in 's', not 0",
        ]

    @pytest.mark.parametrize(
        ("target", "pattern", "warned"),
        [
            (
                "letter",
                r"answer is \(?([AB])\)?",
                "does not read 'A' or 'a man' alone, but for example 'The answer is A.'",
            ),
            ("place", "(a man|a woman)", None),
            (
                "letter",
                "X9Z:([AB])",
                "reads none of the texts that were tried as the gold answer: 'A', 'a man', '(A)'",
            ),
        ],
    )
    def test_a_filter_that_wants_words_around_the_answer_is_no_mistake(
        self,
        target: str,
        pattern: str,
        warned: str | None,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        keys = (
            f"doc_to_text: q\ndoc_to_target: {target}\ndoc_to_choice: [a man, a woman]\n"
            f"filter_list: [{{name: s, filter: [{{function: regex, regex_pattern: '{pattern}'}}, {{function: take_first}}]}}]\n"
            "metric_list: [{metric: exact_match}]\n"
        )
        rows = [{"q": "?", "letter": "A", "place": 0}, {"q": "?", "letter": "B", "place": 1}]
        path = write_task(tmp_path, keys, rows)
        found = validated(path, Registry().task_path)
        assert found.problems == []
        assert len(found.warnings) == (warned is not None)
        assert main(["validate", str(path)]) == 0
        assert (warned or "") in capsys.readouterr().err

    def test_a_metric_that_is_wrong_on_what_its_filter_found_stays_an_error(self, tmp_path: Path) -> None:
        keys = (
            "doc_to_text: q\ndoc_to_target: a\ndoc_to_choice: [a man, a woman]\n"
            "filter_list: [{name: s, filter: [{function: regex, regex_pattern: 'answer is ([AB])'}, "
            "{function: map, mapping_dict: {A: B, B: A}}]}]\nmetric_list: [{metric: exact_match}]\n"
        )
        found = self.problems(write_task(tmp_path, keys, [{"q": "?", "a": "A"}, {"q": "?", "a": "B"}]))
        assert "own: row 0: the gold answer 'The answer is A.' gets exact_match 0 in 's', not 1" in found

    def test_a_variant_that_needs_another_column_is_found(self, tmp_path: Path) -> None:
        keys = 'doc_to_text: q\ndoc_to_target: a\nprompt_variants: {m: {doc_to_text: "{{ other }}"}}\n'
        (found,) = self.problems(write_task(tmp_path, keys, [{"q": "?", "a": "x"}]))
        assert "'other' is undefined" in found

    def test_both_forms_of_a_task_without_right_answers_pass(self, tmp_path: Path) -> None:
        for gold_is in ("any_text", "absent"):
            keys = f'doc_to_text: q\ndoc_to_target: ""\ngold_is: {gold_is}\nmetric_list: [{{metric: parse_rate}}]\n'
            assert self.problems(write_task(tmp_path, keys, [{"q": "?"}])) == []

    def test_an_unknown_member_of_a_group(self, tmp_path: Path) -> None:
        (tmp_path / "g.yaml").write_text("group: g\ntask: [race, gtzam]\n")
        (found,) = self.problems(tmp_path / "g.yaml")
        assert "no task 'gtzam'. Did you mean gtzan?" in found

    def test_rows_are_checked_where_a_run_finds_them(self, tmp_path: Path) -> None:
        """A file tree beside the YAML, and data files by pattern: both were left unchecked, although a run reads them."""
        (tmp_path / "clips").mkdir()
        (tmp_path / "clips" / "dog.wav").touch()
        tree = "task: own\ndataset_path: file_tree\ndataset_kwargs: {file_tree: ['clips/{kind}.wav']}\ndoc_to_text: '?'\n"
        path = tmp_path / "own.yaml"
        path.write_text(tree + "doc_to_target: sort\n")
        assert [problem.partition(": doc")[2] for problem in self.problems(path)] == [
            "_to_target: no row has 'sort'. Rows have: kind, path"
        ]
        path.write_text(tree + "doc_to_target: kind\n")
        assert validated(path, Registry().task_path)[:2] == ([], "")
        path.write_text(tree.replace("clips/", "others/") + "doc_to_target: kind\n")
        assert validated(path, Registry().task_path).unchecked.startswith("rows not checked")
        (tmp_path / "rows-1.jsonl").write_text('{"q": "?"}\n')
        path.write_text(
            "task: own\ndataset_path: json\ndataset_kwargs: {data_files: 'rows-*.jsonl'}\n"
            "doc_to_text: q\ndoc_to_target: a\n"
        )
        assert "no row has 'a'" in self.problems(path)[0]

    def test_data_that_is_not_at_hand_is_not_asked_for(self, tmp_path: Path) -> None:
        path = write_task(tmp_path, "doc_to_text: q\ndoc_to_target: a\n", [{"q": "?", "a": "x"}])
        assert validated(path, Registry().task_path)[:2] == ([], "")
        (tmp_path / "rows.json").unlink()
        unchecked = "rows not checked: --data_dir DIR checks those of a local copy"
        assert validated(path, Registry().task_path)[:2] == ([], unchecked)

    def test_the_line_of_a_task_says_that_its_rows_were_not_checked(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = make_audiomarathon_data.build(tmp_path, 6)
        assert main(["validate", "gtzan", "--data_dir", str(data)]) == 0
        assert main(["validate", "gtzan", "audiomarathon"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "gtzan: ok",
            "gtzan: ok (rows not checked: --data_dir DIR checks those of a local copy)",
            "audiomarathon: ok (a group: rows not checked, name its tasks with --data_dir DIR)",
        ]

    def test_a_row_that_the_judge_could_not_be_asked_about_is_found(self, tmp_path: Path) -> None:
        keys = (
            "doc_to_text: q\ndoc_to_target: a\n"
            "filter_list: [{name: g, filter: [{function: judge_grade}]}]\nmetric_list: [{metric: grade}]\n"
            "judge: {grade: {readings: g, scale: [1, 5], prompt: '{{ asked }} {{ notes.length }} {{ response }}'}}\n"
        )
        rows = [{"q": "?", "a": "x", "notes": {"length": 3}}, {"q": "?", "a": "y", "notes": {}}]
        (found,) = self.problems(write_task(tmp_path, keys, rows))
        assert found.startswith("own: row 1: judge: grade: ")
        assert "length" in found

    def test_a_scorer_that_a_run_refuses_is_told(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        keys = (
            "doc_to_text: q\ndoc_to_target: a\nfilter_list: [{name: told, filter: [{function: regex, regex_pattern: '([0-9]+)'}]}]\n"
            "metric_list: [{metric: exact_match}]\n"
        )
        path = write_task(tmp_path, keys, [{"q": "?", "a": fruit} for fruit in ("apple", "pear", "fig")])
        (found,) = self.problems(path)
        assert "exact_match of the reading 'told' never gives 1: no gold answer of 3 rows gets it" in found
        assert main(["--model", "dummy", "--tasks", str(path), "--no_cache"]) == 2
        assert found in capsys.readouterr().err

    def test_options_that_are_the_names_of_columns_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        row = {"q": "?", "a": "B", "A": "hall", "B": "street"}
        keys = (
            'doc_to_text: "{{ q }} {{ options }}"\ndoc_to_target: a\ndoc_to_choice: [A, B]\n'
            "filter_list: [{name: s, filter: [{function: choice}]}]\nmetric_list: [{metric: accuracy}]\n"
        )
        (found,) = self.problems(write_task(tmp_path, keys, [row]))
        assert "A, B are columns of the rows, and a list gives these words themselves" in found
        assert 'write doc_to_choice: "{{ [A, B] }}" (or choice_columns: [A, B])' in found
        path = write_task(tmp_path, keys, [row])
        assert main(["--model", "dummy", "--tasks", str(path), "--no_cache"]) == 2
        assert "A, B are columns of the rows" in capsys.readouterr().err
        for columns in ('doc_to_choice: "{{ [A, B] }}"', "choice_columns: [A, B]"):
            given = keys.replace("doc_to_choice: [A, B]", columns)
            assert self.problems(write_task(tmp_path, given, [row])) == []
        words = keys.replace("[A, B]", "\"{{ ['A', 'B'] }}\"")
        assert self.problems(write_task(tmp_path, words, [row])) == []

    def test_options_that_name_columns_are_noted_where_the_words_may_be_meant(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        keys = (
            "doc_to_target: a\ndoc_to_choice: [A, B]\ndoc_to_text: {}\n"
            "filter_list: [{name: s, filter: [{function: choice}]}]\nmetric_list: [{metric: accuracy}]\n"
        )
        row = {"q": "?", "a": "B", "A": "hall", "B": "street"}
        by_template = keys.replace("{}", '"{{ q }} A. {{ A }} B. {{ B }}"')
        assert self.problems(write_task(tmp_path, by_template, [row])) == []
        assert "note: " in (said := capsys.readouterr().err)
        assert "A, B are columns of the rows" in said
        the_word = keys.replace("{}", "q")
        assert self.problems(write_task(tmp_path, the_word, [row, {**row, "A": "A"}], "other")) == []
        assert "A, B are columns of the rows" in capsys.readouterr().err
        one_column = [{"q": "?", "a": "B", "A": "hall"}]
        assert self.problems(write_task(tmp_path, the_word, one_column, "third")) == []
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize(
        ("options", "text", "more", "warned"),
        [
            ("[a hall, a street]", '"{{ q }} a hall or a street?"', "", True),
            ("[hall, street, park]", "\"{{ q }} {{ choices | join(', ') }}\"", "", True),
            ("[hall, street]", '"{{ q }} hall or street?"', PLAIN, False),
            ("[hall, street]", '"{{ q }} {{ options }}"', "", False),
            ("[hall, street]", '"{{ q }} (a) hall (b) street"', "", False),
            ("[hall, street]", '"{{ q }} hall or street?"', "description: Answer A or B.\n", False),
            ("[A major, B minor]", '"{{ q }} Which key?"', "", False),
            ("[A, B]", '"{{ q }} Which one?"', "", False),
        ],
    )
    def test_a_prompt_without_letters_is_warned_of(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        options: str,
        text: str,
        more: str,
        warned: bool,
    ) -> None:
        keys = (
            f"doc_to_text: {text}\ndoc_to_target: a\ndoc_to_choice: {options}\n{more}"
            "filter_list: [{name: s, filter: [{function: choice}]}]\nmetric_list: [{metric: accuracy}]\n"
        )
        keys = keys.replace("function: choice", "function: choice_text") if more == PLAIN else keys
        path = write_task(tmp_path, keys, [{"q": "Where?", "a": 1}])
        assert main(["validate", str(path)]) == 0
        said = "warning: own: row 0: the prompt shows no letters of the options"
        assert (said in (err := capsys.readouterr().err)) == warned, err
        assert ("write choice_layout: plain, with the filter choice_text" in err) == warned

    def test_the_filter_of_options_without_letters_is_named(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        keys = (
            "doc_to_text: \"{{ q }} {{ choices | join(', ') }}\"\ndoc_to_target: a\ndoc_to_choice: c\nLAYOUT"
            "filter_list: [{name: s, filter: [{function: choice}]}]\nmetric_list: [{metric: accuracy}]\n"
        )
        rows = [{"q": f"{a}?", "a": a, "c": ["hall", "street"]} for a in ("hall", "street")]
        advice = "The filter choice answers a letter, and choice_layout: plain shows none: write the filter choice_text"
        path = write_task(tmp_path, keys.replace("LAYOUT", PLAIN), rows)
        said = self.problems(path)
        assert said[0] == f"own: row 0: the gold answer 'hall' gets accuracy 0 in 's', not 1. {advice}"
        assert main(["--model", "dummy", "--tasks", str(path), "--no_cache"]) == 2
        assert advice in capsys.readouterr().err
        path.write_text(path.read_text().replace("function: choice", "function: choice_text"))
        assert self.problems(path) == []
        mapped = "function: choice}, {function: map, mapping_dict: {A: hall, B: street}"
        path.write_text(path.read_text().replace("function: choice_text", mapped))
        assert self.problems(path) == []
        numbered = keys.replace("LAYOUT", "").replace("doc_to_target: a", "doc_to_target: z")
        lettered = write_task(tmp_path, numbered, [{**row, "z": "C"} for row in rows], "other")
        assert "choice_text" not in " ".join(self.problems(lettered))

    def test_no_shipped_task_lacks_letters(self) -> None:
        registry = Registry()
        loaded = [load_task(registry.task_path(name), registry.task_path) for name in registry.names("task")]
        tasks = [task for task in loaded if isinstance(task, Task)]
        assert any(task.writer.question.choices.given for task in tasks)
        assert [task.name for task in tasks if reads_letters_by_default(task)] == []

    def test_rows_without_a_right_answer_are_judged_without_one(self, tmp_path: Path) -> None:
        keys = (
            "doc_to_text: q\ndoc_to_target: a\n"
            "filter_list: [{name: g, filter: [{function: judge_grade}]}]\nmetric_list: [{metric: grade}]\n"
            "judge: {grade: {readings: g, scale: [1, 5], reference: none}}\n"
        )
        assert self.problems(write_task(tmp_path, keys, [{"q": "?", "a": ""}])) == []


def test_a_folder_and_a_pattern_are_what_they_are_for_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("one", "two"):
        write_task(tmp_path, KEYS, [{"q": "?", "a": "x"}], name)
    assert main(["validate", str(tmp_path)]) == 0
    assert [line.split(":")[0].rpartition("/")[2] for line in capsys.readouterr().out.splitlines()] == [
        "one.yaml",
        "two.yaml",
    ]
    assert main(["validate", "--tasks", "vox_*"]) == 0
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == ["vox_age", "vox_gender"]
