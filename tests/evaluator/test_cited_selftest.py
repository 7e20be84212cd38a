"""Tests `run --selftest FILE`: what results.json says of a self-test, and which ones are refused."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import KEYS, write_task
from helpers.report_page_parser import parsed
from marathon_eval import simple_evaluate
from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import build_model
from marathon_eval.evaluator.selftest.cited import cited_selftest
from marathon_eval.evaluator.selftest.verdicts import SelfTestLine, SelfTestResult

NANO = {"pretrained": "nano", "device": "cpu"}
DART = {**NANO, "press": "dart", "ratio": 0.5}


def written(path: Path, model_args: dict[str, Any], name: str = "qwen_omni") -> str:
    """Write the self-test of a model with two lines that pass, one that fails and one that does not apply."""
    result = SelfTestResult(name, build_model(Registry(), name, model_args).fingerprint)
    verdicts = ("pass", "fail", "pass", "not applicable")
    result.lines = [SelfTestLine(f"line {n}", verdict, "") for n, verdict in enumerate(verdicts)]
    path.write_text(json.dumps(result.as_json()))
    return str(path)


def cited(file: str, model_args: dict[str, Any], name: str = "qwen_omni") -> dict[str, Any]:
    return cited_selftest(file, build_model(Registry(), name, model_args))


def test_a_self_test_of_the_model_and_its_press_is_cited(tmp_path: Path) -> None:
    file = written(tmp_path / "tested.json", DART)
    found = cited(file, {**DART, "batch_size": 4})
    assert found.pop("date").endswith("Z")
    assert (found["press"]["press"], found["press"]["ratio"]) == ("dart", 0.5)
    assert found | {"press": None} == {
        "file": file,
        "sha256": hashlib.sha256(Path(file).read_bytes()).hexdigest(),
        "passed": 2,
        "failed": 1,
        "not_applicable": 1,
        "press": None,
    }
    assert cited(file, NANO)["press"]["press"] == "dart", "a run without a press cites it too"
    plain = written(tmp_path / "plain.json", NANO)
    assert cited(plain, DART)["press"] is None


def test_a_self_test_of_another_model_or_press_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path / "tested.json", DART)
    with pytest.raises(
        MarathonError, match="tested.json: it is of another press: ratio 0.5 there, 0.3 here. Give"
    ):
        cited(file, {**DART, "ratio": 0.3})
    with pytest.raises(MarathonError, match='of another press: press "dart" there, "frame" here'):
        cited(file, {**DART, "press": "frame"})
    said = 'of another model: dtype "auto" there, "float32" here'
    with pytest.raises(MarathonError, match=said):
        cited(file, {**DART, "dtype": "float32"})
    with pytest.raises(
        MarathonError, match='of another model: model "qwen_omni" there, "dummy" here.*and \\d+ more'
    ):
        cited(file, {}, "dummy")
    old = json.loads(Path(file).read_text())
    old["fingerprint"]["adapter_version"] = 0
    Path(file).write_text(json.dumps(old))
    with pytest.raises(MarathonError, match="of another model: adapter_version 0 there, "):
        cited(file, NANO)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not readable as JSON"),
        ("[]", "is no self-test; `marathon-eval selftest --output FILE` writes one"),
        ('{"lines": [1], "fingerprint": {}}', "is no self-test"),
        ('{"lines": [], "fingerprint": {"press": "dart"}}', "is no self-test"),
        (None, "cannot read"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "tested.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(MarathonError, match=f"--selftest: .*tested.json: {said}"):
        cited(str(path), {}, "dummy")


@pytest.fixture
def task(tmp_path: Path) -> str:
    return str(write_task(tmp_path, KEYS + "metric_list: [{metric: exact_match}]\n", [{"q": "x", "a": "A"}]))


def stored(folder: Path) -> dict[str, Any]:
    (file,) = folder.rglob("results.json")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def test_a_run_and_a_set_cite_the_file_and_the_report_shows_it(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "tested.json", tmp_path / "out"
    assert main(["selftest", "--model", "dummy", "--output", str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(file.read_text())
    flags = ["-t", task, "-c", str(tmp_path / "cache")]
    assert main(["run", "-M", "dummy", *flags, "-o", str(out), "--selftest", str(file)]) == 0
    results = stored(out)
    assert results["selftest"]["file"] == str(file)
    assert (results["selftest"]["passed"], results["selftest"]["not_applicable"]) == (0, 1)
    assert "selftest" not in results["config"]
    page = tmp_path / "report.html"
    assert main(["report", str(out), "--output_path", str(page)]) == 0
    assert "<dt>self-test</dt>" in page.read_text()
    assert results["selftest"]["sha256"] in page.read_text()
    run = str(next(out.rglob("results.json")).parent)
    again = ["--output_path", str(tmp_path / "again"), "--include_path", str(tmp_path)]
    assert main(["score", run, *again]) == 0
    assert stored(tmp_path / "again")["selftest"] == results["selftest"]
    board = tmp_path / "board.yaml"
    board.write_text(
        f"models: [{{model: dummy, selftest: {file}}}, {{model: dummy, model_args: {{answer: B}}}}]\n"
    )
    assert main(["run", "-C", str(board), *flags, "-o", str(tmp_path / "set")]) == 0
    cites = [
        "selftest" in json.loads(each.read_text())
        for each in sorted((tmp_path / "set").rglob("results.json"))
    ]
    assert sorted(cites) == [False, True]


def test_a_wrong_file_is_refused_before_anything_is_asked(
    tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "tested.json", {"answer": "B"}, "dummy")
    flags = ["run", "-M", "dummy", "-t", task, "-c", str(tmp_path / "cache"), "--selftest", file]
    for more in ([], ["--dry_run"]):
        assert main([*flags, *more]) == 2
        assert 'it is of another model: answer "B" there, "A" here' in capsys.readouterr().err
    with pytest.raises(MarathonError, match="another model"):
        simple_evaluate("dummy", [task], selftest=Path(file), use_cache=tmp_path / "cache")
    assert main([*flags, "-a", "answer=B"]) == 0


def test_a_run_without_the_flag_says_nothing_of_it(tmp_path: Path, task: str) -> None:
    assert (
        main(["run", "-M", "dummy", "-t", task, "-c", str(tmp_path / "c"), "-o", str(tmp_path / "out")]) == 0
    )
    assert "selftest" not in (next((tmp_path / "out").rglob("results.json"))).read_text()
    main(["report", str(tmp_path / "out"), "--output_path", str(tmp_path / "page.html")])
    assert "self-test" not in (tmp_path / "page.html").read_text()
    assert parsed(tmp_path / "out").tasks()
