"""A sound that is replaced while the model answers gives an error row; nothing is stored under the earlier sound's hash."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from conftest import MakeWav
from helpers.filled_cache import keys
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import CachedResponse, Model, Request, Response
from marathon_eval.cache import heard_files
from marathon_eval.cache.answers import FILE_NAME, ResponseCache


class Listening(Model):
    """Does something before each answer, which is the length of what it hears."""

    act: Callable[[Request], None]

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        for request in requests:
            self.act(request)
            yield request, Response(str(len(request.audios[0].samples(8000))))


def answered(folder: Path, paths: Sequence[Path], act: Callable[[Request], None]) -> list[CachedResponse]:
    model = Listening.from_args({})
    model.act = act  # type: ignore[attr-defined]
    requests = [Request(f"question {number}", (Audio(str(path)),)) for number, path in enumerate(paths)]
    with ResponseCache(folder) as cache:
        facts, _ = cache.facts(audio for request in requests for audio in request.audios)
        found = list(cache.answer(model, requests, known=facts))
    return sorted(found, key=lambda one: one.request.prompt)


@pytest.mark.parametrize("how", ["renamed", "in place"])
def test_a_replaced_sound_is_an_error_row_and_not_stored(tmp_path: Path, make_wav: MakeWav, how: str) -> None:
    first, second, other = make_wav("1.wav", 1.0), make_wav("2.wav", 1.0), make_wav("other.wav", 2.0)

    def swap(request: Request) -> None:
        if request.prompt == "question 1" and how == "renamed":
            shutil.copy(other, tmp_path / "fresh")
            (tmp_path / "fresh").replace(second)
        elif request.prompt == "question 1":
            second.write_bytes(other.read_bytes())

    paths = [first, second, second]
    found = answered(tmp_path / "c", paths, swap)
    assert [one.response.status == "error" for one in found] == [False, True, True]
    assert found[1].response.error == (
        f"{second}: was replaced during the run, after it was hashed; run again to ask about the new sound"
    )
    assert len(keys(tmp_path / "c" / FILE_NAME, "response/")) == 1
    again = answered(tmp_path / "c", paths, lambda request: None)
    assert [(one.cached, one.response.text) for one in again] == [
        (True, "8000"),
        (False, "16000"),
        (False, "16000"),
    ]


def test_a_sound_that_is_written_again_is_the_same(tmp_path: Path, make_wav: MakeWav) -> None:
    path = make_wav()
    content = path.read_bytes()
    found = answered(tmp_path / "c", [path, path], lambda request: (path.write_bytes(content), None)[1])
    assert [one.response.error for one in found] == [None, None]


def test_stored_answers_look_at_no_file_again(
    tmp_path: Path, make_wav: MakeWav, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [make_wav("1.wav"), make_wav("2.wav")]
    looked: list[str] = []
    real = heard_files.HeardFiles.change
    monkeypatch.setattr(
        heard_files.HeardFiles,
        "change",
        lambda self, audios, *rest: (looked.extend(one.path for one in audios), real(self, audios, *rest))[1],
    )
    answered(tmp_path / "c", paths, lambda request: None)
    assert looked == [str(path) for path in paths]
    assert all(one.cached for one in answered(tmp_path / "c", paths, lambda request: None))
    assert len(looked) == 2
