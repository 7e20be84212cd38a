"""Tests that the cache keeps one response per rendered request and fingerprint, and neither loses nor mixes any."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.filled_cache import Said, fill
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Model, ModelSettings, Request, Response, Usage
from marathon_eval.cache import opening
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.entries import faults
from marathon_eval.cache.keys import to_be_sent
from marathon_eval.errors import MarathonError
from marathon_eval.files import canonical_json


class Echo(Model):
    """Answers with the prompt; counts what it is asked."""

    class Settings(ModelSettings):
        dtype: str = "bf16"
        timeout: int = 1

    def __init__(self, settings, press=None) -> None:
        super().__init__(settings, press)
        self.asked: list[Request] = []
        self.broken: set[str] = set()

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for request in requests:
            self.asked.append(request)
            if request.prompt in self.broken:
                raise ValueError("no such sample")
            yield request, Response(request.prompt.upper())


def echo(**settings) -> Echo:
    model = Echo.from_args(settings)
    assert isinstance(model, Echo)
    return model


def ask(folder: Path | None, model: Model, requests: Sequence[Request]) -> dict[str, tuple[str, bool]]:
    with ResponseCache(folder) as cache:
        return {a.request.prompt: (a.response.text, a.cached) for a in cache.answer(model, requests)}


@pytest.fixture
def request_on_audio(make_wav) -> Request:
    return Request("what?", (Audio(str(make_wav())),), Generation())


def test_second_time_is_a_hit(tmp_path: Path, request_on_audio: Request) -> None:
    model = echo()
    assert ask(tmp_path, model, [request_on_audio]) == {"what?": ("WHAT?", False)}
    assert ask(tmp_path, model, [request_on_audio]) == {"what?": ("WHAT?", True)}
    assert len(model.asked) == 1


def test_equal_requests_are_asked_once(tmp_path: Path, request_on_audio: Request) -> None:
    model = echo()
    ask(tmp_path, model, [request_on_audio, replace(request_on_audio)])
    assert len(model.asked) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "who?"},
        {"system": "be brief"},
        {"generation": Generation(max_new_tokens=5)},
        {"generation": Generation(stop=("\n",))},
        {"audios": ()},
    ],
)
def test_whatever_changes_the_answer_is_a_miss(
    tmp_path: Path, request_on_audio: Request, change: dict
) -> None:
    model = echo()
    ask(tmp_path, model, [request_on_audio])
    ask(tmp_path, model, [replace(request_on_audio, **change)])
    assert len(model.asked) == 2


def test_settings_are_in_the_key_and_transport_is_not(tmp_path: Path, request_on_audio: Request) -> None:
    ask(tmp_path, echo(), [request_on_audio])
    assert ask(tmp_path, echo(timeout=9), [request_on_audio])["what?"][1]
    assert not ask(tmp_path, echo(dtype="fp32"), [request_on_audio])["what?"][1]


def test_other_bytes_at_the_same_path_are_a_miss(tmp_path: Path, request_on_audio: Request, make_wav) -> None:
    ask(tmp_path, echo(), [request_on_audio])
    make_wav(hz=880.0)
    assert not ask(tmp_path, echo(), [request_on_audio])["what?"][1]


def test_the_same_sound_elsewhere_is_a_hit(tmp_path: Path, request_on_audio: Request, make_wav) -> None:
    ask(tmp_path, echo(), [request_on_audio])
    moved = make_wav("elsewhere/copy.wav")
    assert ask(tmp_path, echo(), [replace(request_on_audio, audios=(Audio(str(moved)),))])["what?"][1]


def test_audio_is_hashed_once(
    tmp_path: Path, request_on_audio: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tmp_path, echo(), [request_on_audio])
    monkeypatch.setattr(Audio, "facts", lambda self: pytest.fail("decoded again"))
    assert ask(tmp_path, echo(), [request_on_audio])["what?"][1]


def test_copies_of_a_sound_are_asked_once_and_answered_alike(tmp_path: Path, make_wav) -> None:
    first = make_wav("one.wav")
    copies = [first, *(tmp_path / name for name in ("two.wav", "three.wav"))]
    for copy in copies[1:]:
        copy.write_bytes(first.read_bytes())
    model = echo()
    requests = [Request("what?", (Audio(str(path)),), Generation()) for path in copies]
    with ResponseCache(None) as cache:
        given = {item.request: item for item in cache.answer(model, requests)}
    assert [given[request].response.text for request in requests] == ["WHAT?"] * 3
    assert [given[request].cached for request in requests] == [False, True, True]
    assert len(model.asked) == 1
    sampled = [replace(request, generation=Generation(temperature=1.0)) for request in requests]
    with ResponseCache(None) as cache:
        assert len({item.request for item in cache.answer(model, sampled)}) == 3
        assert to_be_sent(cache.keyed("model", requests)[0], {}) == requests[:1], (
            "a dry run counts them so too"
        )
        assert to_be_sent(cache.keyed("model", sampled)[0], {}) == sampled
    assert len(model.asked) == 4, "without a seed each response is another one"


def test_a_response_about_less_than_the_clip_is_an_error_that_is_not_kept(tmp_path: Path, make_wav) -> None:
    path = str(make_wav(seconds=3.0))

    class Short(Model):
        def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
            for request in requests:
                yield request, Response("A", usage=Usage(heard_seconds=float(request.prompt)))

    asked = [Request(heard, (Audio(path),), Generation()) for heard in ("3", "2.9", "1")]
    asked.append(Request("1", (Audio(path, 1.0, 2.0),), Generation()))
    for _ in range(2):
        with ResponseCache(tmp_path / "cache") as cache:
            given = [*cache.answer(Short.from_args({}), asked)]
        found = {item.request: item for item in given}
        assert [found[request].response.status for request in asked] == ["ok", "ok", "error", "ok"]
        assert "its clips last 3.00 s, the model heard 1.00 s" in str(found[asked[2]].response.error)
    assert [found[request].cached for request in asked] == [True, True, False, True]


def test_while_another_process_locks_the_file_answers_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opening, "LOCK_SECONDS", 0.1)
    requests = [Request(str(number)) for number in range(100)]
    with ResponseCache(tmp_path) as cache:
        other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        model = echo()
        assert len([*cache.answer(model, requests)]) == 100
        assert {item.cached for item in cache.answer(model, requests)} == {True}, "they are found in memory"
        other.execute("ROLLBACK")
        other.close()
    assert capsys.readouterr().err.count("is locked by another process") == 1
    assert {cached for _, cached in ask(tmp_path, echo(), requests).values()} == {True}


def test_an_end_while_the_file_is_locked_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LOCK_SECONDS", 0.1)
    cache = ResponseCache(tmp_path)
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert len([*cache.answer(echo(), [Request("1")])]) == 1
    with pytest.raises(MarathonError, match="cannot write the cache .database is locked."):
        cache.close()
    other.close()


def test_missing_audio_fails_its_request_alone(tmp_path: Path, request_on_audio: Request) -> None:
    missing = Request("lost", (Audio(str(tmp_path / "none.wav")),))
    model = echo()
    with ResponseCache(tmp_path) as cache:
        answers = {a.request.prompt: a.response for a in cache.answer(model, [missing, request_on_audio])}
    assert answers["lost"].status == "error"
    assert "no such audio file" in (answers["lost"].error or "")
    assert answers["what?"].text == "WHAT?"


def test_a_raising_model_costs_only_its_bad_sample(tmp_path: Path) -> None:
    model = echo()
    model.broken = {"3"}
    requests = [Request(str(i)) for i in range(6)]
    with ResponseCache(tmp_path) as cache:
        status = {a.request.prompt: a.response.status for a in cache.answer(model, requests)}
    assert status == {**dict.fromkeys("01245", "ok"), "3": "error"}
    model.broken = set()
    assert {prompt for prompt, (_, cached) in ask(tmp_path, model, requests).items() if not cached} == {"3"}


def test_a_model_that_only_raises_is_not_asked_for_ever() -> None:
    model = echo()
    requests = [Request(str(i)) for i in range(50)]
    model.broken = {request.prompt for request in requests}
    with ResponseCache(None) as cache:
        answers = cache.answer(model, requests)
        with pytest.raises(MarathonError, match="10 requests in a row failed .* ValueError: no such sample"):
            list(answers)
    assert len({*model.asked}) == 10
    assert len(model.asked) == 20, "each once among others and once alone"


def test_sampled_answers_are_kept_only_with_a_seed(tmp_path: Path) -> None:
    free = Request("free", generation=Generation(temperature=0.7))
    seeded = Request("seeded", generation=Generation(temperature=0.7, seed=1))
    ask(tmp_path, echo(), [free, seeded])
    again = ask(tmp_path, echo(), [free, seeded])
    assert not again["free"][1]
    assert again["seeded"][1]


def test_what_is_pending_is_on_disk_within_a_second(tmp_path: Path) -> None:
    import time

    cache = ResponseCache(tmp_path)
    cache.put("response/x", {"a": 1})
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with sqlite3.connect(tmp_path / FILE_NAME) as connection:
            if connection.execute("SELECT count(*) FROM entries WHERE key='response/x'").fetchone() == (1,):
                break
        time.sleep(0.05)
    else:
        pytest.fail("not committed by the timer")
    cache.close()


def test_thirty_two_rows_are_committed_at_once(tmp_path: Path) -> None:
    cache = ResponseCache(tmp_path)
    for number in range(32):
        cache.put(f"response/{number}", number)
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        assert connection.execute("SELECT count(*) FROM entries").fetchone() == (32,)
    cache.close()


def test_rows_are_json_and_wal(tmp_path: Path) -> None:
    ask(tmp_path, echo(), [Request("é\n")])
    with sqlite3.connect(tmp_path / FILE_NAME) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        rows = connection.execute("SELECT value FROM entries WHERE key LIKE 'response/%'").fetchall()
    assert '"prompt":"é\\n"' in rows[0][0]


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(MarathonError, match="is damaged .*move it away"):
        ResponseCache(tmp_path)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MarathonError, match="cannot keep a cache here"):
        ResponseCache(tmp_path / "file" / "cache")


def test_canonical_json_does_not_depend_on_order() -> None:
    assert (
        canonical_json({"b": 1, "a": [1.0, None]})
        == canonical_json({"a": [1.0, None], "b": 1})
        == '{"a":[1.0,null],"b":1}'
    )


@pytest.mark.parametrize("said", ["\ud83d\ude00", "\ud83d"])
def test_an_answer_with_halves_of_a_pair_is_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str
) -> None:
    """A server that streams may send one character in two pieces."""
    path = fill(tmp_path, says=said)
    with ResponseCache(tmp_path) as cache:
        requests = [Request("a"), Request("b")]
        assert all(one.cached for one in cache.answer(Said.from_args({"says": said}), requests))
    assert not list(faults(path))
    assert capsys.readouterr().err == ""
