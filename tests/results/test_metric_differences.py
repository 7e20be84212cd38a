"""Tests what `compare` says of two runs whose task was not measured alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import measured, write_task
from marathon_eval.cli.main import main
from marathon_eval.results.metric_differences import metric_difference_text, metric_differences


class Lab:
    """Runs `dummy` on a task of a folder, and compares two runs."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        (folder / "metrics").mkdir()

    def run(self, name: str, keys: str) -> str:
        rows = [{"q": f"{place}?", "a": "A"} for place in range(8)]
        task, out = write_task(self.folder, keys, rows), self.folder / name
        where = ["--include_path", str(self.folder), "--use_cache", str(self.folder / "cache")]
        assert main(["--model", "dummy", "--tasks", str(task), *where, "-o", str(out)]) == 0
        return str(out)

    def compared(self, a: str, b: str, *flags: str) -> str:
        self.capsys.readouterr()
        assert main(["compare", a, b, *flags]) == 0
        return self.capsys.readouterr().out


@pytest.fixture
def lab(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Lab:
    return Lab(tmp_path, capsys)


def test_another_version_of_an_own_metric_is_told(lab: Lab, tmp_path: Path) -> None:
    code = lab.folder / "metrics" / "near.py"
    code.write_text("def near(row):\n    return float(row.answer.value == row.target)\n")
    a = lab.run("a", measured("near"))
    code.write_text("def near(row):\n    return 0.5 * (row.answer.value == row.target)\n")
    b = lab.run("b", measured("near"))
    (entry,) = json.loads(lab.compared(a, b, "--json"))["tasks"]["own"]["metric_differences"]
    assert (entry["what"], entry["name"], len(entry["a"])) == ("code of near", "metrics/near.py", 64)
    said = f"code of near metrics/near.py {entry['a'][:8]} and {entry['b'][:8]}; `score RUN` scores each run again"
    assert f"own: not measured alike: {said}" in lab.compared(a, b)
    assert "not measured alike" not in lab.compared(a, a)
    table = tmp_path / "table.tex"
    lab.compared(a, b, "--latex", str(table))
    assert "own: the metrics of the two runs differ" in table.read_text()


def test_another_version_of_the_task_is_told(lab: Lab) -> None:
    a, b = lab.run("a", measured()), lab.run("b", measured(version=2))
    assert "own: not measured alike: version 1 and 2;" in (lab.compared(a, b))


def test_other_filters_of_a_reading_are_told(lab: Lab) -> None:
    def after_regex(pattern: str) -> str:
        return f"{{function: regex, regex_pattern: '({pattern})'}}, {{function: take_first}}"

    a = lab.run("a", measured())
    b = lab.run("b", measured(filters=after_regex("[A-D]")))
    c = lab.run("c", measured(filters=after_regex("[A-E]")))
    said = "own: not measured alike: filters of strict "
    assert f"{said}(take_first) and (regex, take_first);" in lab.compared(a, b)
    assert f"{said}(regex regex_pattern ([A-D])) and (regex regex_pattern ([A-E]));" in lab.compared(b, c)
    assert "not measured alike" not in lab.compared(b, b)
    (file,) = Path(a).glob("**/results.json")
    results = json.loads(file.read_text())
    assert results["tasks"]["own"].pop("filters") == {"strict": [{"function": "take_first"}]}
    file.write_text(json.dumps(results))  # as an earlier version wrote it
    assert "not measured alike" not in lab.compared(a, b)
    where = ["--include_path", str(lab.folder), "--use_cache", str(lab.folder / "cache")]
    assert main(["score", a, *where, "-o", str(lab.folder / "scored")]) == 0
    (again,) = (lab.folder / "scored").glob("**/results.json")
    recorded = json.loads(again.read_text())["tasks"]["own"]["filters"]
    assert [step["function"] for step in recorded["strict"]] == ["regex", "take_first"]


def test_what_one_run_alone_measured_is_told(lab: Lab) -> None:
    b_keys = measured().replace(
        "metric_list:",
        "  - {name: first, filter: [{function: uppercase}, {function: take_first}]}\nmetric_list:",
    )
    more = "  - {metric: accuracy, filter_list: READING}\nheadline:"
    a = lab.run("a", measured("macro_f1").replace("headline:", more.replace("READING", "strict")))
    b = lab.run("b", b_keys.replace("headline:", more.replace("READING", "first")))
    alike = lab.compared(a, a)
    assert "macro_f1 *" in alike
    assert "only in" not in alike
    assert "headlines differ" not in alike
    said = lab.compared(a, b)
    assert "own: only in A: strict macro_f1; only in B: reading first" in said
    assert "own: the headlines differ: strict macro_f1 in A, strict accuracy in B" in said
    (row,) = [
        line
        for line in said.splitlines()
        if " strict " in f" {line} " and "headlines" not in line and "only" not in line
    ]
    assert "accuracy" in row
    assert "*" not in row


def test_a_p_beside_another_metric_says_what_it_tests(lab: Lab, tmp_path: Path) -> None:
    run, table = lab.run("a", measured("macro_f1")), tmp_path / "table.tex"
    said = "exact sign-flip test of right answers over clips"
    assert said in lab.compared(run, run, "--latex", str(table))
    assert said in table.read_text()


def test_another_setting_of_a_metric_is_told() -> None:
    def results(**entry: Any) -> dict[str, Any]:
        return {
            "tasks": {"own": {"version": None, "metrics": {"strict": {"wer": {"metric": "wer", **entry}}}}}
        }

    def said(*pair: dict[str, Any]) -> str:
        return metric_difference_text(metric_differences("own", pair))

    plain = results(normalizer="none", filter_list="strict")
    assert said(plain, results(normalizer="basic")) == "strict wer normalizer none and basic"
    assert said(plain, results(normalizer="none")) == "", "which readings it is for changes no number"
    coded = [results(code={"metrics/wer.py": letter * 64}) for letter in "ab"]
    assert said(*coded) == "code of wer metrics/wer.py aaaaaaaa and bbbbbbbb"
    filtered = [{**plain, "manifests": {"own": {"code": {"filters/cut.py": letter * 64}}}} for letter in "ab"]
    assert said(*filtered) == "code filters/cut.py aaaaaaaa and bbbbbbbb"
    alone = results(normalizer="none")
    alone["tasks"]["own"]["metrics"]["strict"]["near"] = {"code": {"metrics/near.py": "a" * 64}}
    alone["manifests"] = {"own": {"code": {"metrics/near.py": "a" * 64}}}
    assert said(plain, alone) == "", "a metric of one run alone is not compared"
    assert said(plain, {"tasks": {"own": {}}}) == "", "a run that recorded nothing"
