"""Tests that tables and the page mark error rates, and take the lowest for the best."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marathon_eval.cli.main import main
from marathon_eval.results.directions import LOWER_NOTE


def test_of_error_rates_the_lowest_is_the_best(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = error_rates(tmp_path)
    capsys.readouterr()
    assert main(["leaderboard", *runs, "--latex"]) == 0
    _, better, worse = [line for line in capsys.readouterr().out.splitlines() if "&" in line]
    assert better.count(r"\textbf{25.0}") == 2
    assert worse.count("75.0") == 3
    assert r"\textbf{75" not in worse


def test_error_rates_are_marked_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = error_rates(tmp_path)
    capsys.readouterr()
    assert main(["leaderboard", *runs]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| model | heard ↓ | also_heard ↓ | Avg ↓ |"
    assert LOWER_NOTE in lines
    assert main(["leaderboard", *runs, "--latex"]) == 0
    text = capsys.readouterr().out
    assert r"model & heard $\downarrow$ & also\_heard $\downarrow$ & Avg $\downarrow$ \\" in text
    assert r"\multicolumn{4}{l}{\footnotesize $\downarrow$: lower is better} \\" in text
    table = tmp_path / "table.tex"
    assert main(["compare", *runs, "--latex", str(table)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("wer ↓ *") == 2
    assert LOWER_NOTE in printed.splitlines()
    assert r"heard & wer $\downarrow$ & 75.0 & 25.0 & " in table.read_text()
    assert r"{\footnotesize $\downarrow$: lower is better} \\" in table.read_text()
    assert main(["compare", *runs, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"]["heard"]["lower_is_better"] == {"none": ["wer"]}


def test_error_rates_are_marked_beside_controls_and_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = error_rates(tmp_path)
    silent = ["--model", "dummy", "--model_args", "answer=the", "--tasks", str(tmp_path / "heard.yaml")]
    assert main([*silent, "--no_audio", "silence", "--output_path", str(tmp_path / "silent")]) == 0
    runs.append(str(tmp_path / "silent"))
    capsys.readouterr()
    assert main(["leaderboard", *runs]) == 0
    heard = capsys.readouterr().out.partition("Listening: ")[2]
    assert "| listening | control | heard ↓ |" in heard
    assert LOWER_NOTE in heard
    assert main(["leaderboard", *runs, "--latex"]) == 0
    heard = capsys.readouterr().out.partition("Listening: ")[2]
    assert r"listening & control & heard $\downarrow$ \\" in heard
    assert f"% {LOWER_NOTE}" in heard
    page = tmp_path / "page.html"
    assert main(["report", *runs, "--output_path", str(page)]) == 0
    text = page.read_text()
    listening = text.partition('id="listening"')[2]
    assert ">heard ↓</th>" in listening.partition("</table>")[0]
    board = text.partition('id="h-leaderboard"')[2].partition("</table>")[0]
    assert ">heard ↓" in board
    assert ">also_heard ↓" in board
    assert "<td>none wer ↓</td>" in text
    assert text.count(LOWER_NOTE) >= 2


def error_rates(tmp_path: Path) -> list[str]:
    """Write a run with the word error rates 75 and one with 25 on two tasks, and return their folders."""
    runs = []
    for task in ("heard", "also_heard"):
        (tmp_path / task).mkdir()
        (tmp_path / task / "rows.jsonl").write_text(json.dumps({"q": "?", "a": "the red fox ran"}))
        (tmp_path / f"{task}.yaml").write_text(
            f"task: {task}\ndataset_path: json\ndataset_kwargs: {{data_files: {task}/rows.jsonl}}\n"
            "doc_to_text: q\ndoc_to_target: a\nlanguage: en\nmetric_list: [{metric: wer}]\n"
            "headline: {reading: none, metric: wer, scale: 100}\n"
        )
    for answer in ("the", "the red fox"):
        runs.append(str(tmp_path / answer))
        tasks = f"{tmp_path / 'heard.yaml'},{tmp_path / 'also_heard.yaml'}"
        command = ["--model", "dummy", "--model_args", f"answer={answer}", "--tasks", tasks]
        assert main([*command, "--output_path", runs[-1]]) == 0
    return runs
