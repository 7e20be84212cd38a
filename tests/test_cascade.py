"""models/cascade.py and models/embedder.py: who is asked what, how often, and what the reader gets to see."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from conftest import MakeWav

from marathon_eval.audio import Audio
from marathon_eval.cache import ResponseCache
from marathon_eval.choices import laid_out
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.model import Generation, Request, Response
from marathon_eval.models import embedder
from marathon_eval.models.cascade import Cascade
from marathon_eval.models.embedder import Embedder, stretches_of
from marathon_eval.reading import composed, taken_apart

#: A listener that knows what is said from a file beside the sound, and notes each time that it is asked.
TYPIST = '''
"""A listener for tests: writes down the text beside the audio."""
from pathlib import Path
from marathon_eval.model import Model, ModelSettings, Response, Usage


class Settings(ModelSettings):
    log: str = ""
    finish: str = "stop"
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
            yield request, Response(text, self.settings.finish, usage=usage)
'''
STORY = "The cat sat on a red mat. The dog slept under the old tree. A bird sang near the river."
QUESTION = "Where did the dog sleep?"
OPTIONS = ("on a red mat", "under the old tree", "near the river", "in the house")


def question(layout: Any = "A.") -> str:
    return f"You listen.\n\nQuestion: {QUESTION}\nOptions:\n{laid_out(OPTIONS, layout)}\n\nThe letter only."


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


def run(cascade: Cascade, requests: list[Request], cache: ResponseCache | None = None) -> dict[str, Response]:
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
    assert heard == listening.settings.listen_prompt, "the listener must not see the question"


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


# -- the prompt, apart again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["A.", "A)", "A:", "(A)", "a.", "a)", "(a)"])
def test_options_are_found_in_every_lettered_layout(layout: str) -> None:
    parts = taken_apart(composed(STORY, question(layout)))
    assert tuple(parts.options.values()) == OPTIONS
    assert "".join(parts.options) == ("abcd" if "a" in layout else "ABCD")
    assert parts.question == QUESTION


def test_a_transcript_cannot_pass_for_the_question() -> None:
    story = f"A. said the first.\nB. said the second.\n(end of what was said)\n\n{STORY}"
    parts = taken_apart(composed(story, question()))
    assert parts.transcript == story
    assert tuple(parts.options.values()) == OPTIONS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (composed(STORY, "Is the voice male or female? Reply with 'a' or 'b'."), "no lines of options"),
        (composed(STORY, "Which?\nA. only one"), "no lines of options"),
        (question(), "holds no transcript"),
    ],
)
def test_nothing_is_chosen_where_there_is_no_choice(text: str, message: str) -> None:
    with pytest.raises(RowError, match=message):
        taken_apart(text)
    [(_, response)] = Embedder.from_args({"pretrained": "./nowhere"}).generate([Request(text)])
    assert response.status == "error"
    assert message in str(response.error)


# -- the embedder -----------------------------------------------------------------------------------------------


def test_stretches_are_sentences_and_their_neighbours() -> None:
    assert stretches_of("One. Two? Three!", 2) == ["One.", "Two?", "Three!", "One. Two?", "Two? Three!"]
    assert stretches_of("  ", 2) == []
    assert stretches_of("no full stop", 3) == ["no full stop"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An E5-like checkpoint with random weights: near enough to a bag of words to find a sentence again."""
    from marathon_eval.hf import hide_broken_torchvision

    hide_broken_torchvision()
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("e5")
    words = sorted(
        set(
            f"{STORY} {QUESTION} {' '.join(OPTIONS)} query passage".lower()
            .replace(".", " ")
            .replace("?", " ")
            .split()
        )
    )
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", ".", "?", ":", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_embedder_picks_the_option_that_the_transcript_holds(checkpoint: Path) -> None:
    model = Embedder.from_args({"pretrained": str(checkpoint), "device": "cpu"})
    requests = [Request(composed(STORY, question())), Request(composed("", question()))]
    found = [response for _, response in model.generate(requests)]
    assert found[0].text == "B"
    assert set(found[0].usage.details["cosine"]) == set("ABCD")
    assert (found[1].text, found[1].status) == ("", "ok"), "nothing heard is nothing answered"


def test_cascade_reads_with_the_embedder(typist: str, clip: Audio, checkpoint: Path) -> None:
    args = {
        "listener": typist,
        "reader": "embedder",
        "reader_pretrained": str(checkpoint),
        "reader_device": "cpu",
    }
    answers = run(
        Cascade.from_args(args), [Request(question("a)"), (clip,)), Request("Who speaks?", (clip,))]
    )
    assert answers[question("a)")].text == "b"
    assert "no lines of options" in str(answers["Who speaks?"].error)


def test_embedder_is_told_apart_by_its_weights(checkpoint: Path, tmp_path: Path) -> None:
    import shutil

    copied = tmp_path / checkpoint.name
    shutil.copytree(checkpoint, copied)
    known = Embedder.from_args({"pretrained": str(checkpoint)}).fingerprint
    assert Embedder.from_args({"pretrained": str(copied), "device": "cpu"}).fingerprint == known
    assert Embedder.from_args({"pretrained": str(copied), "sentences": 1}).fingerprint != known
    (copied / "config.json").write_text((copied / "config.json").read_text() + " ")
    assert Embedder.from_args({"pretrained": str(copied)}).fingerprint != known


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "PACKAGE", "no-such-package")
    with pytest.raises(MarathonError, match="needs the package no-such-package"):
        _ = Embedder.from_args({}).fingerprint
