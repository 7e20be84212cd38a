"""Tests encodings on disk: reused for the same model and audio only, atomic, limited in size, without pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.qwen2_5_omni.modeling_qwen2_5_omni import Qwen2_5OmniAudioEncoderLayer

from helpers import tiny_checkpoints
from helpers.multi_question_task import Taken, config, data, told
from marathon_eval.backends.hf.engine.encoder_cache import SUFFIX, EncoderFiles
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.sweep import sweep
from marathon_eval.evaluator.sweep_cells import NO_PRESS, Grid

CPU = torch.device("cpu")
GRID = Grid((NO_PRESS, "dart", "knorm"), (0.5,))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with every run of the encoder's only layer."""
    runs: list[int] = []
    original = Qwen2_5OmniAudioEncoderLayer.forward

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        runs.append(1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Qwen2_5OmniAudioEncoderLayer, "forward", counted)
    return runs


def swept(folder: Path, checkpoint: Path, answers: Path, **args: Any) -> Taken:
    taken = Taken()
    assert sweep(config(folder, checkpoint, answers, **args), GRID, taken)
    assert all(result.whole for result in taken.values())
    return taken


def test_a_later_sweep_does_not_run_the_encoder(
    checkpoint: Path, tmp_path: Path, encodings: list[int]
) -> None:
    """Answers are gone, encodings are not: the same answers, keys and charged seconds come out again."""
    folder, files = data(tmp_path), tmp_path / "encodings"
    plain = swept(folder, checkpoint, tmp_path / "plain")
    assert len(encodings) == 2
    first = swept(folder, checkpoint, tmp_path / "first", encoder_cache=str(files))
    assert len(encodings) == 4
    assert len(list(files.glob(f"*{SUFFIX}"))) == len(list(files.iterdir())) == 2
    second = swept(folder, checkpoint, tmp_path / "second", encoder_cache=str(files))
    assert len(encodings) == 4
    for label, result in plain.items():
        for other in (first[label], second[label]):
            assert other.fingerprint_sha256 == result.fingerprint_sha256
            assert [told(one) for one in other.samples["heard"]] == [
                told(one) for one in result.samples["heard"]
            ]
    for cell in ("none", "dart 0.5"):
        for one in second[cell].samples["heard"]:
            assert "encode" in one.usage["details"]["shared"]
            assert one.usage["encode_s"] > 0


def test_plain_runs_read_and_write_them_too(checkpoint: Path, tmp_path: Path, encodings: list[int]) -> None:
    folder, files = data(tmp_path), str(tmp_path / "encodings")
    evaluate(config(folder, checkpoint, tmp_path / "a", encoder_cache=files))
    evaluate(config(folder, checkpoint, tmp_path / "b", encoder_cache=files, press="frame", ratio=0.5))
    assert len(encodings) == 2


def test_other_weights_have_other_files(checkpoint: Path, tmp_path: Path, encodings: list[int]) -> None:
    folder, files = data(tmp_path), str(tmp_path / "encodings")
    evaluate(config(folder, checkpoint, tmp_path / "a", encoder_cache=files))
    other = tiny_checkpoints.make_qwen_omni(tmp_path / "other", seed=1)
    evaluate(config(folder, other, tmp_path / "b", encoder_cache=files))
    assert len(encodings) == 4


def test_the_flag(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], encodings: list[int]
) -> None:
    folder, files = data(tmp_path), tmp_path / "encodings"
    words = ["sweep", "--model", "qwen_omni", "--model_args", f"pretrained={checkpoint},device=cpu"]
    words += ["--tasks", str(folder / "heard.yaml"), "--data_dir", str(folder), "--no_cache", "--json"]
    words += ["--presses", "none,frame", "--ratios", "0.5", "--encoder_cache", str(files)]
    assert main(words) == main(words) == 0
    assert len(encodings) == 2
    files = tmp_path / "no folder"
    files.write_text("")
    capsys.readouterr()
    assert main([*words[:-1], str(files)]) == 2
    assert f"--encoder_cache: {files}" in capsys.readouterr().err


def test_a_broken_file_is_made_anew(
    checkpoint: Path, tmp_path: Path, encodings: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, files = data(tmp_path, clips=1), tmp_path / "encodings"
    whole = swept(folder, checkpoint, tmp_path / "a", encoder_cache=str(files))
    (file,) = files.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    again = swept(folder, checkpoint, tmp_path / "b", encoder_cache=str(files))
    assert len(encodings) == 2
    assert "encoded again" in capsys.readouterr().err
    assert file.stat().st_size == len(content)
    assert [told(one) for one in again["dart 0.5"].samples["heard"]] == [
        told(one) for one in whole["dart 0.5"].samples["heard"]
    ]


def made(folder: Path, most_bytes: float = 1e9, owner: str = "model") -> EncoderFiles:
    folder.mkdir(exist_ok=True)
    return EncoderFiles(folder, most_bytes, owner)


def test_the_name_says_all_that_the_content_depends_on(tmp_path: Path) -> None:
    files, numbers = made(tmp_path), torch.arange(4.0)
    base = files.path(["sha"], [numbers, "mask", None])
    others = [
        made(tmp_path, owner="other").path(["sha"], [numbers, "mask", None]),
        files.path(["other sha"], [numbers, "mask", None]),
        files.path(["sha"], [numbers.double(), "mask", None]),
        files.path(["sha"], [numbers.reshape(2, 2), "mask", None]),
        files.path(["sha"], [numbers + 1e-6, "mask", None]),
        files.path(["sha"], [numbers, "mask", torch.tensor([True])]),
        files.path(["sha"], [[numbers, "mask"], None]),
        files.path(["sha"], [{"mask": numbers}, None]),
    ]
    assert len({base, *others}) == 1 + len(others)
    assert files.path(["sha"], [numbers.clone(), "mask", None]) == base


@pytest.mark.parametrize(
    "output",
    [
        torch.arange(6.0).reshape(2, 3).T,
        torch.ones(3, dtype=torch.bfloat16),
        BaseModelOutputWithPooling(last_hidden_state=torch.ones(2, 3), pooler_output=torch.zeros(1, 3)),
    ],
    ids=["not contiguous", "bfloat16", "named"],
)
def test_an_output_comes_back_as_it_was(output: Any, tmp_path: Path) -> None:
    files = made(tmp_path)
    path = files.path([], [])
    files.write(path, output, 1.25)
    found = files.read(path, CPU)
    assert found is not None
    again, seconds = found
    assert (type(again), seconds) == (type(output), 1.25)
    pairs = (
        zip(again.values(), output.values(), strict=True)
        if isinstance(output, Mapping)
        else [(again, output)]
    )
    assert all(torch.equal(one, other) and one.dtype == other.dtype for one, other in pairs)


def test_one_tensor_by_two_names_is_kept_once(tmp_path: Path) -> None:
    files, states = made(tmp_path), torch.rand(100, 30)
    path = files.path([], [])
    files.write(path, BaseModelOutputWithPooling(states, states), 1.0)
    assert states.nbytes < path.stat().st_size < 1.5 * states.nbytes
    found = files.read(path, CPU)
    assert found is not None
    assert torch.equal(found[0].last_hidden_state, states)
    assert torch.equal(found[0].pooler_output, states)


def test_parts_of_one_memory_are_kept(tmp_path: Path) -> None:
    files, states = made(tmp_path), torch.rand(4, 3)
    files.write(files.path([], []), BaseModelOutputWithPooling(states, states[:2]), 1.0)
    found = files.read(files.path([], []), CPU)
    assert found is not None
    assert torch.equal(found[0].pooler_output, states[:2])


def test_what_is_no_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match="returns a list"):
        made(tmp_path).write(tmp_path / "x", [torch.ones(1)], 1.0)


def test_the_folder_is_bounded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Three of 4 kB fit; a fourth takes the place of the one that was read longest ago."""
    files = made(tmp_path, 15_000)
    paths = [files.path([str(number)], []) for number in range(4)]
    for age, path in enumerate(paths[:3]):
        files.write(path, torch.ones(1000), 1.0)
        os.utime(path, ns=(age, age))
    assert files.read(paths[0], CPU) is not None
    files.write(paths[3], torch.ones(1000), 1.0)
    assert [path.exists() for path in paths] == [True, False, True, True]
    files.write(tmp_path / f"big{SUFFIX}", torch.ones(4000), 1.0)
    assert "is not stored: encoder_cache_gb=1.5e-05" in capsys.readouterr().err
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_names_no_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kind is looked up among what is loaded, and must be an output: nothing is imported on a file's word."""
    from safetensors.torch import save_file

    files = made(tmp_path)
    for kind in ("os:system", "antigravity:fly", "torch:Tensor"):
        told = {"kind": kind, "parts": '{"output": "output"}', "seconds": "1"}
        save_file({"output": torch.ones(1)}, tmp_path / "x", metadata=told)
        assert files.read(tmp_path / "x", CPU) is None
        assert f"no output is called {kind}" in capsys.readouterr().err


def test_where_it_would_do_nothing_it_is_refused(tmp_path: Path) -> None:
    from marathon_eval.models.qwen_omni import QwenOmni
    from marathon_eval.models.whisper import Whisper

    args = {"pretrained": str(tmp_path), "encoder_cache": str(tmp_path)}
    with pytest.raises(MarathonError, match="sharing=false, which reuses no encoding"):
        EncoderFiles.of(QwenOmni(QwenOmni.Settings.model_validate({**args, "sharing": False})))
    with pytest.raises(MarathonError, match="whisper has no audio encoding that could be stored"):
        EncoderFiles.of(Whisper(Whisper.Settings.model_validate(args)))


def test_what_a_kill_left_is_swept_up(checkpoint: Path, tmp_path: Path) -> None:
    from marathon_eval.models.qwen_omni import QwenOmni

    old, new = tmp_path / f"a{SUFFIX}.1.part", tmp_path / f"b{SUFFIX}.2.part"
    for path in (old, new):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    args = {"pretrained": str(checkpoint), "encoder_cache": str(tmp_path)}
    assert EncoderFiles.of(QwenOmni(QwenOmni.Settings.model_validate(args))) is not None
    assert (old.exists(), new.exists()) == (False, True)
