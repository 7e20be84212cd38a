"""Tests that a page shows each run's own gold, prompt, clip and fields, whatever runs stand beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from helpers import make_result_folders
from helpers.make_result_folders import Made
from helpers.report_page_parser import unpacked
from marathon_eval.api.results import RunResult, Sample
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.files import sha256_of
from marathon_eval.report.clips import ReportClips
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import packed_samples
from marathon_eval.report.runs import read_cells
from marathon_eval.results.files import write_run

Change = Callable[[Sample], Sample]


def write(run: RunResult, folder: Path) -> Path:
    path = folder / "run"
    path.mkdir(parents=True)
    write_run(run, path)
    return folder


def made(
    model: str = "first", change: Change | None = None, data: str | None = None, n: int = 6
) -> RunResult:
    """A run of six documents; `data` is what the run says of its data, by default that of all other runs."""
    run = make_result_folders.fabricate(Made(model=model, rows={"gtzan": n}))
    samples = [change(row) if change else row for row in run.samples["gtzan"]]
    manifests = {"gtzan": {**run.manifests["gtzan"], **({"manifest_sha256": data} if data else {})}}
    return replace(run, samples={"gtzan": samples}, manifests=manifests)


def clip(row: Sample, **changed: Any) -> Sample:
    return replace(row, audio=[{**row.audio[0], **changed}])


def next_document(row: Sample) -> Sample:
    """What the row says after the dataset lost its first row: the next document's gold and clip."""
    path = row.audio[0]["path"].replace(f"{row.doc_id:05}", f"{row.doc_id + 1:05}")
    moved = clip(row, path=path, sha256=sha256_of(["gtzan", row.doc_id + 1]), seconds=row.doc_id + 90.5)
    return replace(moved, target="EFGHIJ"[row.doc_id])


ASKED_OTHERWISE: dict[str, Change] = {
    "nothing": lambda row: row,
    "gold": lambda row: replace(row, target="Z"),
    "gold of one": lambda row: replace(row, target="Z") if row.doc_id == 2 else row,
    "prompt": lambda row: replace(row, prompt_sha256=sha256_of([None, "another prompt"])),
    "prompt not in the cache": lambda row: replace(row, prompt_sha256="0" * 64),
    "swapped clip": lambda row: clip(
        row, path=f"audio/gtzan/9{row.doc_id}.wav", sha256="9" * 64, seconds=7.0
    ),
    "silence": lambda row: clip(row, path="/cache/silence_80000.flac", sha256="5" * 64),
    "no clip": lambda row: replace(row, audio=[]),
    "two clips": lambda row: replace(row, audio=[*row.audio, {**row.audio[0], "path": "audio/more.wav"}]),
    "transform": lambda row: clip(row, transform="speed:factor=2"),
    "stretch": lambda row: clip(row, start=3.0, stop=9.0),
    "fields": lambda row: replace(row, fields={"source": "elsewhere"}),
    "no fields": lambda row: replace(row, fields={}),
    "no gold": lambda row: replace(row, target=None),
}


class Shown(NamedTuple):
    """Holds what the page's script gets: labels, clips, and the block of the one task."""

    labels: list[str]
    clips: list[dict[str, Any]]
    block: dict[str, Any]


def shown(folder: Path) -> Shown:
    report = make_report(read_cells([folder]))
    (text,), clips, _ = packed_samples(report, folder, 0)
    return Shown([cell.label for cell in report.cells], clips, unpacked(text))


def views(page: Shown, number: int) -> dict[int, dict[str, Any]]:
    """What the page shows of one run by document: the run's own entries, else those of the document."""
    block, cell = page.block, page.block["cells"][str(number)]
    codes = cell["readings"]["strict"]["codes"]

    def asked(name: str, place: int) -> Any:
        return cell["own"].get(name, {}).get(str(place), block[name][place])

    def shown_clip(place: int) -> Any:
        listed = asked("clip", place)
        return None if listed is None else page.clips[listed]

    return {
        doc: {
            **{name: block["texts"][asked(name, place)] for name in ("target", "prompt", "fields")},
            "seconds": asked("seconds", place),
            "clip": shown_clip(place),
        }
        for place, doc in enumerate(block["doc"])
        if codes[place] != "-"
    }


@pytest.fixture(autouse=True)
def prompts(tmp_path: Path) -> None:
    with ResponseCache(tmp_path / "cache") as cache:  # where conftest points $MARATHON_EVAL_CACHE
        for number, prompt in enumerate(("prompt of gtzan", "another prompt")):
            cache.put(f"response/{number}", {"request": {"prompt": prompt, "system": None}})


@pytest.mark.parametrize("other_data", [False, True], ids=["one hash of data", "many hashes of data"])
@pytest.mark.parametrize("first", ["nothing", *list(ASKED_OTHERWISE)[::-3]])
def test_a_run_is_shown_beside_others_as_it_is_alone(tmp_path: Path, first: str, other_data: bool) -> None:
    names = sorted(ASKED_OTHERWISE, key=lambda name: name != first)
    for number, name in enumerate(names):
        data = sha256_of(name) if other_data else None
        run = made(f"{number:02} {name}", ASKED_OTHERWISE[name], data)
        write(run, tmp_path / "all" / run.model)
        write(run, tmp_path / f"alone {name}")
    beside = shown(tmp_path / "all")
    for number, name in enumerate(names):
        assert beside.labels[number].startswith(f"{number:02} {name}")
        alone = views(shown(tmp_path / f"alone {name}"), 0)
        assert views(beside, number) == alone
        assert len(alone) == 6


def test_only_what_differs_is_stored(tmp_path: Path) -> None:
    write(made("a"), tmp_path / "a")
    write(made("b", ASKED_OTHERWISE["gold of one"]), tmp_path / "b")
    write(made("c"), tmp_path / "c")
    cells = shown(tmp_path).block["cells"]
    assert [list(cells[number]["own"]) for number in "012"] == [[], ["target"], []]
    assert list(cells["1"]["own"]["target"]) == ["2"]


def test_the_same_sound_in_another_folder_is_the_same_clip(tmp_path: Path) -> None:
    write(made("a"), tmp_path / "a")
    write(made("b", lambda row: clip(row, path=f"/elsewhere/{row.doc_id}.wav")), tmp_path / "b")
    page = shown(tmp_path)
    assert page.block["cells"]["1"]["own"] == {}
    assert len(page.clips) == 6


def test_rows_of_other_data_are_documents_of_their_own(tmp_path: Path) -> None:
    """Row 0 of a dataset that lost its first row is not row 0 of the whole one, though both have the number 0."""
    write(made("a"), tmp_path / "a")
    write(made("b", next_document, "d" * 64), tmp_path / "b")
    block = shown(tmp_path).block
    assert block["doc"] == [*range(6), *range(6)]
    codes = [block["cells"][number]["readings"]["strict"]["codes"] for number in "01"]
    assert codes[0].endswith("-" * 6)
    assert codes[1].startswith("-" * 6)
    assert set(block["data"].values()) == {"d" * 8, sha256_of(["gtzan", 6])[:8]}


def test_fewer_rows_of_the_same_data_are_the_same_documents(tmp_path: Path) -> None:
    """A limit changes the hash of the rows, and so it does for a run on silence."""
    for name, change in (("heard", None), ("silent", ASKED_OTHERWISE["silence"])):
        write(made("a"), tmp_path / name / "a")
        run = made("b", change, "d" * 64)
        condition = {"audio": "silence"} if name == "silent" else {}
        run = replace(run, samples={"gtzan": run.samples["gtzan"][:2]}, condition=condition)
        write(run, tmp_path / name / "b")
        block = shown(tmp_path / name).block
        assert block["doc"] == [*range(6)]
        assert block["data"] == {}


def test_a_breakdown_counts_the_runs_own_gold(tmp_path: Path) -> None:
    write(made("a", lambda row: replace(row, target="A"), n=12), tmp_path / "a")
    write(made("b", lambda row: replace(row, target="B"), n=12), tmp_path / "b")
    parts = make_report(read_cells([tmp_path])).gathered.breakdowns["gtzan"]
    assert [parts[name].labels for name in "ab"] == [("A",), ("B",)]


def test_a_file_replaced_between_runs_is_said(tmp_path: Path) -> None:
    clips = ReportClips(tmp_path)
    first = {"path": "a.wav", "sha256": "1" * 64}
    assert clips.number([first]) == 0
    assert clips.number([{**first, "sha256": None}]) == 0  # that run failed before it read the clip
    assert not clips.listed[0]["changed"]
    assert clips.number([{**first, "sha256": "2" * 64}]) == 1
    assert [one["changed"] for one in clips.listed] == [True, True]


def test_equal_relative_paths_in_two_folders_are_two_clips(tmp_path: Path) -> None:
    clips = ReportClips(tmp_path)
    audio = [{"path": "a.wav", "sha256": None}]
    assert [clips.number(audio, root) for root in ("one", "two", "one")] == [0, 1, 0]


def test_further_clips_are_part_of_what_was_heard(tmp_path: Path) -> None:
    clips = ReportClips(tmp_path)
    first, second = {"path": "a.wav"}, {"path": "b.wav"}
    assert [clips.number(audio) for audio in ([first], [first, second])] == [0, 1]
    assert [one["more"] for one in clips.listed] == [[], ["b.wav"]]
