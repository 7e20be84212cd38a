"""Tests the review by ear: the sample, the page, and the removal of rejected rows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from helpers import make_audiomarathon_data, make_source_corpora
from helpers.built_recipe import at_test_rate, reader
from marathon_eval.corpus.audit.doctor import examine
from marathon_eval.corpus.audit.expected import load_known
from marathon_eval.corpus.audit.review import apply, read_verdicts, rejected_rows
from marathon_eval.corpus.audit.review_page import page, review_sample
from marathon_eval.corpus.audit.survey import survey
from marathon_eval.corpus.build.builder import build
from marathon_eval.corpus.build.pipeline import Order
from marathon_eval.errors import MarathonError


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marathon_eval", "review", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


class Page(HTMLParser):
    """What a browser would load and show."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.data = ""
        self._in_data = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        self.sources += [str(given[name]) for name in ("src", "href") if name in given]
        self._in_data = tag == "script" and given.get("id") == "data"

    def handle_endtag(self, tag: str) -> None:
        self._in_data = False

    def handle_data(self, data: str) -> None:
        if self._in_data:
            self.data += data
        else:
            self.text.append(data)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_audiomarathon_data.build(
        tmp_path / "data", {"tau": 200, "race": 40, "librispeech": 5, "had": 30}
    )


def test_a_seeded_tenth_of_every_task(data: Path) -> None:
    found = survey(data, load_known())
    rows = review_sample(found, 0.1, 42)
    counts = {task: sum(row.task == task for row in rows) for task in found.tasks()}
    assert counts == {"tau": 20, "race": 4, "librispeech": 1, "had": 3}
    assert rows == review_sample(survey(data, load_known()), 0.1, 42)
    assert rows != review_sample(found, 0.1, 43)
    assert len({(row.task, row.key) for row in rows}) == len(rows)


def test_the_page_holds_a_player_and_the_whole_question_for_every_row(data: Path) -> None:
    found = survey(data, load_known())
    rows = review_sample(found, 0.1, 42)
    shown = Page(page(found, rows, data, 0.1, 42).decode())
    assert len(shown.sources) == len(rows) == shown.tags.count("audio")
    for row, source in zip(rows, shown.sources, strict=True):
        assert (data / unquote(source)).samefile(str(row.audio))
    text = " ".join(shown.text)
    for row in rows:
        assert row.key in text
        assert all(option in text for option in row.options)
        assert (row.question or "") in text
    assert shown.text.count("Accept") == shown.text.count("Reject") == len(rows)
    kept = json.loads(shown.data)
    assert [(row["task"], row["key"]) for row in kept["rows"]] == [(row.task, row.key) for row in rows]


def test_data_is_shown_as_text_and_never_runs(tmp_path: Path) -> None:
    root = make_audiomarathon_data.build(tmp_path / "da ta#1", {"tau": 1})
    file = root / "TAU/concatenated_resampled/acoustic_scene_task_meta.json"
    (row,) = json.loads(file.read_text())
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    audio = root / "TAU/concatenated_resampled" / row["path"]
    odd = audio.with_name('a "b" %41 #2?.wav')
    audio.rename(odd)
    file.write_text(
        json.dumps([{**row, "question": evil, "choice_a": evil, "path": f"{odd.parent.name}/{odd.name}"}])
    )
    found = survey(root, load_known())
    shown = Page(page(found, found.rows, tmp_path, 1.0, 0).decode())
    assert shown.tags.count("script") == 2
    assert "img" not in shown.tags
    assert (tmp_path / unquote(shown.sources[0])).samefile(odd)
    assert json.loads(shown.data)["rows"][0]["question"] == evil


def verdict_file(path: Path, entries: list[tuple[str, str, str]], **more: Any) -> Path:
    verdicts = [
        {"task": task, "row": row, "verdict": verdict, "reason": "why"} for task, row, verdict in entries
    ]
    path.write_text(json.dumps({"schema_version": 1, "verdicts": verdicts, **more}))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and path.suffix != ".lock"
        and path.relative_to(folder).parts[0] not in ("rejected", "speech")
    }


REJECTED = {
    "tau": ["TAU/concatenated_resampled/park/park_milan-3_segment_1.wav"],
    "had": ["HAD/concatenated_audio/real/HAD_train_real_1.wav"],
    "race": [
        "race_audio/test/high/1.wav#1",
        "race_audio/test/middle/2.wav#0",
        "race_audio/test/middle/2.wav#1",
    ],
    "librispeech": ["librispeech-long/test-clean/1089/134686/1089-134686-0001.flac"],
    "desed": ["DESED/DESED_dataset/concatenated_audio/Cat/Cat_001.wav"],
}


@pytest.mark.parametrize("name", REJECTED)
def test_rejected_rows_leave_a_built_set_as_if_it_had_been_built_without_them(
    name: str, tmp_path: Path
) -> None:
    tts = reader(tmp_path)
    source = make_source_corpora.CORPORA[name](tmp_path / "source")
    build(at_test_rate(name), Order(source, tmp_path / "reviewed", tts=tts))
    path = verdict_file(tmp_path / "verdicts.json", [(name, row, "reject") for row in REJECTED[name]])
    done = apply(tmp_path / "reviewed", load_known(), read_verdicts(path, "--verdicts"), "--verdicts")
    assert sorted(done.rows) == sorted(REJECTED[name])
    order = Order(source, tmp_path / "rebuilt", tts=tts, rejected=rejected_rows(path, "--verdicts", name))
    build(at_test_rate(name), order)
    assert contents(tmp_path / "reviewed") == contents(tmp_path / "rebuilt")
    assert {
        item.known and item.known.name for item in examine(tmp_path / "reviewed", load_known()).findings
    } <= {"librispeech_floor"}
    for file in done.files:
        assert (tmp_path / "reviewed" / "rejected" / file).is_file()
    record = json.loads((tmp_path / "reviewed/rejected/review.json").read_text())
    assert sorted(entry["row"] for entry in record) == sorted(REJECTED[name])
    assert all(entry["reason"] == "why" for entry in record)


def test_a_finished_build_takes_verdicts_on_being_built_again(tmp_path: Path) -> None:
    source = make_source_corpora.tau(tmp_path / "source")
    build(at_test_rate("tau"), Order(source, tmp_path / "out"))
    done = build(at_test_rate("tau"), Order(source, tmp_path / "out", rejected=frozenset(REJECTED["tau"])))
    assert (done.files, done.rows, done.made) == (2, 2, 0)
    assert not (tmp_path / "out" / REJECTED["tau"][0]).exists()


@pytest.mark.parametrize("name", ["tau", "race", "librispeech"])
def test_a_build_run_again_keeps_what_a_review_rejected(name: str, tmp_path: Path) -> None:
    tts, out = reader(tmp_path), tmp_path / "out"
    order = Order(make_source_corpora.CORPORA[name](tmp_path / "source"), out, tts=tts)
    build(at_test_rate(name), order)
    path = verdict_file(tmp_path / "verdicts.json", [(name, row, "reject") for row in REJECTED[name]])
    apply(out, load_known(), read_verdicts(path, "--verdicts"), "--verdicts")
    reviewed = contents(out)
    said: list[str] = []
    assert build(at_test_rate(name), order, said.append).made == 0
    assert contents(out) == reviewed
    assert json.loads((out / "manifests" / f"{name}.json").read_text())["rejected"] == sorted(REJECTED[name])
    assert f"{name}: {len(REJECTED[name])} rows stay out that a review rejected" in said


def test_the_record_of_a_review_counts_without_the_manifest(tmp_path: Path) -> None:
    order = Order(make_source_corpora.tau(tmp_path / "source"), tmp_path / "out")
    build(at_test_rate("tau"), order)
    path = verdict_file(tmp_path / "v.json", [("tau", row, "reject") for row in REJECTED["tau"]])
    apply(tmp_path / "out", load_known(), read_verdicts(path, "--verdicts"), "--verdicts")
    shutil.rmtree(tmp_path / "out" / "TAU")
    (tmp_path / "out" / "manifests" / "tau.json").unlink()
    assert build(at_test_rate("tau"), order).rows == 2
    assert not (tmp_path / "out" / REJECTED["tau"][0]).exists()


def test_a_review_is_not_replaced_by_another_recipe(tmp_path: Path) -> None:
    order = Order(make_source_corpora.tau(tmp_path / "source"), tmp_path / "out")
    build(at_test_rate("tau"), replace(order, rejected=frozenset(REJECTED["tau"])))
    before = contents(tmp_path / "out")
    other = at_test_rate("tau").model_copy(update={"seed": 99})
    with pytest.raises(MarathonError, match=r"--replace: a review rejected 1 rows of tau"):
        build(other, replace(order, replace=True))
    assert contents(tmp_path / "out") == before


def test_edited_metadata_is_not_overwritten(tmp_path: Path) -> None:
    order = Order(make_source_corpora.tau(tmp_path / "source"), tmp_path / "out")
    build(at_test_rate("tau"), order)
    (metadata,) = json.loads((tmp_path / "out/manifests/tau.json").read_text())["metadata"]
    (file,) = (tmp_path / "out").rglob(metadata)
    built = file.read_bytes()
    file.write_bytes(built.replace(b"park", b"Park"))
    with pytest.raises(MarathonError, match="was edited since it was built"):
        build(at_test_rate("tau"), order)
    build(at_test_rate("tau"), replace(order, replace=True))
    assert file.read_bytes() == built


def test_applying_twice_is_applying_once(tmp_path: Path, data: Path) -> None:
    found = survey(data, load_known())
    entries = [
        (row.task, row.key, "reject" if n % 2 else "accept")
        for n, row in enumerate(review_sample(found, 0.1, 1))
    ]
    verdicts = read_verdicts(verdict_file(tmp_path / "v.json", entries), "--verdicts")
    done = apply(data, load_known(), verdicts, "--verdicts")
    assert len(done.rows) == len(entries) // 2
    assert (done.judged, done.accepted) == (len(entries), len(entries) - len(entries) // 2)
    after, record = contents(data), (data / "rejected/review.json").read_bytes()
    again = apply(data, load_known(), verdicts, "--verdicts")
    assert (again.rows, again.files) == ([], [])
    assert (contents(data), (data / "rejected/review.json").read_bytes()) == (after, record)
    left = {(row.task, row.key) for row in survey(data, load_known()).rows}
    assert left == {(row.task, row.key) for row in found.rows} - {
        (t, r) for t, r, v in entries if v == "reject"
    }


def test_a_killed_call_is_finished_by_the_next(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = next(row for row in survey(data, load_known()).rows if row.task == "tau")
    verdicts = read_verdicts(verdict_file(tmp_path / "v.json", [("tau", row.key, "reject")]), "--verdicts")
    from marathon_eval.corpus.audit import review

    def killed(*_: object) -> list[str]:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(review, "move_audio", killed)
        with pytest.raises(KeyboardInterrupt):
            apply(data, load_known(), verdicts, "--verdicts")
    assert apply(data, load_known(), verdicts, "--verdicts").files == [row.key]
    assert not (data / row.key).exists()


def test_audio_that_another_row_uses_stays(tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", {"vox_age": 4})
    folder = data / "VoxCeleb/concatenated_audio"
    rows = json.loads((folder / "age_classification_task_meta.json").read_text())
    gender = [{**row, "choice_a": "Male", "choice_b": "Female", "answer_gt": "Male"} for row in rows]
    (folder / "gender_id_task_meta.json").write_text(json.dumps(gender))
    key = f"VoxCeleb/concatenated_audio/wav/{rows[0]['path']}"
    verdicts = read_verdicts(verdict_file(tmp_path / "v.json", [("vox_age", key, "reject")]), "--verdicts")
    assert apply(data, load_known(), verdicts, "--verdicts").files == []
    assert len(json.loads((folder / "age_classification_task_meta.json").read_text())) == 3
    assert len(json.loads((folder / "gender_id_task_meta.json").read_text())) == 4


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("{", r"--verdicts: .*v\.json: not a verdicts file of a review page"),
        ("[]", r"not a verdicts file of a review page"),
        ('{"schema_version": 3, "verdicts": []}', r"schema version 3 is not supported, only 1 and 2"),
        (
            '{"schema_version": 1, "verdicts": [{"task": "tau"}]}',
            r"not a verdicts file of a review page \(KeyError: 'row'\)",
        ),
        (
            '{"schema_version": 1, "verdicts": [{"task": "tau", "row": "x", "verdict": "maybe"}]}',
            r"'maybe' is not one of accept, reject",
        ),
        (
            '{"schema_version": 1, "verdicts": [{"task": "tau", "row": "x", "verdict": "reject"}]}',
            r"tau has no row 'x' in",
        ),
    ],
)
def test_bad_verdicts_change_nothing(data: Path, tmp_path: Path, content: str, error: str) -> None:
    (tmp_path / "v.json").write_text(content)
    before = contents(data)
    with pytest.raises(MarathonError, match=error):
        apply(data, load_known(), read_verdicts(tmp_path / "v.json", "--verdicts"), "--verdicts")
    assert contents(data) == before


def test_the_command_line(data: Path, tmp_path: Path) -> None:
    done = run(str(data), "--tasks", "tau", "--share", "0.05")
    assert done.returncode == 0, done.stderr
    assert "10 of 200 rows to review" in done.stdout
    shown = Page((data / "review.html").read_text())
    rows = json.loads(shown.data)["rows"]
    path = verdict_file(
        tmp_path / "v.json",
        [("tau", row["key"], "accept") for row in rows[1:]] + [("tau", rows[0]["key"], "reject")],
    )
    done = run(str(data), "--verdicts", str(path))
    assert (
        "10 rows reviewed, 9 accepted (90.0%, 95 % CI 52.1%-99.5%); 1 rows and 1 files removed" in done.stdout
    )
    for words, error in (
        ((str(data), "--share", "0"), "--share: must be above 0 and at most 1, got 0.0"),
        ((str(data), "--tasks", "tua"), "Did you mean tau?"),
        ((str(tmp_path / "none"),), "no such folder"),
        ((str(data), "--verdicts", str(tmp_path / "none.json")), "not a verdicts file of a review page"),
    ):
        wrong = run(*words)
        assert wrong.returncode == 2
        assert error in wrong.stderr
