"""Tests control conditions: silence, swapped clips, permuted options, and the errors for invalid combinations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import make_air_bench_mmar_data, make_audiomarathon_data
from marathon_eval import simple_evaluate
from marathon_eval.api.audio import Audio
from marathon_eval.api.doc import Doc
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import RunResult
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.controls import silent, swapped, turn
from marathon_eval.task.task import Task, load_task

LISTENER = '''
from marathon_eval.api.model import Model, ModelSettings, Response


class Listener(Model):
    """Hears nothing but whether there is sound: answers A for it, B for silence, C for no audio."""

    Settings = ModelSettings

    def generate(self, requests):
        for request in requests:
            heard = [abs(audio.samples(16000)).max() > 0 for audio in request.audios]
            yield request, Response("C" if not heard else "A" if heard[0] else "B")
'''


def run(model: str, tasks: list[str], data: Path, **settings: Any) -> RunResult:
    return simple_evaluate(model, tasks, data_dir=str(data), use_cache=str(data / "cache"), **settings)


@pytest.fixture
def listener(tmp_path: Path) -> str:
    path = tmp_path / "listener.py"
    path.write_text(LISTENER)
    return str(path)


@pytest.mark.parametrize(("no_audio", "said"), [(None, "A"), ("silence", "B"), ("none", "C")])
def test_silence_and_no_audio(tmp_path: Path, listener: str, no_audio: str | None, said: str) -> None:
    make_audiomarathon_data.build(tmp_path, {"gtzan": 3}, seconds=0.25)
    result = run(listener, ["gtzan"], tmp_path, no_audio=no_audio)
    samples = result.samples["gtzan"]
    assert {sample.response for sample in samples} == {said}
    heard = [[round(audio["seconds"], 2) for audio in sample.audio] for sample in samples]
    assert heard == [[] if no_audio == "none" else [0.25]] * 3
    assert result.config["no_audio"] == no_audio


def test_silence_has_the_clips_length_and_is_made_once(tmp_path: Path) -> None:
    one, other = silent(2.5, tmp_path), silent(2.5, tmp_path)
    assert one == other
    assert one.seconds == 2.5
    assert not one.samples(16000).any()
    assert (tmp_path / "silence_40000.flac").stat().st_size < 20_000
    with pytest.raises(MarathonError, match="--no_audio: .* cannot write"):
        silent(1.0, tmp_path / "silence_40000.flac")


def docs_on(clips: list[str]) -> list[Doc]:
    return [Doc(number, {}, (Audio(clip),), audio_names=(clip,)) for number, clip in enumerate(clips)]


def test_every_row_gets_another_rows_clip() -> None:
    docs = docs_on(["c", "a", "b", "a", "d"])
    found = [doc.audio[0].path for doc in swapped(docs, "race")]
    assert found == ["a", "c", "d", "c", "b"]
    assert all(new != doc.audio[0].path for new, doc in zip(found, docs, strict=True))
    assert swapped([*docs, Doc(9, {}, error="broken")], "race")[-1].error == "broken"
    with pytest.raises(MarathonError, match="needs rows on at least two clips, and has 1"):
        swapped(docs_on(["a", "a"]), "race")


def test_swapped_audio_is_another_request(tmp_path: Path) -> None:
    make_audiomarathon_data.build(tmp_path, {"gtzan": 4})
    plain = run("dummy", ["gtzan"], tmp_path)
    other = run("dummy", ["gtzan"], tmp_path, swap_audio=True)
    assert other.cache == {"hits": 0, "misses": 4}
    shas = [{s.doc_id: s.audio[0]["sha256"] for s in one.samples["gtzan"]} for one in (plain, other)]
    assert set(shas[0].values()) == set(shas[1].values())
    assert all(shas[0][number] != shas[1][number] for number in shas[0])


def task(name: str) -> Task:
    found = load_task(Registry().task_path(name), Registry().task_path)
    assert isinstance(found, Task)
    return found


@pytest.mark.parametrize("name", ["gtzan", "race", "desed", "vox_age"])
@pytest.mark.parametrize("shift", [1, 2, 3])
def test_options_move_with_their_gold(tmp_path: Path, name: str, shift: int) -> None:
    make_audiomarathon_data.build(tmp_path, {name: 4})
    mine = task(name)
    for doc in mine.docs(str(tmp_path)).docs:
        turned = turn(mine, doc, shift)
        assert turned.choices == doc.choices[shift:] + doc.choices[:shift]
        texts = [text_of(mine, one) for one in (doc, turned)]
        assert texts[0] == texts[1]
        prompt = mine.requests(turned)[0].prompt
        places = [
            prompt.index(f" {text}\n" if f" {text}\n" in prompt else f" {text}") for text in turned.choices
        ]
        assert places == sorted(places)


def text_of(mine: Task, doc: Doc) -> str:
    """The text of the gold option."""
    assert isinstance(doc.target, str)
    letters = mine.context(doc).letters
    return doc.target if doc.target in doc.choices else doc.choices[letters.index(doc.target)]


def test_always_the_first_option_is_shown_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from marathon_eval.evaluator.controls import order_lines

    make_audiomarathon_data.build(tmp_path, {"gtzan": 8})
    result = run("dummy", ["gtzan"], tmp_path, permute_choices=4)
    assert list(result.tasks) == ["gtzan", "gtzan~1", "gtzan~2", "gtzan~3"]
    found = result.manifests["gtzan"]["permute_choices"]
    assert {letter: cell["accuracy"] for letter, cell in found["by_place"].items()} == {
        "A": 1.0,
        "B": 0.0,
        "C": 0.0,
        "D": 0.0,
    }
    assert [cell["n"] for cell in found["by_place"].values()] == [8, 8, 8, 8]
    assert sum(found["by_order"].values()) == pytest.approx(1.0)
    assert (found["n_in_all_orders"], found["steady"]) == (8, 0.0)
    assert order_lines(result.manifests)[0].startswith(
        "gtzan: accuracy by gold's place: A 100.0% (8), B 0.0% (8)"
    )


def test_a_permuted_run_is_scored_again(tmp_path: Path) -> None:
    from marathon_eval.cli.main import main

    make_audiomarathon_data.build(tmp_path, {"gtzan": 4})
    common = ["--model", "dummy", "--tasks", "gtzan", "--data_dir", str(tmp_path), "--no_cache"]
    assert main([*common, "--permute_choices", "3", "--no_audio", "-o", str(tmp_path / "out")]) == 0
    assert (
        main(["score", str(tmp_path / "out"), "-o", str(tmp_path / "again"), "--data_dir", str(tmp_path)])
        == 0
    )
    old, new = (
        json.loads(next((tmp_path / name).rglob("results.json")).read_text()) for name in ("out", "again")
    )
    assert list(new["tasks"]) == ["gtzan", "gtzan~1", "gtzan~2"]
    assert new["tasks"] == old["tasks"]
    assert new["manifests"] == old["manifests"]
    assert new["config"] == {**old["config"], "output_path": new["config"]["output_path"]}


def test_rows_with_fewer_options_leave_later_orders(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.mmar(tmp_path, rows=12)
    result = run("dummy", ["mmar"], tmp_path, permute_choices=4)
    for shift in (1, 2, 3):
        more = sum(len(row["choices"]) > shift for row in rows)
        assert (result.tasks[f"mmar~{shift}"].n_loaded, result.tasks[f"mmar~{shift}"].n_filtered) == (
            more,
            12 - more,
        )


def test_groups_count_the_first_order_alone(tmp_path: Path) -> None:
    make_air_bench_mmar_data.foundation(tmp_path)
    plain = run("dummy", ["air_bench_sound"], tmp_path)
    turned = run("dummy", ["air_bench_sound"], tmp_path, permute_choices=2)
    assert turned.groups == plain.groups


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("had", {"permute_choices": 2}, "--permute_choices: had: its prompt does not read the options"),
        ("librispeech", {"permute_choices": 2}, "no task here has options"),
        ("gtzan", {"permute_choices": 1}, "at least 2 orders, got 1"),
        ("gtzan", {"no_audio": "silence", "swap_audio": True}, "both replace the audio"),
    ],
)
def test_what_cannot_be_had_is_told(tmp_path: Path, name: str, settings: dict[str, Any], said: str) -> None:
    make_audiomarathon_data.build(tmp_path, {name: 2})
    with pytest.raises(MarathonError, match=said):
        run("dummy", [name], tmp_path, **settings)


def test_the_command_line_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from marathon_eval.cli.main import main

    make_audiomarathon_data.build(tmp_path, {"gtzan": 3})
    common = ["--model", "dummy", "--tasks", "gtzan", "--data_dir", str(tmp_path), "--no_cache"]
    assert main([*common, "--no_audio", "--permute_choices", "2"]) == 0
    assert "accuracy by gold's place" in capsys.readouterr().out
    assert main([*common, "--swap_audio", "-o", str(tmp_path / "out")]) == 0
    results = json.loads(next((tmp_path / "out").rglob("results.json")).read_text())
    assert results["config"]["swap_audio"] is True
