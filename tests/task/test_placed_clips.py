"""Tests `<audio>` in doc_to_text: the clip stands there, also in few-shot examples, for models that can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.minimal_task import load, make_task, write_task
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request
from marathon_eval.backends.hf.chat import placed_parts
from marathon_eval.backends.http.payload import EncodedClip, interleaved
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.models.openai_audio import OpenAIAudio
from marathon_eval.results.files import newest_run, read_samples

PLACED = 'doc_to_text: "First: {{ q }} <audio> Which?"\ndoc_to_target: a\ndoc_to_audio: path\n'
TWO = 'doc_to_text: "<audio> or <audio>: {{ q }}"\ndoc_to_target: a\ndoc_to_audio: path\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", np.full(1600, 0.1 * (number + 1)), 16000)
    return tmp_path


def rows(count: int = 3) -> list[dict[str, Any]]:
    return [{"q": f"q{n}", "a": f"a{n}", "path": f"{n}.wav"} for n in range(count)]


def requests(folder: Path, keys: str, data: Any) -> list[Request]:
    task = make_task(folder, keys, data)
    return [task.requests(doc)[0] for doc in task.docs(str(folder)).docs]


def names(request: Request) -> list[str]:
    return [Path(audio.path).name for audio in request.audios]


def test_the_clip_has_a_place_in_the_prompt(folder: Path) -> None:
    first = requests(folder, PLACED, rows())[0]
    assert (first.prompt, first.placed) == ("First: q0 <audio> Which?", True)
    assert first.parts() == ["First: q0 ", " Which?"]
    (both,) = requests(folder, TWO, [{"q": "?", "a": "x", "path": ["0.wav", "2.wav"]}])
    assert names(both) == ["0.wav", "2.wav"]


def test_a_mark_in_a_row_is_no_place(folder: Path) -> None:
    with pytest.raises(RowError, match=r"<audio> once per clip, .* \(found 2 for 1 clip\)"):
        requests(folder, PLACED, [{"q": "say <audio>", "a": "x", "path": "0.wav"}])
    plain = 'doc_to_text: "{{ q }}"\ndoc_to_target: a\ndoc_to_audio: path\n'
    (request,) = requests(folder, plain, [{"q": "say <audio>", "a": "x", "path": "0.wav"}])
    assert not request.placed, "the task places no clip, so the row's text stays text"


def test_few_shot_examples_have_sound(folder: Path) -> None:
    keys = PLACED + "test_split: test\nnum_fewshot: 2\nfewshot_config: {sampler: first_n}\n"
    last = requests(folder, keys, rows())[2]
    assert names(last) == ["0.wav", "1.wav", "2.wav"]
    assert (
        last.prompt
        == "First: q0 <audio> Which? a0\n\nFirst: q1 <audio> Which? a1\n\nFirst: q2 <audio> Which?"
    )


def test_an_example_without_its_clip_is_an_error_row(folder: Path) -> None:
    (folder / "0.wav").unlink()
    keys = PLACED + "test_split: test\nnum_fewshot: 1\nfewshot_config: {sampler: first_n}\n"
    docs = make_task(folder, keys, rows()).docs(str(folder)).docs
    assert "row 1: an example of it: 0.wav: no such audio file" in str(docs[1].error)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            "doc_to_text: q\ndoc_to_target: a\ndoc_to_audio: path\nnum_fewshot: 1\n",
            "examples with audio need <audio>",
        ),
        (PLACED + "prompt_variants: {dummy: {doc_to_text: q}}\n", "must stand in all forms of the question"),
        (
            PLACED + "num_fewshot: 1\nfewshot_config: {doc_to_text: q}\n",
            "must stand in all forms of the question",
        ),
    ],
)
def test_places_are_in_all_forms_or_in_none(folder: Path, keys: str, said: str) -> None:
    with pytest.raises(MarathonError, match=said):
        make_task(folder, keys, rows())


def test_the_key_says_that_clips_are_placed(folder: Path) -> None:
    clip = Audio(str(folder / "0.wav"))
    with ResponseCache(None) as cache:
        keyed, _ = cache.keyed(
            "f", [Request("<audio> ?", (clip,), placed=placed) for placed in (False, True)]
        )
    assert len({entry.key for entry in keyed.values()}) == 2


def test_servers_get_text_and_clips_in_order() -> None:
    clips = [EncodedClip(bytes([n]), "wav", 1.0) for n in range(2)]
    request = Request("<audio> or <audio>: which?", (Audio("a"), Audio("b")), Generation(), placed=True)
    content = OpenAIAudio.from_args({"model": "m"}).body(request, clips)["messages"][-1]["content"]
    assert [part["type"] for part in content] == ["input_audio", "text", "input_audio", "text"]
    assert [part["text"] for part in content if part["type"] == "text"] == [" or ", ": which?"]
    assert [part["input_audio"]["data"] for part in content[::2]] == ["AA==", "AQ=="]
    with pytest.raises(RowError, match="places for 2 clips, and there are 1"):
        interleaved(request, ["one"])


def test_a_clip_in_pieces_stays_in_its_place() -> None:
    sounds = [{"type": "audio", "audio": str(n)} for n in range(3)]
    request = Request("a <audio> b <audio>", (), placed=True)
    order = [part.get("audio") or part["text"].strip() for part in placed_parts(request, sounds, [2, 1])]
    assert order == ["a", "0", "1", "b", "2"]


def test_silence_and_no_audio_reach_examples_too(folder: Path) -> None:
    keys = PLACED + "test_split: test\nnum_fewshot: 1\nfewshot_config: {sampler: first_n}\n"
    task = write_task(folder, keys, rows())
    (folder / "ears.py").write_text(EARS)
    said = []
    for control in ([], ["--no_audio", "silence"], ["--no_audio", "none"]):
        flags = asked_of_ears(folder, task)
        assert main([*flags, "-o", str(folder / "out"), *control]) == 0
        said.append(next(iter(read_samples(newest_run(folder / "out"), "own")))["response"])
    assert said == ["True [0.2, 0.1]", "True [0.0, 0.0]", "False []"]


def asked_of_ears(folder: Path, task: object) -> list[str]:
    """The flags of a run of the folder's own model."""
    return f"--model {folder}/ears.py --tasks {task} --data_dir {folder} --no_cache".split()


EARS = """
from marathon_eval.api.model import Model, ModelSettings, Response

class Ears(Model):
    Settings = ModelSettings
    places_clips = True

    def generate(self, requests):
        for request in requests:
            levels = [round(float(abs(audio.samples(16000)).max()), 1) for audio in request.audios]
            assert ("<audio>" in request.prompt) == bool(levels)
            yield request, Response(f"{request.placed} {levels}")
"""


def test_a_model_that_cannot_is_refused_before_it_is_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_task(folder, PLACED, rows())
    load(task)
    (folder / "ears.py").write_text(EARS.replace("    places_clips = True\n", ""))
    flags = asked_of_ears(folder, task)
    assert main(flags) == 2
    assert (
        "--model ears takes no clips inside the text: own has <audio> in doc_to_text"
        in capsys.readouterr().err
    )
