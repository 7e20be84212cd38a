"""Tests `--run_name`: what tables and folders call a run, which changes neither answers nor cache keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import measured, write_task
from marathon_eval import MarathonError, simple_evaluate
from marathon_eval.cli.main import main
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.sweep_cells import Grid, cells_of
from marathon_eval.report.runs import read_cells
from marathon_eval.results.files import read_results
from marathon_eval.results.label import folder_name
from marathon_eval.results.run_labels import names_of
from marathon_eval.results.run_name import LONGEST_RUN_NAME, shown_fingerprint
from marathon_eval.results.trackers import tracked_run

ROWS = [{"q": f"{place}?", "a": "AB"[place % 2]} for place in range(8)]


class Lab:
    """Runs `dummy` on a task of a folder; `ran` returns the folder of the run."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys, self.runs = capsys, folder / "runs"
        self.common = [
            "--tasks",
            str(write_task(folder, measured(scale=100), ROWS)),
            "--use_cache",
            str(folder / "cache"),
        ]

    def ran(self, *flags: str) -> Path:
        before = {*self.runs.glob("**/results.json")}
        assert main(["--model", "dummy", *self.common, "-o", str(self.runs), *flags]) == 0
        (new,) = {*self.runs.glob("**/results.json")} - before
        return new.parent

    def printed(self, *words: str) -> str:
        self.capsys.readouterr()
        assert main(list(words)) == 0
        return self.capsys.readouterr().out


@pytest.fixture
def lab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Lab:
    return Lab(tmp_path, capsys)


def test_tables_show_the_name_in_place_of_the_model_s(lab: Lab, tmp_path: Path) -> None:
    a, b = lab.ran("--run_name", "base"), lab.ran("--run_name", "tuned v2", "--model_args", "answer=B")
    assert lab.capsys.readouterr().out.startswith("base\n")
    assert [cell.label for cell in read_cells([lab.runs])] == ["base", "tuned v2"]
    assert {cell.model for cell in read_cells([lab.runs])} == {"dummy"}
    said = (
        lab.printed("leaderboard", str(lab.runs)),
        lab.printed("ls", "runs", str(lab.runs)),
        lab.printed("compare", str(a), str(b)),
        lab.printed("compare", str(a), str(b), "--json"),
    )
    assert all("base" in text and "tuned v2" in text for text in said), said
    assert all("dummy" not in text.replace(str(tmp_path), "") for text in said[:3]), said
    sides = json.loads(said[3])
    assert [sides[side]["name"] for side in "ab"] == ["base", "tuned v2"]
    page = tmp_path / "page.html"
    assert main(["report", str(lab.runs), "-o", str(page)]) == 0
    assert '"tuned v2"' in page.read_text()


def test_runs_of_one_name_are_told_apart_as_those_of_one_model_are(lab: Lab) -> None:
    for answer in "AB":
        lab.ran("--run_name", "base", "--model_args", f"answer={answer}")
    lab.ran()
    assert [cell.label for cell in read_cells([lab.runs])] == ["base answer=A", "base answer=B", "dummy"]


def test_a_name_is_in_no_key_and_keeps_runs_apart(lab: Lab) -> None:
    a, b = (read_results(lab.ran("--run_name", name)) for name in ("base", "again"))
    assert (a["cache"]["misses"], b["cache"]["misses"], b["cache"]["hits"]) == (8, 0, 8)
    assert a["fingerprint"] == b["fingerprint"]
    assert a["fingerprint_sha256"] == b["fingerprint_sha256"]
    assert [each["config"]["run_name"] for each in (a, b)] == ["base", "again"]
    lab.ran("--run_name", "again", "--limit", "4")
    labels = {cell.label: cell for cell in read_cells([lab.runs])}
    assert [*labels] == ["again", "again (limit 4)", "base"], "equal runs of other names are not merged"
    assert read_results(lab.ran())["config"]["run_name"] is None


def test_a_folder_has_the_name_where_its_letters_allow_it(lab: Lab) -> None:
    folder = lab.ran("--run_name", "base: 7b")
    results = read_results(folder)
    assert folder.parent.name == f"base-7b__{results['fingerprint_sha256'][:8]}"
    assert tracked_run(results, folder).name == folder.parent.name
    fingerprint = {"model": "qwen_omni", "pretrained": "own/Omni-3B"}
    assert folder_name("qwen_omni", fingerprint, "ab" * 32, {}, {}, "模型") == "omni-3b__abababab"
    assert folder_name("qwen_omni", fingerprint, "ab" * 32, {}, {}, "..") == "omni-3b__abababab"


def test_scoring_again_keeps_the_name(lab: Lab, tmp_path: Path) -> None:
    run, out = lab.ran("--run_name", "base"), tmp_path / "scored"
    assert main(["score", str(run), "--include_path", str(tmp_path), "-o", str(out)]) == 0
    assert read_results(out)["config"]["run_name"] == "base"


def test_the_cells_of_a_sweep_have_it() -> None:
    config = RunConfig("qwen_omni", ("gtzan",), {"pretrained": "nano"}, run_name="mine")
    cells = cells_of(config, Grid(("none", "dart"), (0.5,)))
    named = [
        {"config": cell.config.recorded(), "fingerprint": cell.model.fingerprint, "model": "qwen_omni"}
        for cell in cells
    ]
    assert names_of([shown_fingerprint(each) for each in named]) == ["mine", "mine dart 0.5"]


def test_the_runs_of_a_set_have_names(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "set.yaml"
    file.write_text("models:\n  - {model: dummy, run_name: one}\n  - {model: dummy, run_name: two}\n")
    assert main(["--config", str(file), *lab.common, "-o", str(lab.runs)]) == 0
    assert [cell.label for cell in read_cells([lab.runs])] == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("a\nb", "must be one line"),
        ("a\x1b[31m", "must be one line of printable characters"),
        (" a", "must neither begin nor end with a space"),
        ("Qwen/Omni", "must hold no / and no "),
        ("a\\b", "must hold no / and no "),
        ("a" * (LONGEST_RUN_NAME + 1), "at most 80 are allowed"),
    ],
)
def test_what_is_no_name_is_refused(lab: Lab, name: str, fault: str) -> None:
    for verb in ([], ["sweep", "--presses", "none"]):
        lab.capsys.readouterr()
        assert main([*verb, "--model", "dummy", *lab.common, "--run_name", name]) == 2
        said = lab.capsys.readouterr().err
        assert said.startswith("marathon-eval: error: --run_name: ")
        assert fault in said
        assert said.count("\n") == 1
    with pytest.raises(MarathonError, match="^run_name: .*" + fault):
        simple_evaluate("dummy", ["own"], run_name=name)


def test_from_python(lab: Lab, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"include_path": tmp_path, "no_cache": True, "run_name": "mine"}
    run = simple_evaluate("dummy", ["own"], **settings)
    assert str(run).startswith("mine\n")
    with pytest.raises(MarathonError, match="run_name: input should be a valid string"):
        simple_evaluate("dummy", ["own"], **{**settings, "run_name": 7})


@pytest.mark.parametrize("name", ["a\nb", 7, "../up"])
def test_a_stored_name_that_none_may_have_is_damage(lab: Lab, name: object) -> None:
    folder = lab.ran()
    file = folder / "results.json"
    results = json.loads(file.read_text())
    file.write_text(json.dumps({**results, "config": {**results["config"], "run_name": name}}))
    with pytest.raises(MarathonError, match="config: run_name: is missing or has the wrong type"):
        read_results(folder)
