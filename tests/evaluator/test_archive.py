"""Tests archives of runs: reproducible bytes, scoring again without the data, and refusal of changed archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import make_audiomarathon_data
from helpers.fuzz_cases import cases, mutated, survives
from helpers.minimal_task import write_task
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.rescore.archive import LIST, read_archive, write_archive
from marathon_eval.evaluator.rescore.verify_archive import verify_archive

REPEATED = """
doc_to_text: "{{ q }}"
doc_to_target: a
num_fewshot: 1
repeats: 3
generation_kwargs: {temperature: 0.7}
filter_list: [{name: most, filter: [{function: majority_vote}, {function: take_first}]}]
metric_list: [{metric: exact_match}]
breakdown: q
"""


def run(folder: Path, *flags: str) -> Path:
    """A run of the dummy model; its parent folder."""
    kept = ["--use_cache", str(folder / "kept"), "--output_path", str(folder / "out")]
    assert main(["run", "--model", "dummy", "--model_args", "mode=random", *kept, *flags]) in (0, 3)
    return folder / "out"


def typed(folder: Path, *flags: str) -> list[str]:
    """Return the flags for `pack`, which takes no folder from the run itself."""
    named = flags[flags.index("--data_dir") :][:2] if "--data_dir" in flags else ()
    return ["--use_cache", str(folder / "kept"), "--include_path", str(folder), *named]


def packed(folder: Path, *flags: str) -> Path:
    archive = folder / "run.tar.gz"
    out = str(run(folder, *flags))
    assert main(["pack", out, "--output", str(archive), *typed(folder, *flags)]) == 0
    return archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a group whose data, cache and folder are gone."""
    folder = tmp_path_factory.mktemp("packed")
    data = make_audiomarathon_data.build(folder / "data", 4)
    made = packed(folder, "--tasks", "audiomarathon", "--data_dir", str(data))
    for gone in ("data", "kept", "out"):
        shutil.rmtree(folder / gone)
    return made


def test_a_packed_run_is_scored_again_from_the_archive_alone(
    archive: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["unpack_verify", str(archive)]) == 0
    assert "the same, bit for bit" in capsys.readouterr().out
    found = verify_archive(archive)
    assert found.n_samples == found.n_answers > 30
    names = set(read_archive(archive))
    assert {
        "results.json",
        "cache.jsonl",
        "tasks/gtzan.yaml",
        "docs/gtzan.jsonl",
        "samples_gtzan.jsonl",
    } <= names
    # every task's own file, its group's, and what they include
    assert any("multiple_choice" in name for name in names if name.startswith("sources/"))


@pytest.mark.parametrize(
    "flags",
    [
        ["--permute_choices", "2"],
        ["--no_audio"],
        ["--swap_audio"],
        ["--predict_only"],
        ["--limit", "2"],
        ["--no_cache"],
    ],
    ids=lambda flags: flags[0],
)
def test_every_kind_of_run_is_verified(flags: list[str], tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", {"race": 4})
    if flags == ["--no_cache"]:
        out = tmp_path / "out"
        assert (
            main(
                [
                    "run",
                    "--model",
                    "dummy",
                    "--tasks",
                    "race",
                    "--data_dir",
                    str(data),
                    "-o",
                    str(out),
                    *flags,
                ]
            )
            == 0
        )
        made = tmp_path / "run.tar.gz"
        assert main(["pack", str(out), "-o", str(made), "--data_dir", str(data)]) == 0
    else:
        made = packed(tmp_path, "--tasks", "race", "--data_dir", str(data), *flags)
    assert verify_archive(made).differences == []


def test_examples_repeats_and_error_rows_are_verified(tmp_path: Path) -> None:
    rows = [{"q": "1 + 1", "a": "A"}, {"q": "\ud800", "a": "B"}, {"q": "no answer"}, 7]
    made = packed(tmp_path, "--tasks", str(write_task(tmp_path, REPEATED, rows)))
    found = verify_archive(made)
    assert found.differences == []
    assert (found.n_samples, found.n_answers) == (4, 6)


def test_equal_runs_give_equal_archives(tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", {"race": 3})
    first = packed(tmp_path, "--tasks", "race", "--data_dir", str(data))
    content = first.read_bytes()
    assert (
        main(
            ["pack", str(tmp_path / "out"), "--output", str(first), *typed(tmp_path, "--data_dir", str(data))]
        )
        == 0
    )
    assert first.read_bytes() == content
    with tarfile.open(first) as tar:
        assert {(entry.mtime, entry.uid, entry.uname, entry.mode) for entry in tar} == {(0, 0, "", 0o644)}


# -- changed archives ----------------------------------------------------------------------------------------------


def changed(archive: Path, folder: Path, name: str, change: Callable[[str], str]) -> Path:
    """A copy in which one file was edited and the list of hashes made to fit."""
    files = read_archive(archive)
    before = files[name].decode()
    files[name] = change(before).encode()
    assert files[name].decode() != before
    write_archive(folder / "changed.tar.gz", files)
    return folder / "changed.tar.gz"


def one_line(change: Callable[[dict], None]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        first, _, rest = text.partition("\n")
        row = json.loads(first)
        change(row)
        return json.dumps(row) + "\n" + rest

    return edit


def whole_json(change: Callable[[dict], None]) -> Callable[[str], str]:
    def edit(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return edit


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("samples_gtzan.jsonl", one_line(lambda row: row.update(response="none of these")), "row 0: readings differs"),
        ("samples_gtzan.jsonl", one_line(lambda row: row.update(response="none of these")), "the cache holds another"),
        ("samples_gtzan.jsonl", one_line(lambda row: row.update(target="Z")), "row 0: target differs"),
        ("samples_gtzan.jsonl", one_line(lambda row: row.update(prompt_sha256="0" * 64)), "the prompt differs"),
        ("docs/gtzan.jsonl", one_line(lambda row: row.update(target="Z")), "not those that were asked"),
        ("docs/gtzan.jsonl", one_line(lambda row: row["fields"].update(question="?")), "the prompt differs"),
        ("results.json", whole_json(lambda run: run["tasks"]["gtzan"].update(n_scored=99)), "n_scored was 99, is 4"),
        ("results.json", whole_json(lambda run: run["tasks"]["race"]["strict"]["accuracy"].update(value=1.0)), "race: strict was"),
        ("results.json", whole_json(lambda run: run["groups"]["audiomarathon"].clear()), "audiomarathon: "),
    ],
)  # fmt: skip
def test_whatever_was_changed_is_told(
    archive: Path, tmp_path: Path, name: str, change: Callable[[str], str], told: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    path = changed(archive, tmp_path, name, change)
    assert any(told in line for line in verify_archive(path).differences), verify_archive(path).differences
    assert main(["unpack_verify", str(path)]) == 2
    assert "the same" not in capsys.readouterr().out


def test_counts_that_an_earlier_version_did_not_have_are_no_difference(archive: Path, tmp_path: Path) -> None:
    def edit(run: dict[str, Any]) -> None:
        for count in ("n_cut", "n_left_out", "n_unscored"):
            del run["tasks"]["gtzan"][count]

    assert verify_archive(changed(archive, tmp_path, "results.json", whole_json(edit))).differences == []


def test_a_cached_answer_that_was_changed_is_refused(archive: Path, tmp_path: Path) -> None:
    def edit(text: str) -> str:
        lines = text.splitlines()
        row = json.loads(lines[1])
        row["value"]["response"]["text"] = "Z"
        return "\n".join([lines[0], json.dumps(row), *lines[2:]]) + "\n"

    with pytest.raises(MarathonError, match="the key is not the hash"):
        verify_archive(changed(archive, tmp_path, "cache.jsonl", edit))


def test_nothing_of_an_archive_is_run(archive: Path, tmp_path: Path) -> None:
    def edit(text: str) -> str:
        return text + "\nmetric_list: [{metric: 'evaluate:some/where', trust_remote_code: true}]\n"

    with pytest.raises(MarathonError, match="code of an archive is never run"):
        verify_archive(changed(archive, tmp_path, "tasks/gtzan.yaml", edit))


# -- hostile archives ----------------------------------------------------------------------------------------------


def tar_of(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for entry, content in entries:
            entry.size = len(content) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(content))
    return path


def entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, target
    return made


@pytest.mark.parametrize(
    "bad",
    [
        entry("../escaped"),
        entry("tasks/../../escaped"),
        entry("/tmp/escaped"),
        entry("tasks/./x"),
        entry("a\\b"),
        entry("C:x"),
        entry(".hidden"),
        entry("-rf"),
        entry("x" * 300),
        entry("new\nline"),
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("hard", tarfile.LNKTYPE, "../escaped"),
        entry("fifo", tarfile.FIFOTYPE),
        entry("device", tarfile.CHRTYPE),
        entry("folder", tarfile.DIRTYPE),
    ],
    ids=lambda one: repr(one.name[:12]),
)
def test_no_entry_leaves_its_place(bad: tarfile.TarInfo, tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    path = tar_of(inside / "x.tar.gz", (bad, b"content"))
    with pytest.raises(MarathonError, match="plain"):
        read_archive(path)
    assert [one.name for one in tmp_path.rglob("*")] == ["inside", "x.tar.gz"]


def test_an_entry_that_comes_twice_is_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar.gz", (entry("a"), b"1"), (entry("a"), b"2"))
    with pytest.raises(MarathonError, match="comes twice"):
        read_archive(path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    bomb = entry("a")
    bomb.size = 1 << 40
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(bomb.tobuf() + bytes(1 << 20)))
    with pytest.raises(MarathonError, match="holds more than"):
        read_archive(path)


def test_files_and_list_must_agree(archive: Path, tmp_path: Path) -> None:
    listed = json.dumps(
        {"marathon_eval_archive": 1, "sha256": {"a": hashlib.sha256(b"1").hexdigest()}}
    ).encode()
    good = tar_of(tmp_path / "good.tar.gz", (entry(LIST), listed), (entry("a"), b"1"))
    assert read_archive(good) == {"a": b"1"}
    for content, told in ((b"2", "is not what was packed"), (None, "its list and its files differ")):
        rest = [] if content is None else [(entry("a"), content)]
        with pytest.raises(MarathonError, match=told):
            read_archive(tar_of(tmp_path / "bad.tar.gz", (entry(LIST), listed), *rest))


def test_changed_bytes_of_an_archive_are_noticed(archive: Path, tmp_path: Path) -> None:
    content, path = archive.read_bytes(), tmp_path / "x.tar.gz"
    plain = read_archive(archive)

    @cases(150)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        path.write_bytes(data.draw(st.composite(lambda draw: mutated(content, draw))()))
        files = survives(lambda: read_archive(path))
        assert files is None or files == plain

    check()


def test_any_content_in_an_archives_files_is_verified_or_refused(archive: Path, tmp_path: Path) -> None:
    plain, path = read_archive(archive), tmp_path / "x.tar.gz"
    small = {name: plain[name] for name in plain if not name.startswith("sources/")}

    @cases(60)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(small)))
        write_archive(
            path, {**small, name: data.draw(st.composite(lambda draw: mutated(small[name], draw))())}
        )
        survives(lambda: verify_archive(path))

    check()


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", b"\x1f\x8b", gzip.compress(b"no tar" * 1000, mtime=0)],
    ids=["empty", "text", "cut gzip", "gzip of no tar"],
)
def test_what_is_no_archive_is_one_error(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(content)
    assert main(["unpack_verify", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
