"""Tests the comparison of two runs, paired by document, against scipy and counts made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from helpers.minimal_task import load, write_task
from marathon_eval.api.model import Response
from marathon_eval.api.results import RunResult
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.report.compared_table import comparison_latex
from marathon_eval.results.compare import compare_runs, run_names
from marathon_eval.results.files import write_run
from marathon_eval.results.paired import TaskRows, correct, difference, paired_metrics
from marathon_eval.results.recomputed import rebuilt

KEYS = """\
doc_to_text: q
doc_to_target: a
cluster: clip
filter_list:
  - {name: strict, filter: [{function: take_first}]}
  - {name: upper, filter: [{function: uppercase}, {function: take_first}]}
metric_list:
  - {metric: macro_f1, filter_list: strict}
  - {metric: accuracy, filter_list: strict}
  - {metric: accuracy, name: hits, filter_list: upper}
headline: {reading: strict, metric: macro_f1, scale: 100}
"""
GOLD = ["a", "b", "a", "c", "b", "a", "c", "c", "b", "a", "a", "b"]
SAID_A = ["a", "b", "b", "c", "b", "b", "c", "a", "b", "a", "b", "b"]
SAID_B = ["a", "b", "a", "c", "a", "a", "c", "a", "b", "a", "a", "a"]

WriteRun = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> WriteRun:
    """`write("a", SAID_A)` writes the run that gave these answers, and returns its folder."""

    def run(
        label: str,
        said: Sequence[str | None],
        gold: Sequence[str] = GOLD,
        tasks: Sequence[str] = ("own",),
        prompt: str = "same",
    ) -> Path:
        rows = [{"q": f"{i}?", "a": right, "clip": f"clip{i // 2}"} for i, right in enumerate(gold)]
        results, samples, manifests = {}, {}, {}
        for name in tasks:
            task = load(write_task(tmp_path, KEYS, rows, name))
            docs = task.docs()
            answers = [Response.failed("no") if text is None else Response(text) for text in said]
            lines = [task.score(doc, [answer]) for doc, answer in zip(docs.docs, answers, strict=True)]
            samples[name] = [
                type(line)(**{**vars(line), "prompt_sha256": f"{prompt}{line.doc_id}"}) for line in lines
            ]
            results[name], manifests[name] = task.aggregate(samples[name], docs), docs.manifest()
        folder = tmp_path / label
        folder.mkdir()
        whole = RunResult(
            model="dummy",
            fingerprint={"model": "dummy", "press": None},
            fingerprint_sha256=label * 8,
            tasks=results,
            groups={},
            samples=samples,
            config={},
            versions={},
            manifests=manifests,
            cache={"hits": 0, "misses": 0},
            wall_s=1.0,
            started="2026-11-21T05:00:00Z",
        )
        write_run(whole, folder)
        return folder

    return run


def macro_f1(gold: Sequence[str], said: Sequence[str]) -> float:
    """By the definition, label by label."""
    scores = []
    for label in sorted(set(gold)):
        right = sum(g == s == label for g, s in zip(gold, said, strict=True))
        scores.append(2 * right / (gold.count(label) + said.count(label)))
    return sum(scores) / len(scores)


def test_differences_are_those_of_the_definition(write: WriteRun) -> None:
    found = compare_runs(write("a", SAID_A), write("b", SAID_B))
    metrics = found["tasks"]["own"]["readings"]["strict"]["metrics"]
    f1 = metrics["macro_f1"]
    assert f1["a"] == pytest.approx(macro_f1(GOLD, SAID_A), abs=1e-12)
    assert f1["b"] == pytest.approx(macro_f1(GOLD, SAID_B), abs=1e-12)
    assert f1["difference"] == pytest.approx(f1["b"] - f1["a"], abs=1e-12)
    assert metrics["accuracy"]["difference"] == pytest.approx(1 / 12, abs=1e-12)


def test_discordant_counts_and_the_sign_flip_test_by_hand(write: WriteRun) -> None:
    found = compare_runs(write("a", SAID_A), write("b", SAID_B))
    test = found["tasks"]["own"]["readings"]["strict"]["discordance"]
    assert (test["both"], test["only_a"], test["only_b"], test["neither"]) == (6, 2, 3, 1)
    assert test["p"] == pytest.approx(binomtest(2, 5, 0.5).pvalue, abs=1e-12)
    flipped = [(flip["doc_id"], flip["b"]["outcome"]) for flip in found["tasks"]["own"]["flips"]]
    assert flipped == [(2, "right"), (4, "wrong"), (5, "right"), (10, "right"), (11, "wrong")]


def test_the_interval_is_paired_and_by_clip() -> None:
    """Against draws of clips made one by one; the two rows that Bonett and Price add widen it by little."""
    random = np.random.default_rng(4)
    clips = [f"clip{i // 3}" for i in range(360)]
    first = random.integers(0, 2, 360).astype(float)
    second = np.where(np.repeat(random.random(120), 3) < 0.8, first, 1 - first)
    found = difference(
        np.stack([first, np.ones(360)], 1),
        np.stack([second, np.ones(360)], 1),
        clips,
        rebuilt({"metric": "accuracy"}, "accuracy", "strict"),
    )
    gains = (second - first).reshape(120, 3).sum(1)
    draws = [gains[random.integers(0, 120, 120)].sum() / 360 for _ in range(20_000)]
    assert found.ci95 is not None
    assert found.ci95 == pytest.approx(np.percentile(draws, [2.5, 97.5]), abs=0.25 * float(np.std(draws)))
    unpaired = np.hypot(first.std(), second.std()) / 360**0.5
    assert found.ci95[1] - found.ci95[0] < 2 * 1.96 * unpaired, "pairs that agree take no part in the spread"


def test_holm_is_over_the_tasks_of_one_reading(write: WriteRun) -> None:
    tasks = ("own", "twin", "third")
    found = compare_runs(
        write("a", ["a"] * 12, tasks=tasks), write("b", [*GOLD[:6], *["b"] * 6], tasks=tasks)
    )
    tests = [found["tasks"][task]["readings"]["strict"]["discordance"] for task in tasks]
    assert all(test["holm_p"] == pytest.approx(min(1.0, 3 * test["p"]), abs=1e-12) for test in tests)


def test_failed_rows_leave_both_sides(write: WriteRun) -> None:
    """The first of A failed, the last of B: ten documents are compared."""
    found = compare_runs(write("a", [None, *SAID_A[1:]]), write("b", [*SAID_B[:-1], None]))
    task = found["tasks"]["own"]
    assert (task["n_paired"], task["n_only_a"], task["n_only_b"]) == (10, 1, 1)
    f1 = task["readings"]["strict"]["metrics"]["macro_f1"]
    assert f1["a"] == pytest.approx(macro_f1(GOLD[1:-1], SAID_A[1:-1]), abs=1e-12)


def test_a_renamed_metric_of_another_reading_is_rebuilt(write: WriteRun) -> None:
    found = compare_runs(write("a", SAID_A), write("b", SAID_B))
    assert found["tasks"]["own"]["readings"]["upper"]["metrics"]["hits"]["reason"] is None


def test_a_metric_that_files_cannot_give_again_has_no_difference(write: WriteRun) -> None:
    """Older runs did not keep the entries; and a number that comes out otherwise is not trusted."""
    folders = [write("a", SAID_A), write("b", SAID_B)]
    sides = [_read(folder) for folder in folders]
    strict = sides[0].summary["strict"]
    strict["accuracy"]["value"] += 0.01
    found = paired_metrics("own", *sides).readings["strict"].metrics
    assert found["accuracy"].difference is None
    assert "cannot be computed again" in str(found["accuracy"].reason)
    assert found["macro_f1"].difference is not None
    del sides[0].summary["metrics"]  # type: ignore[attr-defined]
    assert "does not say" in str(paired_metrics("own", *sides).readings["strict"].metrics["macro_f1"].reason)


def test_a_results_file_cannot_have_code_run(write: WriteRun) -> None:
    """`evaluate:` metrics are code from elsewhere: their kept numbers are averaged instead."""
    sides = [_read(write("a", SAID_A)), _read(write("b", SAID_B))]
    for side in sides:
        side.summary["metrics"]["strict"]["accuracy"] = {
            "metric": "evaluate:./stolen.py",
            "trust_remote_code": True,
        }
    found = paired_metrics("own", *sides).readings["strict"].metrics["accuracy"]
    assert found.difference == pytest.approx(1 / 12, abs=1e-12)


def _read(folder: Path) -> TaskRows:
    rows = [json.loads(line) for line in (folder / "samples_own.jsonl").read_text().splitlines()]
    summary = json.loads((folder / "results.json").read_text())["tasks"]["own"]
    return TaskRows(summary, {row["doc_id"]: row for row in rows})


def test_graded_answers_have_no_mcnemar(write: WriteRun) -> None:
    sides = [_read(write("a", SAID_A)), _read(write("b", SAID_B))]
    sides[0].rows[3]["readings"]["strict"]["scores"]["accuracy"] = 0.5
    found = paired_metrics("own", *sides)
    correct([found.readings])
    assert found.readings["strict"].discordance is None


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"gold": [*GOLD[:-1], "a"]}, "on different data"),
        ({"prompt": "other"}, "12 of 12 documents were asked with different prompts"),
    ],
)
def test_unlike_runs_are_refused_unless_forced(
    write: WriteRun, other: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = write("a", SAID_A), write("b", SAID_B, **other)
    with pytest.raises(MarathonError, match=message):
        compare_runs(a, b)
    assert main(["compare", str(a), str(b), "--force"]) == 0
    assert f"FORCED: own: {'the runs are on' if 'data' in message else ''}" in capsys.readouterr().out


def test_runs_without_a_common_task_are_refused(write: WriteRun) -> None:
    with pytest.raises(MarathonError, match="no task is in both runs: own in A, twin in B"):
        compare_runs(write("a", SAID_A), write("b", SAID_B, tasks=("twin",)))


def test_the_table_and_the_json(write: WriteRun, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = str(write("a", SAID_A)), str(write("b", SAID_B))
    assert main(["compare", a, b, "--flips", "2"]) == 0
    out = capsys.readouterr().out
    assert "own 2: wrong -> right, target 'a': 'b' -> 'a'" in out
    assert "own: 3 more changed" in out
    row = next(line for line in out.splitlines() if "macro_f1 *" in line).split()
    assert row[-5:] == ["2", "3", "1.0000", "1.0000", "12"]
    assert main(["compare", a, b, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["tasks"]["own"]["flips"]) == 5


def test_the_papers_table_has_differences_intervals_p_and_stars(
    write: WriteRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(write("a", SAID_A)), str(write("b", SAID_B))]
    table = tmp_path / "tables" / "difference.tex"
    assert main(["compare", *runs, "--latex", str(table)]) == 0
    assert str(table) in capsys.readouterr().err
    lines = table.read_text().splitlines()
    assert lines[0].startswith("% A: ")
    (row,) = [line for line in lines if line.startswith("own & ")]
    cells = row.removesuffix(r" \\").split(" & ")
    found = compare_runs(Path(runs[0]), Path(runs[1]))["tasks"]["own"]["readings"]["strict"]
    value, p = found["metrics"]["macro_f1"], found["discordance"]["holm_p"]
    assert cells[1:4] == [r"macro\_f1", f"{100 * value['a']:.1f}", f"{100 * value['b']:.1f}"]
    assert cells[4].startswith(f"{100 * value['difference']:+.1f}".replace("-", "$-$"))
    assert cells[4].endswith("$^{*}$") == (p < 0.05)
    assert cells[6:] == [f"{p:.4f}", "12"]
    text = table.read_text()
    assert r"% Needs \usepackage{booktabs}" in text
    assert "in the table that `compare` prints, the star marks the headline metric" in text
    notes = [line for line in lines if line.startswith(r"\multicolumn{8}{l}")]
    assert notes[-1] == (
        r"\multicolumn{8}{l}{\footnotesize $^{*}$: $p$ below 0.05 after Holm's correction over the tasks of a reading} \\"
    )
    assert main(["compare", *runs, "--latex", "table.txt"]) == 2
    assert "must end in .tex" in capsys.readouterr().err


def test_a_tiny_p_is_printed_as_below_a_bound_and_kept_in_the_json(
    write: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = ["a", "b"] * 40
    runs = [str(write("a", ["c"] * 80, gold)), str(write("b", gold, gold))]
    assert main(["compare", *runs, "--flips", "0", "--gate", "own>=-1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if "macro_f1 *" in line)
    assert row.split()[-3:] == ["<0.0001", "<0.0001", "80"]
    assert any(line.endswith("p <0.0001 within, 1.0000 beyond (Holm)") for line in lines)
    found = compare_runs(Path(runs[0]), Path(runs[1]))
    assert 0 < found["tasks"]["own"]["readings"]["strict"]["discordance"]["holm_p"] < 1e-9
    assert r" & $<$0.0001 & 80 \\" in comparison_latex(found)


def latex_of(comparison: dict[str, Any], names: tuple[str, str]) -> str:
    sides = {
        side: {**comparison[side], "name": name, "label": []} for side, name in zip("ab", names, strict=True)
    }
    return comparison_latex({**comparison, **sides})


def test_the_papers_table_names_both_runs(write: WriteRun) -> None:
    found = compare_runs(write("a", SAID_A), write("b", SAID_B))
    short = latex_of(found, ("qwen_omni", "dummy 50%"))
    assert r"metric & qwen\_omni & dummy 50\% & difference & " in short
    assert r"{\footnotesize difference: dummy 50\% $-$ qwen\_omni} \\" in short
    long = latex_of(found, ("qwen_omni pretrained=Qwen2.5-Omni-7B", "dummy"))
    assert r"metric & A & B & B $-$ A & " in long
    assert r"{\footnotesize A: qwen\_omni pretrained=Qwen2.5-Omni-7B} \\" in long
    assert r"{\footnotesize B: dummy} \\" in long
    alike = latex_of(found, ("dummy", "dummy"))
    assert r"{\footnotesize B: dummy @ 2026-11-21T05:00:00Z} \\" in alike
    assert "metric & A & B & " in alike


def test_the_papers_table_says_what_a_star_without_p_means(write: WriteRun) -> None:
    found = compare_runs(write("a", SAID_A), write("b", SAID_B))
    assert "without a $p$" not in comparison_latex(found)
    found["tasks"]["own"]["readings"]["strict"]["discordance"] = None
    assert r"$^{*}$ without a $p$ (graded answers): the 95\,\% interval leaves out 0" in comparison_latex(
        found
    )


def test_runs_of_one_model_are_named_by_the_settings_in_which_they_differ() -> None:
    results = [{"model": "dummy", "fingerprint": {"model": "dummy", "answer": text}} for text in "AB"]
    assert run_names(results) == ["dummy answer=A", "dummy answer=B"]


def test_a_task_without_a_headline_has_its_first_metric_in_the_table(write: WriteRun) -> None:
    compared = compare_runs(write("a", SAID_A), write("b", SAID_B))
    compared["tasks"]["own"]["headline"] = None
    value = compared["tasks"]["own"]["readings"]["strict"]["metrics"]["macro_f1"]
    (row,) = [line for line in comparison_latex(compared).splitlines() if line.startswith("own & ")]
    assert row.split(" & ")[2] == f"{value['a']:.3f}"


def test_runs_without_a_common_reading_are_refused(write: WriteRun) -> None:
    a, b = write("a", SAID_A), write("b", SAID_B)
    results = json.loads((b / "results.json").read_text())
    task = results["tasks"]["own"]
    task |= {f"{name}_b": task[name] for name in task["readings"]}
    task["readings"] = [f"{name}_b" for name in task["readings"]]
    (b / "results.json").write_text(json.dumps(results))
    rows = [json.loads(line) for line in (b / "samples_own.jsonl").read_text().splitlines()]
    for row in rows:
        row["readings"] = {f"{name}_b": value for name, value in row["readings"].items()}
    (b / "samples_own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(MarathonError, match=r"no reading is in both runs: \w+(, \w+)* in A, \w+_b"):
        compare_runs(a, b)
