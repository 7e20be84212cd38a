"""Tests the report: every sample is complete in the page, the page stays small, mistakes give one clear line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import make_result_folders
from helpers.make_result_folders import Made
from helpers.report_page_parser import Parsed, parsed, unpacked
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cli.main import main
from marathon_eval.files import sha256_of
from marathon_eval.report import page as pages
from marathon_eval.report.embedded_samples import fitting_length
from marathon_eval.report.runs import ReportRun, read_cells
from marathon_eval.results.files import write_run
from marathon_eval.results.outcomes import Deciding, outcome_of


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_result_folders.write_sweep(tmp_path_factory.mktemp("swept"))


def test_every_sample_can_be_read_back_from_the_page(swept: Path) -> None:
    cells = read_cells([swept])
    found = parsed(swept)
    assert found.data()["cells"] == [cell.label for cell in cells]
    for number, cell in enumerate(cells):
        for task, folder in cell.folders.items():
            block = found.tasks()[task]
            lines = (folder / f"samples_{task}.jsonl").read_text(encoding="utf-8").splitlines()
            for row in map(json.loads, lines):
                place = block["doc"].index(row["doc_id"])
                texts, columns = block["texts"], block["cells"][str(number)]
                assert texts[block["target"][place]] == row["target"]
                assert texts[columns["response"][place]] == row["response"]
                for name, read in row["readings"].items():
                    packed = columns["readings"][name]
                    answer = texts[packed["answer"][place]]
                    assert (answer or "")[:300] == (read["answer"] or "")[:300]
                    assert texts[packed["rule"][place]] == read["rule"]
                    assert packed["codes"][place] == outcome_of(row, name, Deciding("accuracy")).code
                if row["status"] == "error":
                    assert texts[columns["error"][str(place)]] == row["error"]
                assert columns["usage"]["kept_tokens"][place] == row["usage"].get("kept_tokens")


def test_a_run_without_a_document_or_task_leaves_a_gap(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows={"gtzan": 4, "race": 3}), tmp_path)
    make_result_folders.write(Made(model="whisper", rows={"gtzan": 6}), tmp_path)
    block = parsed(tmp_path).tasks()["gtzan"]
    assert block["doc"] == [0, 1, 2, 3, 4, 5]
    assert block["cells"]["0"]["readings"]["strict"]["codes"].endswith("--")
    assert "-" not in block["cells"]["1"]["readings"]["strict"]["codes"]
    assert list(parsed(tmp_path).tasks()["race"]["cells"]) == ["0"]


def test_prompts_come_from_the_answer_cache(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows={"gtzan": 2}), tmp_path)
    assert {parsed(tmp_path).tasks()["gtzan"]["prompt"][0]} == {0}
    stored = {"request": {"prompt": "prompt of gtzan", "system": None}}
    with ResponseCache(Path(tmp_path / "cache")) as cache:  # where conftest points $MARATHON_EVAL_CACHE
        cache.put("response/1", stored)
    block = parsed(tmp_path).tasks()["gtzan"]
    assert block["texts"][block["prompt"][0]] == "prompt of gtzan"


def test_a_long_prompt_is_whole_beside_short_answers(tmp_path: Path) -> None:
    """Texts are cut only where the page would grow too large, not to the length of the longest answer."""
    run = make_result_folders.fabricate(Made(rows={"gtzan": 1}))
    prompt = "Which genre is it? " * 500
    samples = [replace(row, prompt_sha256=sha256_of([None, prompt])) for row in run.samples["gtzan"]]
    (tmp_path / "run").mkdir()
    write_run(replace(run, samples={"gtzan": samples}), tmp_path / "run")
    with ResponseCache(tmp_path / "cache") as cache:
        cache.put("response/1", {"request": {"prompt": prompt, "system": None}})
    block = parsed(tmp_path).tasks()["gtzan"]
    assert block["texts"][block["prompt"][0]] == prompt


def test_runs_without_samples_are_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = make_result_folders.write(Made(rows={"gtzan": 3, "race": 3}), tmp_path)
    (run / "samples_race.jsonl").unlink()
    found = parsed(tmp_path)
    assert list(found.tasks()) == ["gtzan"]
    assert any("qwen_omni: race" in text for text in found.shown)


@pytest.mark.parametrize(
    ("status", "read", "code"),
    [
        ("ok", ("A", {"accuracy": 1.0}), "r"),
        ("ok", ("A", {"accuracy": 0.0, "macro_f1": 1.0}), "w"),
        ("ok", (None, {"accuracy": 0.0}), "u"),
        ("ok", ("a text", {"wer_accuracy": 0.9, "wer": 0.1}), "g"),
        ("ok", ("a text", {"wer": 0.0}), "r"),
        ("ok", ("a text", {"wer": 1.0}), "g"),
        ("ok", ("A", {"accuracy": None}), "n"),
        ("unverified", ("A", {"accuracy": 1.0}), "r"),
        ("error", (None, {}), "e"),
        ("refused", ("A", {"accuracy": 1.0}), "e"),
    ],
)
def test_outcomes(status: str, read: tuple[str | None, dict[str, float | None]], code: str) -> None:
    row = {"status": status, "readings": {"strict": {"answer": read[0], "rule": "", "scores": read[1]}}}
    assert outcome_of(row, "strict", Deciding("wer_accuracy")).code == code
    assert outcome_of({**row, "readings": {}}, "strict", Deciding("accuracy")).code == (
        "n" if code not in "e" else "e"
    )


@pytest.mark.parametrize("budget", [0, 999, 1000, 5000, 10**9])
def test_texts_are_cut_to_what_fits(budget: int) -> None:
    lengths = [1, 10, 100, 1000, 10_000]
    limit = fitting_length(lengths, budget)
    total = sum(min(length, limit) for length in lengths)
    assert limit == 200 or total <= budget
    assert limit >= min(200, max(lengths))
    if budget >= sum(lengths):
        assert limit == max(lengths)
    elif limit > 200:
        # one more letter each would no longer fit
        assert sum(min(length, limit + 1) for length in lengths) > budget


def test_a_page_stays_small_whatever_the_answers_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import random

    noise = random.Random(0)
    run = make_result_folders.fabricate(Made(rows={"gtzan": 20}))
    samples = [replace(row, response=noise.randbytes(20_000).hex()) for row in run.samples["gtzan"]]
    folder = tmp_path / "run" / "1"
    folder.mkdir(parents=True)
    write_run(replace(run, samples={"gtzan": samples}), folder)
    monkeypatch.setattr(pages, "SAMPLES_BYTES", 300_000)
    block = parsed(tmp_path).tasks()["gtzan"]
    texts = [block["texts"][n] for n in block["cells"]["0"]["response"]]
    assert all("more characters: see the run's samples file" in text for text in texts)
    assert len(json.dumps(block)) < 600_000


def test_an_answer_costs_few_bytes(swept: Path) -> None:
    """243,000 answers must fit into 15 MB: transcripts apart, 60 bytes each; here fixed costs weigh in."""
    found = parsed(swept)
    blocks = {
        unpacked(text)["task"]: len(text) for attrs, text in found.scripts if attrs.get("class") == "task"
    }
    assert blocks["race"] / (60 * 7) < 60


@pytest.mark.slow
def test_the_released_size_with_37_cells(tmp_path: Path) -> None:
    """6,567 documents, four presses at nine ratios and the uncompressed model: 15 MB, 1 GB, and a bounded processor time.

    The unit of time is what parsing the samples as JSON takes in the same process.
    """
    from helpers import make_audiomarathon_data

    make_result_folders.write_released_size(tmp_path, make_audiomarathon_data.NOMINAL)
    # VmHWM, not ru_maxrss: the latter still holds the peak of the test process that this one was forked from
    code = (
        "import json, pathlib, re, sys, time; from marathon_eval.cli.main import main; assert main(sys.argv[1:]) == 0\n"
        "peak = int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
        "used = time.process_time()\n"
        "for file in pathlib.Path(sys.argv[2]).rglob('samples_*.jsonl'):\n"
        "    for line in file.open('rb'): json.loads(line)\n"
        "print(used, time.process_time() - used, peak / 1024)"
    )
    page = tmp_path / "report.html"
    command = [sys.executable, "-c", code, "report", str(tmp_path), "-o", str(page), "--with_published"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cpu, unit, megabytes = map(float, done.stdout.split())
    assert page.stat().st_size <= 15_000_000
    assert cpu <= 7 * unit
    assert megabytes <= 1000


def test_the_verb_writes_page_tables_and_plots(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = read_cells([swept])[0].folders["gtzan"]
    page = tmp_path / "new" / "r.html"
    flags = [
        "-o",
        str(page),
        "--markdown",
        "--latex",
        "--plots",
        str(tmp_path / "plots"),
        "--embed_audio",
        "1",
    ]
    assert main(["report", str(one), *flags]) == 0
    assert Parsed(page.read_text(encoding="utf-8")).data()["cells"] == ["qwen_omni"]
    assert page.with_suffix(".md").read_text(encoding="utf-8").startswith("| model |")
    assert "\n\\begin{tabular}" in page.with_suffix(".tex").read_text(encoding="utf-8")
    listed = [path for path in (tmp_path / "plots").rglob("*") if path.is_file()]
    printed = capsys.readouterr().err
    assert f"{tmp_path / 'plots'}: {len(listed)} files of figures" in printed
    assert (tmp_path / "plots" / "radar.svg").is_file()
    assert (tmp_path / "plots" / "radar.pdf").read_bytes().startswith(b"%PDF")
    assert str(page) in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-o", "report.pdf"], r"must end in \.html"),
        (["--embed_audio", "-3"], "--embed_audio"),
        (["--embed_audio", "nan"], "--embed_audio"),
    ],
)
def test_mistakes_are_one_line(
    swept: Path, flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(swept), *flags]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


def test_a_damaged_samples_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_result_folders.write(Made(rows={"gtzan": 3}), tmp_path)
    samples = run / "samples_gtzan.jsonl"
    samples.write_text(samples.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "r.html")]) == 2
    assert "samples_gtzan.jsonl:3" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["results.json", "samples_gtzan.jsonl"])
def test_one_damaged_run_is_named_and_left_out(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make_result_folders.write(Made(rows={"gtzan": 3}), tmp_path)
    run = make_result_folders.write(Made(press="dart", ratio=0.5, rows={"gtzan": 3}), tmp_path)
    (run / name).write_text((run / name).read_text(encoding="utf-8")[:-20], encoding="utf-8")
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "r.html")]) == 3
    assert f"a damaged run is left out: {run / name}" in capsys.readouterr().err
    assert "dart" not in (tmp_path / "r.html").read_text(encoding="utf-8").split("<script", 1)[0]
    assert main(["report", str(tmp_path), str(run), "-o", str(tmp_path / "r.html")]) == 2


def test_what_a_report_does_not_know_it_says(tmp_path: Path) -> None:
    """A run of which no answer could be scored, of a task without a headline."""
    run = make_result_folders.fabricate(Made(rows={"mine": 3}))
    samples = [
        replace(row, status="error", error="no weights", readings={}, usage={}, audio=[])
        for row in run.samples["mine"]
    ]
    task = replace(run.tasks["mine"], readings={"none": {}}, n_scored=0, n_unanswered={}, headline=None)
    folder = tmp_path / "run" / "1"
    folder.mkdir(parents=True)
    write_run(replace(run, tasks={"mine": task}, samples={"mine": samples}), folder)
    found = parsed(tmp_path)
    assert found.tasks()["mine"]["cells"]["0"]["readings"]["none"]["codes"] == "eee"
    assert any("These runs hold no timing" in text for text in found.shown)
    cell: ReportRun = read_cells([tmp_path])[0]
    assert cell.fingerprint_sha256 == sha256_of(cell.fingerprint)
