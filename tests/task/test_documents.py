"""Tests loading of documents: sources, selection, found and missing audio, and bad rows and files."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from helpers.audiomarathon_prompts import load_shipped
from helpers.minimal_task import HEARD, KEYS, docs_of, errors, load, touch, write_task
from marathon_eval.errors import MarathonError
from marathon_eval.task.data.selection import Row, RowLengths, balanced_rows
from marathon_eval.task.yaml.data_config import Balance


class TestRows:
    def test_a_bad_row_keeps_its_reason_and_the_others_are_asked(self, tmp_path: Path) -> None:
        touch(tmp_path / "a.wav")
        good = {"q": "?", "a": "x", "path": "a.wav"}
        rows = [
            good,
            "not an object",
            {"q": "?", "path": "a.wav"},
            {**good, "path": "gone.wav"},
            {**good, "path": 7},
            {"q": "?", "a": "x"},
            {**good, "a": ""},
        ]
        docset = docs_of(tmp_path, HEARD, rows)
        assert docset.n_loaded == docset.n_meta == len(rows)
        assert docset.docs[0].error is None
        for text, error in zip(
            [
                "is str, not an object",
                "has no 'a'",
                "gone.wav: no such",
                "must be a path",
                "no 'path'",
                "is empty",
            ],
            errors(docset),
            strict=True,
        ):
            assert text in error
        assert all(f"row {number}" in error for number, error in enumerate(errors(docset), 1))

    def test_a_column_that_no_row_has_stops_with_the_nearest(self, tmp_path: Path) -> None:
        with pytest.raises(MarathonError, match=r"own\.yaml:4: doc_to_target: no row has 'b'"):
            docs_of(tmp_path, "doc_to_text: q\ndoc_to_target: b\n", [{"q": "?", "a": "x"}])
        with pytest.raises(MarathonError, match=r"doc_to_text: no row has 'qq'"):
            docs_of(tmp_path, 'doc_to_text: "{{ qq }}"\ndoc_to_target: a\n', [{"q": "?", "a": "x"}])
        with pytest.raises(MarathonError, match=r"choice_columns: no row has 'c'"):
            docs_of(tmp_path, KEYS + "choice_columns: [a, c]\n", [{"q": "?", "a": "x"}])

    def test_gold_that_is_none_of_the_options(self, tmp_path: Path) -> None:
        rows = [{"q": "?", "a": "E", "o": ["x", "y"]}, {"q": "?", "a": "y", "o": ["x", "y"]}]
        docset = docs_of(tmp_path, KEYS + "doc_to_choice: o\n", rows)
        assert "gold 'E' is none of the options" in errors(docset)[0]
        assert (docset.docs[1].target, docset.docs[1].choices) == ("y", ("x", "y"))

    def test_doc_ids_are_places_in_the_file_whatever_is_chosen(self, tmp_path: Path) -> None:
        rows = [{"q": str(number), "a": "x", "kind": "odd" if number % 2 else "even"} for number in range(8)]
        keys = (
            KEYS
            + "subsets: {odd: {drop: [{fields: {kind: EVEN}}]}, exact: {drop: [{fields: {kind: EVEN}, ignore_case: false}]}}\n"
        )

        def ids(**choice: Any) -> list[int]:
            return [doc.doc_id for doc in docs_of(tmp_path, keys, rows, **choice).docs]

        assert ids() == list(range(8))
        assert ids(subset="odd") == [1, 3, 5, 7]
        assert ids(subset="exact") == list(range(8))
        assert ids(subset="odd", limit=2) == [1, 3]
        assert ids(limit=0.3) == [0, 1, 2]
        assert ids(samples=[6, 2]) == [6, 2]
        with pytest.raises(MarathonError, match="--samples: row 6 is named 3 times; name each row once"):
            ids(samples=[6, 2, 6, 6])
        with pytest.raises(MarathonError, match="--samples: row 2 is not among the 4"):
            ids(subset="odd", samples=[2])
        with pytest.raises(MarathonError, match=r"--subset: no subset 'ood'\. Did you mean odd"):
            ids(subset="ood")
        with pytest.raises(MarathonError, match="--limit: must be a number of rows or a fraction"):
            ids(limit=0)

    @pytest.mark.parametrize(
        ("rule", "key"),
        [
            ("subsets: {s: {drop: [{fields: {knd: odd}}]}}\ndefault_subset: s\n", "subsets: s: drop"),
            ("subsets: {s: {balance: {by: knd}}}\ndefault_subset: s\n", "subsets: s: balance"),
            ("only_rows: {fields: {knd: odd}}\n", "only_rows"),
        ],
    )
    def test_a_rule_for_a_column_that_no_row_has_is_refused(
        self, tmp_path: Path, rule: str, key: str
    ) -> None:
        rows = [{"q": "?", "a": "x"}, {"q": "?", "a": "x", "kind": "odd"}]
        with pytest.raises(
            MarathonError, match=rf"{key}: no row has 'knd'\. Did you mean kind.* Rows have: a, kind, q"
        ):
            docs_of(tmp_path, KEYS + rule, rows)
        docs_of(tmp_path, KEYS + rule.replace("knd", "kind"), rows)

    @pytest.mark.parametrize("split", ["train[:1]", "train+test", "train[50%:]"])
    @pytest.mark.parametrize("files", ["rows.json", "[rows.json]", "{train: rows.json}"])
    def test_a_part_of_a_split_is_refused_for_data_files(
        self, tmp_path: Path, split: str, files: str
    ) -> None:
        path = write_task(tmp_path, f"{KEYS}test_split: '{split}'\n", [{"q": "?", "a": "x"}])
        path.write_text(path.read_text().replace("data_files: rows.json", f"data_files: {files}"))
        with pytest.raises(
            MarathonError, match=r"data files are read whole: name one split; only_rows, --limit"
        ):
            load(path).docs(str(tmp_path))

    def test_counts_add_up(self, tmp_path: Path) -> None:
        for number in range(6):
            touch(tmp_path / f"{number}.wav")
        rows = [{"q": "?", "a": "x", "path": f"{number}.wav", "kind": number // 4} for number in range(9)]
        keys = HEARD + "known_missing: ['6.wav', '[01].wav']\nsubsets: {s: {drop: [{fields: {kind: 2}}]}}\n"
        docset = docs_of(tmp_path, keys, rows, subset="s", limit=6)
        manifest = docset.manifest()
        assert (manifest["n_meta"], manifest["n_filtered"], manifest["n_missing"]) == (9, 1, 1)
        assert (manifest["n_loaded"], manifest["n_not_asked"]) == (6, 1)
        assert errors(docset) == [], "0.wav and 1.wav may be absent, and are there"

    def test_rows_are_chosen_by_the_seconds_of_their_clips_before_the_limit(self, tmp_path: Path) -> None:
        for number in range(4):
            soundfile.write(tmp_path / f"{number}.wav", np.zeros(800 * (number + 1)), 8000)
        (tmp_path / "damaged.wav").write_bytes(b"RIFF")
        names: list[Any] = ["0.wav", "1.wav", "2.wav", "3.wav", ["0.wav", "1.wav"], "damaged.wav"]
        rows = [{"q": "?", "a": "x", "path": name} for name in names]

        def ids(keys: str = "", **choice: Any) -> list[int]:
            return [doc.doc_id for doc in docs_of(tmp_path, HEARD + keys, rows, **choice).docs]

        assert ids(lengths=RowLengths(most=0.25)) == [0, 1, 5], (
            "what cannot be measured is an error row, not left out"
        )
        assert ids(lengths=RowLengths(0.25)) == [2, 3, 4, 5]
        assert ids(lengths=RowLengths(0.2, 0.3)) == [1, 2, 4, 5]
        assert ids(lengths=RowLengths(0.25), limit=2) == [2, 3]
        assert ids("max_seconds: 0.25\n") == [0, 1, 5]
        docset = docs_of(tmp_path, HEARD + "max_seconds: 0.35\n", rows, lengths=RowLengths(0.25), limit=1)
        assert (docset.n_filtered, docset.n_length) == (3, 2), "one by the task, two by the flags"
        assert docset.manifest()["n_not_asked"] == 2
        with pytest.raises(MarathonError, match="--samples: row 3 is not among the 3"):
            ids(lengths=RowLengths(most=0.25), samples=[3])
        with pytest.raises(MarathonError, match=r"own.yaml:\d+: min_seconds: 3 is above max_seconds: 2"):
            ids("min_seconds: 3\nmax_seconds: 2\n")

    def test_missing_audio_is_an_error_row_unless_the_task_drops_it(self, tmp_path: Path) -> None:
        touch(tmp_path / "0.wav")
        rows = [{"q": "?", "a": "x", "path": f"{number}.wav"} for number in range(3)]
        kept = docs_of(tmp_path, HEARD, rows)
        assert (kept.n_missing, len(errors(kept))) == (0, 2)
        dropped = docs_of(tmp_path, HEARD + "on_missing_audio: drop\n", rows)
        assert (dropped.n_missing, dropped.n_loaded) == (2, 1)

    def test_the_manifest_hash_moves_with_rows_audio_and_targets_only(self, tmp_path: Path) -> None:
        for name in ("a.wav", "b.wav"):
            touch(tmp_path / name)
        row = {"q": "?", "a": "x", "path": "a.wav"}
        whole = docs_of(tmp_path, HEARD, [row]).manifest_sha256
        assert docs_of(tmp_path, HEARD, [{**row, "q": "other"}]).manifest_sha256 == whole
        assert docs_of(tmp_path, HEARD, [{**row, "path": "b.wav"}]).manifest_sha256 != whole
        assert docs_of(tmp_path, HEARD, [{**row, "a": "y"}]).manifest_sha256 != whole
        assert docs_of(tmp_path, HEARD, [row, row]).manifest_sha256 != whole


class TestBalance:
    def rows(self, real: int, fake: int) -> list[Row]:
        labels = ["real"] * real + ["Fake "] * fake
        return [Row(n, "", {"label": label, "path": f"{9999 - n}.wav"}) for n, label in enumerate(labels)]

    def chosen(self, rows: list[Row], seed: int = 42) -> list[Row]:
        return balanced_rows(rows, Balance(by="label", seed=seed), lambda row: str(row.values["path"]))

    def test_it_is_the_documented_sample_whatever_order_the_file_has(self) -> None:
        rows = self.rows(20, 7)
        chosen = self.chosen(rows)
        real = sorted(
            (row for row in rows if row.values["label"] == "real"), key=lambda row: row.values["path"]
        )
        expected = {row.number for row in Random(42).sample(real, 7)}
        assert {row.number for row in chosen if row.values["label"] == "real"} == expected
        shuffled = list(rows)
        Random(1).shuffle(shuffled)
        assert self.chosen(shuffled) == chosen
        assert self.chosen(rows, seed=1) != chosen

    def test_classes_take_turns_so_that_a_limit_is_balanced(self) -> None:
        chosen = self.chosen(self.rows(9, 4))
        assert [row.values["label"].strip().lower() for row in chosen] == ["fake", "real"] * 4

    @given(st.integers(0, 30), st.integers(0, 30))
    def test_every_class_has_the_size_of_the_smallest(self, real: int, fake: int) -> None:
        size = min(real, fake) if real and fake else max(real, fake)
        counts = [row.values["label"] for row in self.chosen(self.rows(real, fake))]
        assert {label: counts.count(label) for label in set(counts)} == dict.fromkeys(
            set(counts), size if size else 0
        )

    def test_a_row_without_the_column_is_left_to_be_an_error_row(self) -> None:
        rows = [*self.rows(2, 1), Row(9, "", {"path": "x"}), Row(10, "", {"path": "y", "label": None})]
        assert [row.number for row in self.chosen(rows)][-2:] == [9, 10]


class TestTranscripts:
    FOLDER = "librispeech-long/test-clean/1/2"

    def docs(self, root: Path) -> dict[str, Any]:
        docset = load_shipped("librispeech").docs(str(root))
        return {doc.fields["utterance"]: doc.error or doc.target for doc in docset.docs}

    @pytest.mark.parametrize("lines", ["1-2-10 TEN\n1-2-1 ONE\n", "1-2-1 ONE\n1-2-10 TEN\n"])
    def test_ids_are_compared_whole(self, tmp_path: Path, lines: str) -> None:
        for name in ("1-2-1", "1-2-10", "1-2-3"):
            touch(tmp_path / self.FOLDER / f"{name}.flac")
        (tmp_path / self.FOLDER / "1-2.trans.txt").write_text(lines)
        found = self.docs(tmp_path)
        assert (found["1-2-1"], found["1-2-10"]) == ("ONE", "TEN")
        assert "1-2-3.flac: no transcript" in found["1-2-3"]

    def test_a_text_beside_the_clip_comes_first(self, tmp_path: Path) -> None:
        for name, text in (("1-2-1", "1-2-1 WITH ID\n"), ("1-2-2", "without id"), ("1-2-3", " \n")):
            touch(tmp_path / self.FOLDER / f"{name}.flac")
            (tmp_path / self.FOLDER / f"{name}.txt").write_text(text)
        (tmp_path / self.FOLDER / "1-2.trans.txt").write_text("1-2-1 OTHER\n")
        found = self.docs(tmp_path)
        assert (found["1-2-1"], found["1-2-2"]) == ("WITH ID", "without id")
        assert "holds no transcript" in found["1-2-3"]


class TestRowsWithoutAudio:
    @pytest.mark.parametrize("path", [[], None, ""])
    def test_are_error_rows(self, tmp_path: Path, path: Any) -> None:
        touch(tmp_path / "1.wav")
        rows = [{"q": "a", "a": "b", "path": ["1.wav"]}, {"q": "a", "a": "b", "path": path}]
        docset = docs_of(tmp_path, HEARD, rows)
        assert len(errors(docset)) == 1
        assert docset.docs[1].error is not None
        assert docset.docs[1].error.startswith("row 1: ")

    @pytest.mark.parametrize("path", [[], None, ""])
    def test_are_asked_where_the_task_says_that_audio_is_optional(self, tmp_path: Path, path: Any) -> None:
        touch(tmp_path / "1.wav")
        rows = [{"q": "a", "a": "b", "path": ["1.wav"]}, {"q": "a", "a": "b", "path": path}]
        docset = docs_of(tmp_path, HEARD + "audio_optional: true\n", rows)
        assert errors(docset) == []
        assert [len(doc.audio) for doc in docset.docs] == [1, 0]


class TestGoldIsText:
    KEYS = HEARD.replace("doc_to_audio: path\n", "") + "doc_to_choice: [cat, Dog, '7']\n"

    @pytest.mark.parametrize(("gold", "target"), [("cat", "cat"), (" dog ", "Dog"), (7, "7"), ("b", "B")])
    def test_an_option_is_the_target(self, tmp_path: Path, gold: Any, target: str) -> None:
        docset = docs_of(tmp_path, self.KEYS + "gold_is: text\n", [{"q": "q", "a": gold}])
        assert [doc.target for doc in docset.docs] == [target]

    @pytest.mark.parametrize("gold", ["cow", "", 1, "cat or Dog", ["cat", "cow"], []])
    def test_anything_else_is_an_error_row(self, tmp_path: Path, gold: Any) -> None:
        docset = docs_of(tmp_path, self.KEYS + "gold_is: text\n", [{"q": "q", "a": gold}])
        assert len(errors(docset)) == 1
        assert "row 0: " in errors(docset)[0]

    def test_any_text_keeps_it_for_released_scripts(self, tmp_path: Path) -> None:
        docset = docs_of(tmp_path, self.KEYS + "gold_is: any_text\n", [{"q": "q", "a": "cow"}])
        assert [doc.target for doc in docset.docs] == ["cow"]


@pytest.mark.parametrize("time", ["1e400", "-1e400", "NaN", "1" + "0" * 300, '"x"'])
@pytest.mark.parametrize("key", ["start", "stop"])
def test_a_time_that_is_no_number_of_seconds_is_the_rows_error(tmp_path: Path, key: str, time: str) -> None:
    path = write_task(tmp_path, HEARD)
    touch(tmp_path / "a.wav")
    row = f'{{"q": "?", "a": "x", "path": {{"path": "a.wav", "{key}": {time}}}}}'
    (tmp_path / "rows.json").write_text(f'[{row}, {{"q": "?", "a": "x", "path": "a.wav"}}]')
    docs = load(path).docs(str(tmp_path)).docs
    assert "audio must be a path, or path, start and stop" in str(docs[0].error)
    assert docs[1].error is None
