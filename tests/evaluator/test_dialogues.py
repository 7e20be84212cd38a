"""Tests doc_to_messages: turns with sound and with the model's own answers, asked, cached, shown, scored and refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.api_server import FakeServer
from helpers.minimal_task import docs_of, make_task, write_task
from marathon_eval.api.model import Request, Response
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.evaluator.doc_requests import DialoguePlan
from marathon_eval.results.files import newest_run, read_results, read_samples

READINGS = """filter_list:
  - {name: first, turn: 1, filter: [{function: take_first}]}
  - {name: second, turn: last, filter: [{function: take_first}]}
metric_list: [{metric: exact_match}]
"""
KEYS = (
    """doc_to_messages:
  - "<audio> {{ one }}"
  - "You said {{ answers[0] }}. <audio> {{ two }}"
doc_to_target: "{{ [a, b] }}"
doc_to_audio: path
generation_kwargs: {max_new_tokens: 4}
"""
    + READINGS
)
ECHO = """
import os, signal
from marathon_eval.api.model import Model, ModelSettings, Response

class Echo(Model):
    Settings = ModelSettings
    takes_turns = places_clips = True

    def generate(self, requests):
        for request in requests:
            if request.earlier and os.environ.get("KILLED"):
                os.kill(os.getpid(), signal.SIGKILL)
            with open(os.environ["ASKED"], "a") as file:
                print(len(request.earlier), len(request.audios), file=file)
            yield request, Response(f"{len(request.audios)} {request.prompt[-4:]}")
"""


def rows(count: int = 2) -> list[dict[str, Any]]:
    return [
        {"one": f"q{n}?", "two": f"r{n}?", "a": f"1  q{n}?", "b": "wrong", "path": ["0.wav", f"{n}.wav"]}
        for n in range(count)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", np.full(16000, 0.1 * (number + 1)), 16000)
    (tmp_path / "echo.py").write_text(ECHO)
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    return tmp_path


def flags_of(folder: Path, task: Path, model: str = "echo.py") -> list[str]:
    flags = f"--tasks {task} --data_dir {folder} --use_cache {folder / 'cache'} -o {folder / 'out'}".split()
    return ["run", "--model", str(folder / model) if model.endswith(".py") else model, *flags]


def samples(folder: Path) -> list[dict[str, Any]]:
    return list(read_samples(newest_run(folder / "out"), "own"))


def asked(folder: Path) -> list[str]:
    """Return `earlier turns, clips` of each request that the model got."""
    return (folder / "asked").read_text().splitlines()


def test_each_turn_is_asked_with_the_answers_before_it_and_scored(folder: Path) -> None:
    task = write_task(folder, KEYS, rows())
    assert main(flags_of(folder, task)) == 0
    assert asked(folder) == ["0 1", "0 1", "2 2", "2 2"], "all first turns, then all second ones"
    first, _ = samples(folder)
    assert first["response"] == ["1  q0?", "2  r0?"]
    assert [clip["path"].rpartition("/")[2] for clip in first["audio"]] == ["0.wav", "0.wav"]
    assert {name: reading["scores"]["exact_match"] for name, reading in first["readings"].items()} == {
        "first": 1.0,
        "second": 0.0,
    }
    results = read_results(newest_run(folder / "out"))
    assert results["cache"] == {"hits": 0, "misses": 4}
    assert results["manifests"]["own"]["generation"]["repeats"] == 1
    assert main(flags_of(folder, task)) == 0
    assert read_results(newest_run(folder / "out"))["cache"] == {"hits": 4, "misses": 0}
    assert len(asked(folder)) == 4


def test_a_run_killed_between_turns_asks_the_later_turns_alone(folder: Path) -> None:
    task = write_task(folder, KEYS, rows())
    command = [sys.executable, "-m", "marathon_eval", *flags_of(folder, task)]
    killed = subprocess.run(command, env={**os.environ, "KILLED": "1"}, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert asked(folder) == ["0 1", "0 1"]
    assert main(flags_of(folder, task)) == 0
    assert asked(folder)[2:] == ["2 2", "2 2"]
    assert [sample["status"] for sample in samples(folder)] == ["ok", "ok"]


def test_a_run_interrupted_between_turns_scores_no_half_dialogue(folder: Path) -> None:
    (folder / "echo.py").write_text(
        ECHO.replace("os.kill(os.getpid(), signal.SIGKILL)", "raise KeyboardInterrupt")
    )
    task = write_task(folder, KEYS, rows())
    os.environ["KILLED"] = "1"
    try:
        assert main(flags_of(folder, task)) == 130
    finally:
        del os.environ["KILLED"]
    assert {(sample["status"], sample["error"]) for sample in samples(folder)} == {
        ("error", "not asked: interrupted")
    }


def test_another_earlier_answer_is_another_key(folder: Path) -> None:
    task = write_task(folder, KEYS, rows(1))
    for answer, misses in (("A", 2), ("B", 2), ("A", 0)):
        flags = [*flags_of(folder, task, "dummy"), "--model_args", f"answer={answer}"]
        assert main(flags) == 0
        assert read_results(newest_run(folder / "out"))["cache"]["misses"] == misses


def test_two_turns_through_nano(folder: Path) -> None:
    task = write_task(folder, KEYS, rows(1))
    flags = [*flags_of(folder, task, "qwen_omni"), "--model_args", "pretrained=nano,device=cpu"]
    assert main(flags) == 0
    (sample,) = samples(folder)
    assert (sample["status"], len(sample["response"])) == ("ok", 2)
    assert sample["usage"]["heard_seconds"] == pytest.approx(1.5), "1 s in the first turn, 2 s in the second"
    assert main(flags) == 0
    assert read_results(newest_run(folder / "out"))["cache"] == {"hits": 2, "misses": 0}


def test_two_turns_through_an_openai_like_server(folder: Path) -> None:
    task = write_task(folder, KEYS, rows(1))
    with FakeServer(answer="cats") as server:
        args = f"model=m,base_url={server.url}/v1,audio_tokens_per_second=25"
        assert main([*flags_of(folder, task, "openai_audio"), "--model_args", args]) == 0
        first, second = (call.body["messages"] for call in server.calls)
    assert [message["role"] for message in second] == ["user", "assistant", "user"]
    assert second[:1] == first
    assert second[1] == {"role": "assistant", "content": "cats"}
    kinds = [part["type"] for part in second[2]["content"]]
    assert kinds == ["text", "input_audio", "text"]
    assert second[2]["content"][0]["text"] == "You said cats. "
    (sample,) = samples(folder)
    assert sample["response"] == ["cats", "cats"]


def test_two_turns_through_a_gemini_like_server(folder: Path) -> None:
    task = write_task(folder, KEYS, rows(1))
    with FakeServer(rate=32, split=True, answer="cats") as server:
        args = f"model=gemini-2.5-flash,base_url={server.url},audio_tokens_per_second=32"
        assert main([*flags_of(folder, task, "gemini"), "--model_args", args]) == 0
        first, second = (call.body["contents"] for call in server.calls)
    assert [content["role"] for content in second] == ["user", "model", "user"]
    assert second[0]["parts"] == first[0]["parts"]
    assert second[1]["parts"] == [{"text": "cats"}]
    assert [*map(list, second[2]["parts"])] == [["text"], ["inlineData"], ["text"]]


def test_turns_may_stand_in_a_column_or_a_template(folder: Path) -> None:
    column = "doc_to_messages: turns\ndoc_to_target: a\n" + READINGS
    turns = [
        {"role": "user", "content": "{{ x }}"},
        {"role": "assistant", "content": "given"},
        "asked?",
        "and?",
    ]
    task = make_task(folder, column, [{"turns": turns, "a": ["x", "y"]}])
    (doc,) = task.docs().docs
    request = task.next_turn(doc, ["one"])
    assert request is not None
    assert [*request.earlier, request.prompt] == [
        ("user", "{{ x }}"),
        ("assistant", "given"),
        ("user", "asked?"),
        ("assistant", "one"),
        "and?",
    ]
    assert task.next_turn(doc, ["one", "two"]) is None
    template = """doc_to_messages: "{{ [q, 'not ' ~ answers[0]] + (['why?'] if answers[1] == 'no' else []) }}"
doc_to_target: a
"""
    task = make_task(folder, template + READINGS, [{"q": "first?", "a": "x"}])
    (doc,) = task.docs().docs
    prompts = [task.next_turn(doc, answers) for answers in ([], ["A"], ["A", "no"], ["A", "yes"])]
    assert [request and request.prompt for request in prompts] == ["first?", "not A", "why?", None]


def test_the_whole_dialogue_is_shown_with_its_cached_answers(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_task(folder, KEYS, rows(1))
    assert main(flags_of(folder, task)) == 0
    capsys.readouterr()
    where = ["--data_dir", str(folder), "--use_cache", str(folder / "cache")]
    assert main(["show", str(task), "0", *where]) == 0
    shown = capsys.readouterr().out
    for line in ("  | [assistant]", "  | {{ answers[0] }}", "  | You said {{ answers[0] }}. <audio> r0?"):
        assert line in shown
    assert "answers  2 in the cache" in shown
    assert "turn 1: '1  q0?'" in shown
    assert "turn 2: '2  r0?'" in shown


def test_no_audio_takes_the_clips_out_of_every_turn(folder: Path) -> None:
    task = write_task(folder, KEYS.replace("two }}", "two }}!"), rows(1))
    assert main([*flags_of(folder, task), "--no_audio", "none"]) == 0
    assert asked(folder) == ["0 0", "2 0"]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (KEYS + "num_fewshot: 1\n", "num_fewshot: does not go with doc_to_messages"),
        (KEYS + "doc_to_text: one\n", "give one of the two"),
        (KEYS + "gen_prefix: Answer\n", "gen_prefix: does not go"),
        (KEYS.replace("turn: 1, ", ""), "filter_list: 'first': add `turn: 1`"),
        (KEYS.replace("turn: 1,", "turn: 0,"), "turn: must be 1, 2, ... or last, got 0"),
        ("doc_to_text: one\ndoc_to_target: a\n" + READINGS, "`turn` is for tasks with doc_to_messages"),
        (
            KEYS.replace('  - "<audio> {{ one', '  - {role: assistant, content: x}\n  - "<audio> {{ one'),
            "first turn",
        ),
        (KEYS.replace("{{ two }}", "{{ three }}"), "no row has 'three'"),
        ("doc_to_messages: what is it?\ndoc_to_target: a\n" + READINGS, "must be a list of turns"),
    ],
)
def test_what_does_not_go_with_turns_is_refused(folder: Path, keys: str, said: str) -> None:
    with pytest.raises(MarathonError, match=said.replace("`", ".").replace("(", ".")):
        docs_of(folder, keys, rows())


def test_rows_that_cannot_be_dialogues_are_error_rows(folder: Path) -> None:
    task = make_task(folder, KEYS, [{**rows(1)[0], "path": ["0.wav"]}])
    with pytest.raises(RowError, match="the turns have <audio> 2 times for 1 clips"):
        task.requests(task.docs(str(folder)).docs[0])
    task = make_task(folder, KEYS.replace("[a, b]", "[a, b, a]"), rows(1))
    with pytest.raises(RowError, match="gives 3 right answers for 2 turns"):
        task.requests(task.docs(str(folder)).docs[0])


def test_a_turn_that_cannot_be_built_is_an_error_row(folder: Path) -> None:
    keys = KEYS.replace("{{ answers[0] }}", "{{ 1 // (answers[0] | length - 6) }}")
    task = write_task(folder, keys, rows(1))
    assert main(flags_of(folder, task)) == 3
    (sample,) = samples(folder)
    assert sample["status"] == "error"
    assert "the template fails on this row" in sample["error"]


def test_models_verbs_and_windows_that_take_no_turns_say_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_task(folder, KEYS, rows())
    (folder / "deaf.py").write_text(ECHO.replace("takes_turns = ", "").replace("Echo", "Deaf"))
    predictions = folder / "predictions.jsonl"
    predictions.write_text(json.dumps({"doc_id": 0, "prediction": "A"}))
    refused = [
        (flags_of(folder, task, "deaf.py"), "takes one question at a time: own has doc_to_messages"),
        (
            ["sweep", *flags_of(folder, task, "dummy")[1:], "--presses", "none"],
            "a sweep cannot run dialogues",
        ),
        (
            ["score", "--predictions", str(predictions), "--tasks", str(task)],
            "a predictions file has one answer a row",
        ),
    ]
    for command, said in refused:
        assert main(command) == 2
        assert said in capsys.readouterr().err
    assert main([*flags_of(folder, task), "--long_audio", "window:seconds=1,combine=vote"]) == 3
    assert {sample["error"] for sample in samples(folder)} == {
        f"row {n}: its clips last 2 s, and long_audio cuts no clips of a dialogue" for n in range(2)
    }


def test_a_finished_run_is_scored_again_and_another_wording_is_another_prompt(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_task(folder, KEYS, rows())
    assert main(flags_of(folder, task)) == 0
    again = [
        "score",
        str(newest_run(folder / "out")),
        "--data_dir",
        str(folder),
        "--include_path",
        str(folder),
    ]
    assert main(again) == 0
    write_task(folder, KEYS.replace("You said", "You told me"), rows())
    capsys.readouterr()
    assert main(again) == 2
    assert "another prompt: rows 0, 1" in capsys.readouterr().err


def test_a_later_turn_that_cannot_be_built_is_lacking_too() -> None:
    def fails(answers: Sequence[str]) -> Request:
        raise RowError("no such answer")

    plan = DialoguePlan(fails, Request("x"))
    assert plan.lacks_turns([Response("A")])
    assert not plan.lacks_turns([Response("A"), Response.failed("gone")])
