"""Tests models/cascade.py and models/embedder.py: the requests to each stage and the reader's prompt."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from conftest import MakeWav
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Model, Request, Response
from marathon_eval.api.registry import Registry
from marathon_eval.backends.transcript_prompt import composed, taken_apart
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import build_model
from marathon_eval.models.cascade import LISTEN_PROMPT, Cascade
from marathon_eval.task.prompt.choices import option_lines

#: A listener that knows what is said from a file beside the sound, and notes each time that it is asked.
TYPIST = '''
"""A listener for tests: writes down the text beside the audio."""
from pathlib import Path
from marathon_eval.api.model import Model, ModelSettings, Response, Usage


class Settings(ModelSettings):
    log: str = ""
    finish: str = "stop"
    status: str = "ok"
    timeout: float = 1.0


class Typist(Model):
    Settings = Settings

    def generate(self, requests):
        for request in requests:
            path = Path(request.audios[0].path)
            with open(path.parent / "asked.log", "a") as log:
                log.write(f"{path.name}: {request.prompt}\\n")
            if not path.with_suffix(".txt").exists():
                yield request, Response.failed("nobody told me")
                continue
            usage = Usage(heard_seconds=request.audios[0].seconds, details={"typed": True})
            text = path.with_suffix(".txt").read_text()
            yield request, Response(text, self.settings.finish, self.settings.status, usage=usage)
'''
STORY = "The cat sat on a red mat. The dog slept under the old tree. A bird sang near the river."
QUESTION = "Where did the dog sleep?"
OPTIONS = ("on a red mat", "under the old tree", "near the river", "in the house")


def question(layout: Any = "A.") -> str:
    return (
        f"You listen.\n\nQuestion: {QUESTION}\nOptions:\n{option_lines(OPTIONS, layout)}\n\nThe letter only."
    )


@pytest.fixture
def typist(tmp_path: Path) -> str:
    path = tmp_path / "typist.py"
    path.write_text(TYPIST, encoding="utf-8")
    return str(path)


@pytest.fixture
def clip(make_wav: MakeWav) -> Audio:
    path = make_wav("story.wav", seconds=3)
    path.with_suffix(".txt").write_text(STORY, encoding="utf-8")
    return Audio(str(path))


def asked(clip: Audio) -> list[str]:
    log = Path(clip.path).parent / "asked.log"
    return log.read_text(encoding="utf-8").splitlines() if log.exists() else []


def run(cascade: Model, requests: list[Request], cache: ResponseCache | None = None) -> dict[str, Response]:
    cascade.cache = cache
    return {request.prompt: response for request, response in cascade.generate(requests)}


# -- two stages, each cached ------------------------------------------------------------------------------------


def test_four_questions_are_heard_once_and_another_reader_hears_nothing(
    tmp_path: Path, typist: str, clip: Audio
) -> None:
    requests = [Request(f"{question()} ({n})", (clip,)) for n in range(4)]
    with ResponseCache(tmp_path / "answers") as cache:
        first = run(Cascade.from_args({"listener": typist, "reader": "dummy"}), requests, cache)
        assert [response.text for response in first.values()] == ["A"] * 4
        assert len(asked(clip)) == 1
        run(Cascade.from_args({"listener": typist, "reader": "dummy", "reader_answer": "B"}), requests, cache)
        assert len(asked(clip)) == 1
        other = {"listener": typist, "reader": "dummy", "listen_prompt": "Describe the sounds."}
        run(Cascade.from_args(other), requests, cache)
    assert [line.partition(": ")[2] for line in asked(clip)][1:] == ["Describe the sounds."]


def test_a_process_without_the_file_is_told_what_was_heard_and_read(
    tmp_path: Path, typist: str, clip: Audio
) -> None:
    requests = [Request(question(), (clip,)), Request("silent")]
    with ResponseCache(tmp_path / "answers") as cache:
        cascade = Cascade.from_args({"listener": typist, "reader": "dummy"})
        assert cascade.memo(requests) == {}
        first = run(cascade, requests, cache)
        known = cascade.memo(requests)
    assert {value["response"]["text"] for value in known.values()} == {STORY, "A"}
    other = ResponseCache(None)
    other.prime(known)
    assert run(Cascade.from_args({"listener": typist, "reader": "dummy"}), requests, other) == first
    assert len(asked(clip)) == 1


def test_works_without_an_evaluator(typist: str, clip: Audio) -> None:
    requests = [Request(f"{question()} ({n})", (clip,)) for n in range(3)]
    run(Cascade.from_args({"listener": typist, "reader": "dummy"}), requests)
    assert len(asked(clip)) == 1


def test_the_reader_sees_transcript_and_prompt_and_no_sound(typist: str, clip: Audio) -> None:
    cascade = Cascade.from_args({"listener": typist, "reader": "dummy", "reader_mode": "echo"})
    request = Request(question(), (clip,), Generation(max_new_tokens=3), system="Be brief.")
    response = run(cascade, [request])[question()]
    assert response.text == composed(STORY, question())
    assert taken_apart(response.text).transcript == STORY
    listening = Cascade.from_args(
        {"listener": "dummy", "listener_mode": "echo", "reader": "dummy", "reader_mode": "echo"}
    )
    heard = run(listening, [request])[question()].usage.details["transcript"]
    assert heard == LISTEN_PROMPT, "the listener must not see the question"


def test_usage_tells_what_was_heard_and_read(typist: str, clip: Audio) -> None:
    response = run(Cascade.from_args({"listener": typist, "reader": "dummy"}), [Request("q", (clip,))])["q"]
    assert response.usage.heard_seconds == 3.0
    assert response.usage.details["transcript"] == STORY
    assert response.usage.details["listener"] == {"typed": True}


def test_failures_of_each_stage_are_error_rows(typist: str, clip: Audio, make_wav: MakeWav) -> None:
    unknown = Audio(str(make_wav("unknown.wav", hz=100)))
    cascade = Cascade.from_args({"listener": typist, "reader": "dummy", "reader_fail_at": 1})
    answers = run(cascade, [Request("heard", (clip,)), Request("unheard", (unknown,)), Request("silent")])
    assert {prompt: (r.status, r.error) for prompt, r in answers.items()} == {
        "heard": ("error", "dummy failed at request 1, as told"),
        "unheard": ("error", "listener: nobody told me"),
        "silent": ("error", "nothing to listen to: the request has no audio"),
    }


def test_a_cut_transcript_is_not_read(typist: str, clip: Audio) -> None:
    cascade = Cascade.from_args({"listener": typist, "listener_finish": "length", "reader": "dummy"})
    response = run(cascade, [Request("q", (clip,))])["q"]
    assert response.status == "error"
    assert "cut at listen_max_new_tokens" in str(response.error)


def test_an_answer_is_no_surer_than_its_hearing(typist: str, clip: Audio) -> None:
    args = {"listener": typist, "listener_status": "unverified", "reader": "dummy"}
    assert run(Cascade.from_args(args), [Request("q", (clip,))])["q"].status == "unverified"


# -- arguments and fingerprint ----------------------------------------------------------------------------------


def test_fingerprint_holds_both_stages_without_their_transport(typist: str) -> None:
    plain = {"listener": typist, "reader": "dummy"}
    known = Cascade.from_args(plain).fingerprint
    assert known["listener"]["model"] == "typist"
    for same in ({"listener_timeout": 9.0}, {"reader_sleep": 1.0}):
        assert Cascade.from_args({**plain, **same}).fingerprint == known
    for change in (
        {"listener_log": "x"},
        {"reader_answer": "B"},
        {"listen_prompt": "x"},
        {"listen_max_new_tokens": 5},
    ):
        assert Cascade.from_args({**plain, **change}).fingerprint != known


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "listener: Field required"),
        ({"listener": "dumy"}, "listener=dumy: --model: no model 'dumy'. Did you mean dummy"),
        (
            {"listener": "dummy", "listener_anser": "x"},
            "listener=dummy: .*takes no 'anser'. Did you mean answer",
        ),
        ({"listener": "dummy", "reader": "dummy", "redaer_answer": "x"}, "cascade takes no 'redaer_answer'"),
        ({"listener": "dummy", "reader": "dummy", "listener_ratio": 0.5}, "ratio=0.5 without press"),
        ({"listener": "dummy", "device": "cpu"}, "listener=dummy: .*takes no 'device'"),
        ({"listener": "dummy", "reader": "openai"}, "reader=openai: .*model"),
    ],
)
def test_wrong_arguments_name_their_stage(args: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=message):
        Cascade.from_args(args)


def test_both_stages_are_found_in_the_folders_of_include_path(tmp_path: Path, clip: Audio) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "typist.py").write_text(TYPIST)
    args = {"listener": "typist", "reader": "dummy", "reader_mode": "echo"}
    with pytest.raises(MarathonError, match="listener=typist: --model: no model 'typist'"):
        build_model(Registry(), "cascade", args)
    cascade = build_model(Registry([str(tmp_path)]), "cascade", args)
    assert run(cascade, [Request("q", (clip,))])["q"].text == composed(STORY, "q")
    with pytest.raises(MarathonError, match="reader=typist: .*takes no 'mode'"):
        build_model(Registry([str(tmp_path)]), "cascade", {**args, "reader": "typist"})


# -- a reader behind HTTP ---------------------------------------------------------------------------------------


class _Server(BaseHTTPRequestHandler):
    bodies: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        message = {"role": "assistant", "content": "B"}
        reply = {
            "id": "1", "object": "chat.completion", "created": 0, "model": "tiny",
            "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8},
        }  # fmt: skip
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Quiet."""


@pytest.fixture
def server() -> Iterator[str]:
    _Server.bodies = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Server) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/v1"
        running.shutdown()
        thread.join()


def test_reader_openai_gets_text_only(typist: str, clip: Audio, server: str) -> None:
    args = {"listener": typist, "reader": "openai", "reader_model": "tiny", "reader_base_url": server}
    cascade = Cascade.from_args({**args, "reader_stream": False})
    response = run(cascade, [Request(question(), (clip,), Generation(max_new_tokens=5))])[question()]
    assert (response.text, response.status) == ("B", "ok")
    assert response.usage.heard_seconds == 3.0
    assert response.usage.input_tokens == 7
    [body] = _Server.bodies
    assert body["messages"] == [{"role": "user", "content": composed(STORY, question())}]
