"""Few-shot examples: they pass the steps of documents, and are never the question itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import KEYS, docs_of, errors, load, make_task, write_task
from marathon_eval.errors import MarathonError

FEW = KEYS + "num_fewshot: 2\n"
ROWS = [{"q": f"q{number}", "a": f"a{number}", "path": f"high/{number}.wav"} for number in range(6)]


def prompts(folder: Path, keys: str, rows: Any) -> list[str]:
    task = make_task(folder, keys, rows)
    return [task.requests(doc)[0].prompt for doc in task.docs(str(folder)).docs]


class TestNeverTheQuestionItself:
    def test_with_a_row_step_that_adds_columns(self, tmp_path: Path) -> None:
        rows = ROWS[:3]
        for row, prompt in zip(
            rows, prompts(tmp_path, FEW + "process_docs: race_difficulty\n", rows), strict=True
        ):
            assert prompt.count(row["q"]) == 1
            assert row["a"] not in prompt

    def test_a_row_of_another_split_that_asks_the_same(self, tmp_path: Path) -> None:
        (tmp_path / "train.json").write_text('[{"q": "q0", "a": "leak", "id": 7}, {"q": "x", "a": "y"}]')
        path = write_task(tmp_path, KEYS, ROWS[:1])
        path.write_text(
            "dataset_path: json\ndataset_kwargs: {data_files: {test: rows.json, train: train.json}}\n"
            + KEYS
            + "num_fewshot: 1\nfewshot_split: train\nfewshot_config: {sampler: first_n}\n"
        )
        task = load(path)
        prompt = task.requests(task.docs(str(tmp_path)).docs[0])[0].prompt
        assert prompt == "x y\n\nq0"

    def test_equal_rows_of_the_split(self, tmp_path: Path) -> None:
        twice = [
            {"q": "same", "a": "s"},
            {"q": "same", "a": "s", "id": 1},
            {"q": "other", "a": "o"},
            {"q": "z", "a": "y"},
        ]
        for prompt in prompts(tmp_path, FEW, twice)[:2]:
            assert prompt.count("same") == 1

    def test_too_few_others_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(MarathonError, match="only 1 other rows that can be examples of row 0"):
            docs_of(tmp_path, FEW, ROWS[:2])


class TestSameSteps:
    def test_row_steps(self, tmp_path: Path) -> None:
        keys = FEW.replace("doc_to_text: q", 'doc_to_text: "{{ q }} {{ difficulty }}"')
        assert all(
            prompt.count(" high") == 3
            for prompt in prompts(tmp_path, keys + "process_docs: race_difficulty\n", ROWS)
        )

    def test_row_steps_of_fewshot_config(self, tmp_path: Path) -> None:
        keys = FEW + (
            "fewshot_config: {process_docs: race_difficulty, doc_to_text: '{{ q }} {{ difficulty }}'}\n"
        )
        assert all(prompt.count(" high") == 2 for prompt in prompts(tmp_path, keys, ROWS))

    def test_an_unknown_step_is_refused_with_its_line(self, tmp_path: Path) -> None:
        with pytest.raises(MarathonError, match=r"own.yaml:6: process_docs: .*race_difficulty"):
            make_task(tmp_path, FEW + "fewshot_config: {process_docs: race_dificulty}\n", ROWS)

    def test_only_rows_of_another_split(self, tmp_path: Path) -> None:
        (tmp_path / "train.json").write_text(
            '[{"q": "mine", "a": "1", "of": "a"}, {"q": "theirs", "a": "2", "of": "b"}, {"q": "ours", "a": "3", "of": "a"}]'
        )
        write_task(tmp_path, KEYS, [{"q": "q", "a": "b", "of": "a"}])
        path = tmp_path / "own.yaml"
        path.write_text(
            "dataset_path: json\ndataset_kwargs: {data_files: {test: rows.json, train: train.json}}\n"
            + FEW
            + "training_split: train\nonly_rows: {fields: {of: a}}\n"
        )
        task = load(path)
        prompt = task.requests(task.docs(str(tmp_path)).docs[0])[0].prompt
        assert "mine" in prompt
        assert "ours" in prompt
        assert "theirs" not in prompt

    def test_gold_is_text(self, tmp_path: Path) -> None:
        keys = FEW + "doc_to_choice: ['10', '11', '12']\ngold_is: text\nfewshot_config: {sampler: first_n}\n"
        rows = [{"q": f"q{number}", "a": 10 + number % 3} for number in range(4)]
        assert prompts(tmp_path, keys, rows)[3] == "q0 10\n\nq1 11\n\nq3"

    def test_a_row_without_a_valid_gold_is_no_example(self, tmp_path: Path) -> None:
        keys = FEW + "doc_to_choice: [x, y]\nfewshot_config: {sampler: first_n}\n"
        rows = [{"q": "bad", "a": "z"}, *({"q": f"q{number}", "a": "x"} for number in range(3))]
        docset = docs_of(tmp_path, keys, rows)
        assert len(errors(docset)) == 1
        assert [row["q"] for row in docset.docs[3].examples] == ["q0", "q1"]

    def test_an_example_of_the_yaml_that_cannot_be_used_is_refused(self, tmp_path: Path) -> None:
        keys = FEW + "fewshot_config: {samples: [{q: x, a: y}, {q: z}]}\n"
        with pytest.raises(MarathonError, match="example 1: .*no 'a'"):
            docs_of(tmp_path, keys, ROWS)

    def test_an_index_beyond_the_rows_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MarathonError, match="fewshot_indices: 6 is not among the 6 rows"):
            docs_of(tmp_path, FEW + "fewshot_config: {fewshot_indices: [0, 1, 6]}\n", ROWS)
