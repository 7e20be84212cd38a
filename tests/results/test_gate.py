"""Tests the gate on runs whose losses are known: within a margin, beyond it, and too few rows to say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.minimal_task import load, measured, write_task
from marathon_eval.api.model import Response
from marathon_eval.api.results import RunResult
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.results.files import write_run
from marathon_eval.results.gate import Limit, limits

#: The arguments of `measured` for a word error rate.
WER = {"metric": "wer", "settings": "normalizer: none, "}
WriteRun = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> WriteRun:
    """`write("a", {"own": 30}, n=40)` writes a run with so many right answers by task, and returns its folder."""

    def run(label: str, right: dict[str, int], n: int = 40, scale: int = 100, **keys: str) -> str:
        rows = [{"q": f"{i}?", "a": "one two three four"} for i in range(n)]
        results, samples = {}, {}
        for name, count in right.items():
            task = load(write_task(tmp_path, measured(scale=scale, **keys), rows, name))
            docs = task.docs()
            # a wrong answer has one wrong word, and every other one two
            said = [
                "one two three four" if i < count else "one two three" if i % 2 else "one two"
                for i in range(n)
            ]
            lines = [task.score(doc, [Response(text)]) for doc, text in zip(docs.docs, said, strict=True)]
            results[name], samples[name] = task.aggregate(lines, docs), lines
        folder = tmp_path / label
        folder.mkdir()
        result = RunResult(
            model="dummy",
            fingerprint={"model": "dummy", "press": None},
            fingerprint_sha256=label * 8,
            tasks=results,
            groups={},
            samples=samples,
            config={},
            versions={},
            manifests={name: {"manifest_sha256": "d" * 64} for name in right},
            cache={"hits": 0, "misses": 0},
            wall_s=1.0,
            started="now",
        )
        write_run(result, folder)
        return str(folder)

    return run


@pytest.mark.parametrize(
    ("base", "new", "n", "gate", "code", "word"),
    [
        (390, 390, 400, "own>=-2", 0, "within the margin"),
        (390, 388, 400, "own>=-2", 0, "within the margin"),
        (390, 300, 400, "own>=-2", 4, "loss beyond the margin"),
        (390, 380, 400, "own>=-2", 5, "too few rows to say"),
        (30, 30, 40, "own>=-2", 5, "too few rows to say"),
        (5, 5, 5, "own>=-2", 5, "n too small (5 of 6 rows)"),
        (300, 390, 400, "own>=0", 0, "within the margin"),
    ],
)
def test_exit_codes(
    write: WriteRun,
    capsys: pytest.CaptureFixture[str],
    base: int,
    new: int,
    n: int,
    gate: str,
    code: int,
    word: str,
) -> None:
    a, b = write("a", {"own": base}, n), write("b", {"own": new}, n)
    assert main(["compare", a, b, "--gate", gate]) == code
    assert word in capsys.readouterr().out


def test_a_shown_loss_counts_before_an_undecided_one(
    write: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write("a", {"own": 390, "twin": 390, "third": 200}, 400)
    b = write("b", {"own": 390, "twin": 300, "third": 196}, 400)
    assert main(["compare", a, b, "--gate", "own>=-2,third>=-2"]) == 5
    assert main(["compare", a, b, "--gate", "own>=-2, twin>=-2,third>=-2"]) == 4
    capsys.readouterr()
    assert main(["compare", a, b, "--gate", "own>=-2,twin>=-2,third>=-2", "--json"]) == 4
    found = {each["task"]: each for each in json.loads(capsys.readouterr().out)["gate"]}
    verdicts = [found[task]["verdict"] for task in ("own", "twin", "third")]
    assert verdicts == ["within the margin", "loss beyond the margin", "too few rows to say"]
    assert found["twin"]["difference"] == pytest.approx(-22.5)
    assert found["twin"]["ci95"][0] < -22.5 < found["twin"]["ci95"][1] < -2


def test_holm_makes_more_limits_harder(write: WriteRun) -> None:
    """A p-value between 0.0125 and 0.025 passes alone, and not beside a task that says nothing."""
    a, b = write("a", {"own": 395, "twin": 20}, 400), write("b", {"own": 395, "twin": 10}, 400)
    # nothing differs in `own`: p = (1 - 0.01)^400 = 0.018
    assert main(["compare", a, b, "--gate", "own>=-1"]) == 0
    assert main(["compare", a, b, "--gate", "own>=-1,twin>=-1"]) == 5


def test_more_errors_are_a_loss(write: WriteRun, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write("a", {"own": 190}, 200, **WER), write("b", {"own": 100}, 200, **WER)
    assert main(["compare", a, b, "--gate", "own>=-5"]) == 4
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if line.startswith("gate own"))
    assert "points: -" in line
    assert " (sign turned: a rise of strict wer is a loss): loss beyond" in line
    assert main(["compare", b, a, "--gate", "own>=-5"]) == 0


@pytest.mark.parametrize(
    ("base", "new", "n", "code", "word"),
    [
        (190, 190, 400, 0, "+0.00 (-0.75 to +0.75)"),
        (40, 40, 40, 5, "too few rows to say"),
        (400, 0, 400, 4, "loss beyond the margin"),
    ],
)
def test_error_rates_without_spread(
    write: WriteRun, capsys: pytest.CaptureFixture[str], base: int, new: int, n: int, code: int, word: str
) -> None:
    a, b = write("a", {"own": base}, n, **WER), write("b", {"own": new}, n, **WER)
    assert main(["compare", a, b, "--gate", "own>=-2"]) == code
    assert word in capsys.readouterr().out


def test_a_headline_with_a_negative_scale_has_its_loss_on_the_same_side(write: WriteRun) -> None:
    a, b = write("a", {"own": 190}, 200, scale=-100), write("b", {"own": 100}, 200, scale=-100)
    assert main(["compare", a, b, "--gate", "own>=-5"]) == 4
    assert main(["compare", b, a, "--gate", "own>=-5"]) == 0


def test_the_unit_of_a_limit_is_named(write: WriteRun, capsys: pytest.CaptureFixture[str]) -> None:
    a = write("a", {"own": 395}, 400)
    assert main(["compare", a, a, "--gate", "own>=-2"]) == 0
    out = capsys.readouterr().out
    assert "gate own >= -2 points: +0.00 (" in out
    assert "sign turned" not in out
    a = write("fraction", {"own": 395}, 400, scale=1)
    assert main(["compare", a, a, "--gate", "own>=-0.02"]) == 0
    assert "gate own >= -0.02 of strict accuracy: +0.0000 (-0.00" in capsys.readouterr().out


def test_a_limit_in_percent_on_a_fraction_is_refused(
    write: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, keys in (("accuracy", {}), ("wer", WER)):
        a = write(name, {"own": 30}, scale=1, **keys)
        assert main(["compare", a, a, "--gate", "own>=-2"]) == 2
        said = capsys.readouterr().err
        assert f"own>=-2: the headline strict {name} is a fraction with 1 for 100 %" in said
        assert "a loss of 200%. For 2 percentage points write own>=-0.02; with `scale: 100` in the" in said
        assert main(["compare", a, a, "--gate", "own>=-1"]) in (0, 5), "a limit that a fraction can reach"


def test_an_own_metric_above_1_is_no_fraction(write: WriteRun, capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers of code of the task's own are fractions where all of both runs lie between 0 and 1."""
    a = write("a", {"own": 30}, scale=1)
    as_own(Path(a), 1.0)
    assert main(["compare", a, a, "--gate", "own>=-2"]) == 2
    assert "strict accuracy is a fraction" in capsys.readouterr().err
    as_own(Path(a), 5.0)
    assert main(["compare", a, a, "--gate", "own>=-2"]) in (0, 5)
    assert "gate own >= -2 of strict accuracy" in capsys.readouterr().out


def as_own(folder: Path, best: float) -> None:
    """Rewrite a run as if code of its own had given each right row the score `best`."""
    results = json.loads((folder / "results.json").read_text())
    task = results["tasks"]["own"]
    task["metrics"]["strict"]["accuracy"]["code"] = {"metrics/accuracy.py": "c" * 64}
    samples = folder / "samples_own.jsonl"
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    for line in lines:
        score = line["readings"]["strict"]["scores"]
        score["accuracy"] = best if score["accuracy"] else 0.0
    samples.write_text("".join(json.dumps(line) + "\n" for line in lines))
    task["strict"]["accuracy"]["value"] = sum(
        line["readings"]["strict"]["scores"]["accuracy"] for line in lines
    ) / len(lines)
    (folder / "results.json").write_text(json.dumps(results))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("race", "a limit is TASK>=POINTS"),
        ("race>=-1,", "a limit is TASK>=POINTS"),
        ("race>-1", "a limit is TASK>=POINTS"),
        ("race>=nan", "a limit is TASK>=POINTS"),
        ("race>=1", "race: the least difference is 0 or less, got 1"),
        ("race>=-1,race>=-2", "race has two limits"),
    ],
)
def test_nonsense_is_refused(text: str, error: str) -> None:
    with pytest.raises(MarathonError, match=error):
        limits(text)


def test_limits_are_read_and_unknown_tasks_are_named(
    write: WriteRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert limits("race>=-1.0, gtzan>=-2") == [Limit("race", -1.0), Limit("gtzan", -2.0)]
    a = write("a", {"own": 30})
    assert main(["compare", a, a, "--gate", "owm>=-1"]) == 2
    assert "Did you mean own?" in capsys.readouterr().err
