"""Tests runs whose rows are read, asked and scored a portion after the other: their results are those of one portion."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from marathon_eval.api.model import CachedResponse, Model, Request, Response
from marathon_eval.api.results import RunResult
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator import portions
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.progress import LineProgress
from marathon_eval.evaluator.requests import Progress
from marathon_eval.results.compressed_samples import samples_text
from marathon_eval.results.unfinished import partial_rows, unfinished_below
from marathon_eval.task.data import rows

ROWS = 25
#: A row without the question, which cannot be asked.
UNASKED = 7
TASK = """\
dataset_path: json
dataset_kwargs: {data_files: own.jsonl}
doc_to_text: "{{ q }}"
doc_to_target: a
breakdown: kind
"""


def row_of(number: int) -> str:
    question = {} if number == UNASKED else {"q": f"{number} ?"}
    return json.dumps({**question, "a": "ABCD"[number % 4], "kind": f"k{number % 3}"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.yaml").write_text(TASK)
    written = [row_of(number) for number in range(ROWS)]
    text = "\n".join(written[:12]) + "\n\n" + "\r\n".join(written[12:])
    (tmp_path / "own.jsonl").write_bytes(text.encode())
    return tmp_path


@pytest.fixture
def divided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every file a long one, and portions of ten rows."""
    monkeypatch.setattr(rows, "LONG_FILE", 0)
    monkeypatch.setattr(portions, "PORTION_ROWS", 10)


class Asked(Model):
    """Answers with a letter, and remembers what it was asked; presses Ctrl-C at a question if told to."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked: list[int] = []
        self.interrupted_at = -1
        self.closed = 0

    def generate(self, requests: Any) -> Iterator[tuple[Request, Response]]:
        for request in requests:
            number = int(request.prompt.split()[0])
            if number == self.interrupted_at:
                raise KeyboardInterrupt
            self.asked.append(number)
            yield request, Response("ABC"[number % 3])

    def close(self) -> None:
        self.closed += 1


def run(
    folder: Path, model: Model | None = None, kept: str = "kept", progress: Any = None, **more: Any
) -> RunResult:
    config = RunConfig("asked", (str(folder / "own.yaml"),), use_cache=str(folder / kept), **more)
    return evaluate(config, model or Asked.from_args({}), progress)


def lines(result: RunResult) -> str:
    (samples,) = result.samples.values()
    return "".join(samples_text(samples))


def test_portions_give_the_results_of_one(folder: Path, request: pytest.FixtureRequest) -> None:
    whole, part = run(folder, kept="whole"), run(folder, kept="whole", limit=0.5)
    request.getfixturevalue("divided")
    model, again = Asked.from_args({}), Asked.from_args({})
    found = run(folder, model)
    assert lines(found) == lines(whole)
    assert found.tasks == whole.tasks
    assert found.manifests == whole.manifests
    assert found.cache == whole.cache == {"hits": 0, "misses": ROWS - 1}
    assert [set(model.asked[:9]), set(model.asked[9:19])] == [{*range(10)} - {UNASKED}, {*range(10, 20)}]
    assert model.closed == 1
    assert run(folder, again).cache == {"hits": ROWS - 1, "misses": 0}
    assert not again.asked
    assert lines(run(folder, limit=0.5)) == lines(part)
    assert run(folder, limit=0.5).manifests == part.manifests


def test_after_ctrl_c_later_portions_take_what_the_cache_has(folder: Path, divided: None) -> None:
    run(folder, samples={"own": [3, 22]})
    model = Asked.from_args({})
    model.interrupted_at = 14
    found = run(folder, model)
    (samples,) = found.samples.values()
    answered = {sample.doc_id for sample in samples if sample.status == "ok"}
    assert found.interrupted
    assert answered == {*model.asked, 3, 22}
    assert 14 not in answered
    assert samples[24].error == "not asked: interrupted"
    assert len(samples) == ROWS


def test_progress_names_the_portion(folder: Path, divided: None, capsys: pytest.CaptureFixture[str]) -> None:
    run(folder, progress=LineProgress())
    said = capsys.readouterr().err
    assert "part 1 of 3: running 9 requests" in said
    assert "part 3 of 3: 5/5 answers" in said


def test_samples_of_a_run_that_goes_on_are_those_of_all_portions_so_far(folder: Path, divided: None) -> None:
    seen: list[int] = []

    class Look(Progress):
        def advance(self, answered: CachedResponse, seconds: float) -> None:
            going_on = unfinished_below(folder / "out")
            assert going_on is not None
            assert going_on.facts["tasks"]["own"]["n_loaded"] == ROWS
            seen.append(len(partial_rows(going_on.folder, "own")))

    run(folder, progress=Look(), output_path=str(folder / "out"))
    # the row that cannot be asked is there from the beginning
    assert seen == list(range(1, ROWS))


def test_the_line_of_a_long_file_that_cannot_be_read_is_named(folder: Path, divided: None) -> None:
    with (folder / "own.jsonl").open("a") as file:
        file.write('\n{"q": \n')
    with pytest.raises(MarathonError, match=r"own\.jsonl:27: not readable as JSON"):
        run(folder)
    (folder / "own.jsonl").write_bytes(b'{"q": "?"}\n{"q": "\xff"}\n')
    with pytest.raises(MarathonError, match=r"own\.jsonl:2: not UTF-8 text \(byte 0xff\)"):
        run(folder)


def test_a_column_that_no_row_of_a_long_file_has_is_named(folder: Path, divided: None) -> None:
    (folder / "own.yaml").write_text(TASK.replace("{{ q }}", "{{ question }}"))
    with pytest.raises(MarathonError, match="question"):
        run(folder)
