"""Tests the Python door: simple_evaluate, sweep, compare and report, their checks, and what their results show."""

from __future__ import annotations

import inspect
import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

import marathon_eval
from conftest import ROOT, MakeWav
from helpers import make_result_folders
from helpers.make_result_folders import Made
from helpers.minimal_task import KEYS, write_task
from marathon_eval import MarathonError, simple_evaluate
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.requests import Progress
from marathon_eval.evaluator.simple import DIFFERENCE_OF_A_CELL, SWEEP_CELL_COLUMNS, SweepRuns
from marathon_eval.evaluator.sweep_table import NUMBERS, SweepTable, TaskCell, table_sections
from marathon_eval.results.comparison import DIFFERENCE_COLUMNS
from marathon_eval.results.evaluation import SCORE_COLUMNS, Evaluation
from marathon_eval.results.paired import Difference, Discordance, ReadingDifference, TaskDifference
from marathon_eval.scoring.usage import STAGES

TASK = (
    "dataset_path: json\ndataset_kwargs: {data_files: rows.json}\ndoc_to_text: '{{ q }}'\n"
    "choice_columns: [one, two]\ndoc_to_target: a\ndoc_to_audio: path\nbreakdown: q\n"
    "metric_list: [{metric: accuracy}, {metric: parse_rate}]\nheadline: {reading: none, metric: accuracy, scale: 100}\n"
)


@pytest.fixture
def folder(tmp_path: Path, make_wav: MakeWav) -> Path:
    """Four rows on one clip and one on a clip that is not there, as the task `own`."""
    make_wav("clip.wav", seconds=1.0)
    rows = [
        {"q": f"<b>{n}</b>", "a": "AB"[n % 2], "one": "yes", "two": "no", "path": "clip.wav"}
        for n in range(4)
    ]
    rows.append({**rows[0], "path": "gone.wav"})
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "own.yaml").write_text(TASK)
    return tmp_path


def run(folder: Path, **settings: Any) -> Evaluation:
    given = {"include_path": [folder], "data_dir": folder, "use_cache": folder / "cache", **settings}
    return simple_evaluate(given.pop("model", "dummy"), given.pop("tasks", ["own"]), {"answer": "A"}, **given)


def test_a_run_gives_lm_evals_dictionary_and_tables(folder: Path) -> None:
    found = run(folder)
    assert found["results"]["own"]["accuracy,none"] == 0.5
    assert found["n-samples"]["own"]["effective"] == 5
    assert [row["filter"] for row in found["samples"]["own"]] == ["none"] * 4
    with pytest.raises(KeyError, match="Did you mean results"):
        found["result"]
    for name, attribute in (
        ("cache", "run.cache."),
        ("tasks", "run.tasks."),
        ("to_pandas", r"run.to_pandas\(\)."),
    ):
        with pytest.raises(
            KeyError, match=f"no '{name}'. The run has it as an attribute: {attribute} Known: results"
        ):
            found[name]
    assert found.get("cache", "none") == "none"
    assert "cache" not in found
    assert "samples" in found
    assert "scores" not in found
    assert {"results", "config", "samples"} <= set(found)
    assert dict(found).keys() == set(found.keys())
    assert (found.get("nothing"), found.get("results")) == (None, found["results"])
    table = found.to_pandas()
    assert list(table["doc_id"]) == [0, 1, 2, 3, 4]
    assert list(table["none"])[:4] == ["A"] * 4
    assert list(table["none_accuracy"])[:4] == [1, 0, 1, 0]
    assert table["status"].tolist() == ["ok"] * 4 + ["error"]
    assert table["outcome"].tolist() == ["right", "wrong", "right", "wrong", "error"]
    assert table["seconds"].tolist()[0] == pytest.approx(1.0)
    scores = found.to_pandas("scores")
    (row,) = scores[scores.metric == "accuracy"].to_dict("records")
    assert (row["value"], row["n"], row["coverage"], row["headline"]) == (0.5, 4, 0.8, True)
    with pytest.raises(MarathonError, match="'samples' or 'scores'"):
        found.to_pandas("sample")  # type: ignore[arg-type]


def test_the_documented_columns_are_those_of_the_tables(folder: Path) -> None:
    text = (ROOT / "docs" / "python.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| a run", "| a sweep", "| a comparison"))]
    named = [re.findall(r"`(\w+)`", row.split("|")[3]) for row in rows]
    assert named[1:] == [list(SCORE_COLUMNS), list(SWEEP_CELL_COLUMNS), list(DIFFERENCE_COLUMNS)]
    columns = list(run(folder).to_pandas().columns)
    assert columns[: columns.index("none")] == [*dict.fromkeys(name for name in named[0] if name in columns)]


def test_a_notebook_shows_an_escaped_table(folder: Path) -> None:
    html = run(folder, system_instruction="<script>")._repr_html_()
    assert "<td>accuracy</td>" in html
    assert "1 rows failed" in html
    assert "<script>" not in html
    assert html.count("<table>") == html.count("</table>") == 1


def test_f1_over_labels_is_no_column_of_rows(tmp_path: Path) -> None:
    keys = KEYS + "metric_list: [{metric: macro_f1}, {metric: f1, name: own_f1, pos_label: A}]\n"
    task = write_task(tmp_path, keys, [{"q": "1?", "a": "A"}, {"q": "2?", "a": "B"}])
    table = simple_evaluate("dummy", [str(task)], no_cache=True).to_pandas()
    assert table["none_right"].tolist() == [1.0, 0.0]
    assert not [column for column in table.columns if "f1" in column]


def test_a_run_prints_as_a_table(folder: Path) -> None:
    lines = str(run(folder)).splitlines()
    assert lines[0] == "dummy"
    assert lines[1].split() == list(SCORE_COLUMNS)
    assert lines[2].split()[:3] == ["own", "none", "accuracy"]
    assert lines[-1] == "1 rows failed and are not in the scores."
    assert "\x1b" not in str(run(folder, system_instruction="\x1b[2J"))


def test_output_path_and_progress(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(folder, output_path=folder / "out", progress=True)
    assert "running 4 requests" in capsys.readouterr().err
    (file,) = (folder / "out").rglob("results.json")
    assert json.loads(file.read_text())["tasks"]["own"]["n_scored"] == 4
    assert found.config["output_path"] == str(folder / "out")

    class Counted(Progress):
        answers = 0

        def advance(self, answered: Any, seconds: float) -> None:
            self.answers += 1

    mine = Counted()
    run(folder, progress=mine, no_cache=True)
    assert mine.answers == 4
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tasks": "own"}, r"tasks: must be a list of names, got the text 'own': write \['own'\]"),
        ({"tasks": 3}, "tasks: must be a list of names, got 3"),
        ({"tasks": ["own", 3]}, r"tasks\.1: .*got 3"),
        ({"tasks": ["owm"]}, "no task 'owm'. Did you mean own?"),
        ({"limit": "ten"}, "limit: .*number, got 'ten'"),
        ({"limit": 1.5}, "limit: must be a whole number of rows"),
        ({"limit": 0}, "limit: must be"),
        ({"limt": 3}, "no setting 'limt'. Did you mean limit?"),
        ({"batch_size": 8}, r"no setting 'batch_size'.*model_args=\{'batch_size': ...\}"),
        ({"device": "cuda"}, r"no setting 'device'.*model_args=\{'device': ...\}"),
        ({"workers": 2}, "no setting 'workers': .*--workers"),
        ({"seed": 1.5}, "seed: .*integer.*got 1.5"),
        ({"no_cache": "yes"}, "no_cache: .*boolean, got 'yes'"),
        ({"samples": {"own": ["a"]}}, r"samples\.own\.0: .*got 'a'"),
        ({"limit": 1, "samples": {"own": [1]}}, "give one"),
        ({"num_fewshot": -1}, "num_fewshot: must be 0 or more"),
        ({"min_seconds": 3, "max_seconds": 2}, "min_seconds: 3 is above max_seconds 2"),
        ({"gen_kwargs": "temperature"}, "gen_kwargs: 'temperature' is not name=value"),
        ({"gen_kwargs": 3}, "gen_kwargs: .*got 3"),
        ({"transform": "noise:snr=loud"}, "snr"),
        ({"model": 3}, "model: .*got 3"),
        ({"model": "dumy"}, "no model 'dumy'. Did you mean dummy?"),
        ({"progress": "yes"}, "progress: must be True, False or a Progress"),
        ({"limit": "ten", "seed": "x"}, "limit: .*; seed: |seed: .*; limit: "),
    ],
)
def test_a_mistake_is_one_clear_error(folder: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError) as raised:
        run(folder, **settings)
    assert re.search(message, str(raised.value)), str(raised.value)
    assert "\n" not in str(raised.value)


def test_compare_takes_runs_and_folders(folder: Path) -> None:
    one = run(folder)
    other = simple_evaluate(
        "dummy", ["own"], "answer=B", include_path=[folder], data_dir=folder, output_path=folder / "b"
    )
    found = marathon_eval.compare(one, folder / "b")
    table = found.to_pandas()
    (row,) = table.query("metric == 'accuracy'").to_dict("records")
    assert (row["a"], row["b"], row["difference"], row["n"]) == (0.5, 0.5, 0.0, 4)
    # the test is of right and wrong rows: no other metric of the reading has its p
    tested = table.query("p_holm == p_holm")
    assert tested["metric"].tolist() == ["accuracy"]
    assert (tested["p"] <= tested["p_holm"]).all()
    assert len(table) > 1
    assert "<td>accuracy</td>" in found._repr_html_()
    lines = str(found).splitlines()
    assert lines[0].startswith("A: dummy")
    assert lines[2] == "differences are B minus A"
    assert lines[3].split() == list(DIFFERENCE_COLUMNS)
    assert lines[4].split()[:3] == ["own", "none", "accuracy"]
    assert dict(found)["tasks"].keys() == {"own"}, "it stays a dict"
    assert json.loads(json.dumps(found)) == found
    assert marathon_eval.compare(one, other)["tasks"].keys() == {"own"}
    with pytest.raises(MarathonError, match="no task is in both"):
        marathon_eval.compare(one, make_result_folders.fabricate(Made(rows={"race": 3})))


def test_report_is_a_function_and_a_package(tmp_path: Path) -> None:
    make_result_folders.write(Made(rows={"race": 8}), tmp_path / "runs")
    page = marathon_eval.report(tmp_path / "runs", tmp_path / "page.html")  # type: ignore[operator]
    assert page == tmp_path / "page.html"
    assert "race" in page.read_text()
    from marathon_eval.report import gather

    assert gather.make_report
    assert marathon_eval.write_report([tmp_path / "runs"], tmp_path / "b.html").is_file()
    with pytest.raises(MarathonError, match=r"must end in \.html"):
        marathon_eval.write_report(tmp_path / "runs", tmp_path / "page.txt")


def test_each_setting_of_a_run_is_an_argument() -> None:
    arguments = set(inspect.signature(simple_evaluate).parameters) - {"progress", "unknown"}
    assert arguments == {item.name for item in fields(RunConfig)}


def test_every_public_name_can_be_imported() -> None:
    for name in marathon_eval.__all__:
        assert callable(getattr(marathon_eval, name)), name
    with pytest.raises(AttributeError, match="no attribute 'sweeep'"):
        _ = marathon_eval.sweeep  # type: ignore[attr-defined]


def test_the_table_of_a_sweep_has_what_the_printed_one_says_of_differences() -> None:
    reading = ReadingDifference(
        {"accuracy": Difference(0.5, 0.4, -0.1, (-0.2, 0.05))}, Discordance(20, 20, 10, 10, 0.02, 0.02), 60, 0
    )
    headline = {"reading": "strict", "metric": "accuracy", "scale": 100.0}
    difference = TaskDifference("own", 60, 0, 0, headline, {"strict": reading})
    none = TaskCell(None, dict.fromkeys(STAGES), None, 50.0, scale=100.0)
    table = SweepTable(tasks={"own": {"none": none, "dart 0.5": replace(none, difference=difference)}})
    table.cells = [
        {"label": label, "press": None, "ratio": None, "groups": {}} for label in table.tasks["own"]
    ]
    table.finish()
    first, dart = SweepRuns(table=table.as_json()).records()
    assert {first[name] for name in DIFFERENCE_OF_A_CELL} == {None}
    ((_, (_, _, *shown)),) = table_sections(table)
    printed = dict(zip(NUMBERS, shown, strict=True))
    assert printed["vs none"] == f"{dart['difference']:+.2f}" == "-10.00"
    assert (
        printed["95 % CI"]
        == f"{dart['difference_low']:+.2f} to {dart['difference_high']:+.2f}"
        == "-20.00 to +5.00"
    )
    assert (printed["lost"], printed["won"]) == (str(dart["lost"]), str(dart["won"])) == ("20", "10")
    assert (printed["p (Holm)"], dart["p_holm"]) == ("0.0200", 0.02)


@pytest.mark.slow
def test_a_sweep_gives_runs_and_a_table(tmp_path: Path) -> None:
    from helpers import make_audiomarathon_data

    data = make_audiomarathon_data.build(tmp_path / "data", 3, seconds=0.5)
    found = marathon_eval.sweep(
        "qwen_omni",
        ["gtzan"],
        "pretrained=nano",
        presses=["none", "random"],
        ratios=[0.5],
        data_dir=data,
        use_cache=tmp_path / "cache",
        output_path=tmp_path / "out",
        limit=2,
    )
    assert list(found.runs) == ["none", "random 0.5"]
    table = found.to_pandas()
    assert list(table["cell"]) == ["none", "random 0.5"]
    assert table["ratio"].tolist()[1] == 0.5
    assert table["kept"].tolist()[1] < 1
    assert table["difference"].tolist()[1] is not None
    assert found.runs["none"].to_pandas()["doc_id"].tolist() == [0, 1]
    assert "<td>random 0.5</td>" in found._repr_html_()
    assert [line.split()[:2] for line in str(found).splitlines()][:2] == [["sweep"], ["task", "cell"]]
    assert "gtzan  random 0.5  random" in str(found)
    assert json.loads((tmp_path / "out" / "sweep.json").read_text())["tasks"].keys() == {"gtzan"}
    with pytest.raises(MarathonError, match="presses: must be a list"):
        marathon_eval.sweep("qwen_omni", ["gtzan"], presses="dart")
    with pytest.raises(MarathonError, match="no setting 'limt'"):
        marathon_eval.sweep("qwen_omni", ["gtzan"], presses=["dart"], limt=3)
