"""Tests the checks before weights load, and the cost estimate of `--dry_run`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile

from helpers import make_audiomarathon_data, multi_question_task
from helpers.minimal_task import write_task
from marathon_eval.api.model import Usage
from marathon_eval.cli.main import main
from marathon_eval.evaluator import scorer_check
from marathon_eval.evaluator.eta import answer_forecast

WEIGHTY = """
from pathlib import Path
from marathon_eval.api.model import Model, Response, Usage

class Weighty(Model):
    def generate(self, requests):
        Path(__file__).with_suffix(".loaded").touch()
        for request in requests:
            seconds = sum(audio.seconds for audio in request.audios)
            yield request, Response("x", usage=Usage(heard_seconds=seconds, audio_tokens=round(10 * seconds),
                                                     encode_s=0.1 * seconds, decode_s=0.5))
"""
NEVER = (
    "doc_to_text: q\ndoc_to_target: a\n"
    'filter_list: [{name: s, filter: [{function: regex, regex_pattern: "FINAL: ([0-9]+)"}]}]\n'
    "metric_list: [{metric: exact_match}]\n"
)


@pytest.fixture
def weighty(tmp_path: Path) -> Path:
    """A model that leaves a mark when it would load its weights."""
    path = tmp_path / "weighty.py"
    path.write_text(WEIGHTY)
    return path


def loaded(weighty: Path) -> bool:
    return weighty.with_suffix(".loaded").exists()


def said(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, Any, str]:
    """Exit code, the dry run's JSON, and stderr."""
    code = main([*flags, "--dry_run", "--json"])
    shown = capsys.readouterr()
    return code, json.loads(shown.out), shown.err


class TestPlantedScorer:
    @pytest.mark.parametrize("verb", [[], ["sweep", "--presses", "none"]])
    def test_it_is_one_clear_line_before_weights_load(
        self, verb: list[str], weighty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        task = write_task(tmp_path, NEVER, [{"q": "?", "a": "date"}, {"q": "?", "a": "fig"}])
        assert main([*verb, "--model", str(weighty), "--tasks", str(task)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line == (
            f"marathon-eval: error: {task}:5: own: exact_match of the reading 's' never gives 1: no gold answer of 2 rows "
            "gets it, such as 'fig', however it is written (--predict_only asks without scoring)"
        )
        assert not loaded(weighty)

    def test_one_right_answer_proves_nothing(self, weighty: Path, tmp_path: Path) -> None:
        """A released rule may misread it by design: the other rows would have said so."""
        task = write_task(tmp_path, NEVER, [{"q": "?", "a": "fig"}])
        assert main(["--model", str(weighty), "--tasks", str(task)]) == 0

    def test_it_does_not_keep_anyone_from_asking(self, weighty: Path, tmp_path: Path) -> None:
        task = write_task(tmp_path, NEVER, [{"q": "?", "a": "fig"}])
        assert main(["--model", str(weighty), "--tasks", str(task), "--predict_only"]) == 0
        assert loaded(weighty)

    def test_a_rerun_that_asks_nothing_looks_at_nothing(
        self, weighty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = write_task(tmp_path, "doc_to_text: q\ndoc_to_target: a\n", [{"q": "?", "a": "x"}])
        flags = ["--model", str(weighty), "--tasks", str(task)]
        assert main(flags) == 0
        monkeypatch.setattr(scorer_check, "check_scorers", lambda *_: pytest.fail("looked"))
        assert main(flags) == 0


def test_no_room_is_told_before_weights_load(
    weighty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = write_task(tmp_path, "doc_to_text: q\ndoc_to_target: a\n", [{"q": "?", "a": "x"}])

    class Disk(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda place: Disk(7_000))
    out = tmp_path / "far" / "out"
    assert main(["--model", str(weighty), "--tasks", str(task), "--output_path", str(out)]) == 2
    error = capsys.readouterr().err
    assert "--use_cache: " in error
    assert f"--output_path: {out} has 7 kB free, and 1 answers need about 8 kB" in error
    assert not loaded(weighty)


def test_a_missing_key_and_a_missing_package_are_told_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    task = write_task(tmp_path, NEVER, [{"q": "?", "a": "date"}, {"q": "?", "a": "fig"}])
    flags = ["--model", "openai_audio", "--model_args", "model=m", "--tasks", str(task)]
    assert main([*flags, "--dry_run"]) == 2
    assert (
        "--model openai_audio needs a key: set OPENAI_API_KEY in the environment" in capsys.readouterr().err
    )
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key-of-anyone")
    monkeypatch.setitem(sys.modules, "openai", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, found, error = said(capsys, *flags)
    assert code == 2
    assert (
        "--model openai_audio needs openai: pip install 'marathon-eval[api]' (in a checkout: pip install '.[api]'); and "
        in error
    )
    assert "never gives 1" in error
    assert [check["name"] for check in found["checks"] if check["fault"]] == ["imports", "scorers"]


def test_a_judge_without_a_key_costs_no_answers(
    weighty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from helpers import make_air_bench_mmar_data

    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    make_air_bench_mmar_data.chat(tmp_path / "air", rows=1)
    judge = ["--judge_model", "openai_audio", "--judge_args", "model=m"]
    flags = ["--model", str(weighty), "--tasks", "air_bench_chat_sound", "--data_dir", str(tmp_path / "air")]
    assert main([*flags, *judge]) == 2
    assert "--judge_model openai_audio needs a key: set OPENAI_API_KEY" in capsys.readouterr().err
    assert not loaded(weighty)


class TestCost:
    def test_hits_misses_hours_tokens_and_a_forecast(
        self, weighty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = multi_question_task.data(tmp_path, clips=3)  # of 2, 3 and 4 seconds, three questions each
        flags = ["--model", str(weighty), "--tasks", str(data / "heard.yaml"), "--data_dir", str(data)]
        code, found, error = said(capsys, *flags)
        assert (code, error) == (0, "")
        (cost,) = found["costs"]
        assert found["dry_run"] is True
        assert found["tasks"]["heard"] == {
            "rows": 9,
            "errors": 0,
            "error": None,
            "clips": 3,
            "hours": pytest.approx(9 / 3600, abs=1e-4),
            "requests": 9,
            "least_loss": None,
            "no_loss": "no difference will have an interval: n too small (3 of 6 clusters)",
            "n_length": 0,
        }
        assert (cost["hits"], cost["misses"], cost["most_output_tokens"]) == (0, 9, 9 * 4)
        assert (cost["audio_tokens"], cost["forecast_s"]) == (None, None)
        assert not loaded(weighty)
        assert main([*flags, "--limit", "6"]) == 0
        capsys.readouterr()
        _, found, _ = said(capsys, *flags)
        (cost,) = found["costs"]
        assert (cost["hits"], cost["misses"], cost["timed"]) == (6, 3, 6)
        assert cost["audio_hours"] == pytest.approx(12 / 3600, abs=1e-4)
        assert cost["audio_tokens"] == 120, "10 a second, as the answers of this model counted"
        # 0.1 s a second of 12 s, in proportion (fewer than twenty fix no line), and 0.5 s of decoding for each of 3
        assert cost["forecast_s"] == pytest.approx(0.1 * 12 + 0.5 * 3, abs=0.1)
        assert main(flags) == 0
        capsys.readouterr()
        _, found, _ = said(capsys, *flags)
        assert (found["costs"][0]["misses"], found["costs"][0]["forecast_s"]) == (0, 0.0)

    def test_the_same_in_words_with_one_sample_as_the_model_gets_it(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        data = make_audiomarathon_data.build(tmp_path, {"gtzan": 4})
        next(data.rglob("*.wav")).unlink()
        flags = ["--model", "dummy", "--tasks", "gtzan", "--data_dir", str(data), "--dry_run"]
        assert main(flags) == 3
        shown = capsys.readouterr().out.splitlines()
        assert shown[1].split()[:3] == ["gtzan", "4", "1"]
        assert shown[3].startswith("  1 cannot be asked (gtzan 1): row ")
        assert "3 requests to run on 0 s of audio, 0 in the cache" in shown
        assert [line.split()[0] for line in shown if "  ok " in line] == [
            "imports",
            "weights",
            "places",
            "turns",
            "audio",
            "disk",
            "scorers",
        ]
        assert any(line.startswith("  prompt: ") for line in shown)
        assert shown[-3].startswith("  right answer: ")
        assert shown[-1] == "1 of 4 rows would fail"

    def test_a_sweep_counts_every_cell(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from helpers import tiny_checkpoints

        data = multi_question_task.data(tmp_path)
        checkpoint = tiny_checkpoints.make_qwen_omni(tmp_path / "tiny")
        flags = ["--model", "qwen_omni", "--model_args", f"pretrained={checkpoint}"]
        flags += ["--tasks", str(data / "heard.yaml"), "--data_dir", str(data)]
        code, found, _ = said(capsys, "sweep", *flags, "--presses", "none,dart", "--ratios", "0.3,0.6")
        assert code == 0
        assert [cost["label"] for cost in found["costs"]] == ["none", "dart 0.3", "dart 0.6"]
        assert {cost["misses"] for cost in found["costs"]} == {6}
        assert found["costs"][0]["audio_tokens"] == 3 * 25 * (2 + 3)


@pytest.mark.parametrize(
    ("metric", "rows", "said"),
    [
        ("accuracy", 5, "no difference will have an interval: n too small (5 of 6 rows)"),
        ("accuracy", 12, "points or more"),
        ("macro_f1", 12, "no difference will have an interval: n too small (12 of 24 rows)"),
        ("macro_f1", 30, "points or more"),
        ("wer", 12, "no difference will have an interval: n too small (12 of 24 rows)"),
        ("wer", 30, "known only for headlines that are shares"),
    ],
)
def test_a_sweep_promises_no_loss_where_no_interval_will_stand(
    metric: str, rows: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = "doc_to_text: q\ndoc_to_target: a\nlanguage: en\n"
    keys += "filter_list: [{name: strict, filter: [{function: take_first}]}]\n"
    keys += (
        f"metric_list: [{{metric: {metric}}}]\nheadline: {{reading: strict, metric: {metric}, scale: 100}}\n"
    )
    task = write_task(tmp_path, keys, [{"q": f"{row}?", "a": "one"} for row in range(rows)])
    sweep = ["sweep", "--model", "qwen_omni", "--model_args", "pretrained=nano", "--presses", "none,dart"]
    assert main([*sweep, "--ratios", "0.5", "--tasks", str(task), "--dry_run"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("  own: "))
    assert said in line


@pytest.mark.parametrize("long_audio", [[], ["--long_audio", "window:seconds=1,combine=join"]])
def test_rows_that_cannot_be_asked_are_told_with_file_and_reason(
    long_audio: list[str], weighty: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("whole", "cut", "cut2"):
        soundfile.write(tmp_path / f"{name}.flac", np.random.default_rng(1).uniform(-0.3, 0.3, 24000), 8000)
    for name in ("cut", "cut2"):
        path = tmp_path / f"{name}.flac"
        path.write_bytes(path.read_bytes()[:9000])
    files = ["whole.flac", "cut.flac", "cut2.flac", "../outside.flac", "missing.flac"]
    rows = [{"q": "?", "a": "fig", "file": name} for name in files]
    task = write_task(tmp_path, "doc_to_text: q\ndoc_to_target: a\ndoc_to_audio: file\n", rows)
    flags = ["--model", str(weighty), "--tasks", str(task), "--data_dir", str(tmp_path), *long_audio]
    assert main([*flags, "--dry_run"]) == 3
    shown = capsys.readouterr().out
    assert shown.endswith("\n4 of 5 rows would fail\n")
    (cut,) = (line for line in shown.splitlines() if line.startswith("  2 cannot be asked (own 2): "))
    assert "cut.flac: " in cut
    assert cut.endswith("(first: row own 1)")
    ones = [line for line in shown.splitlines() if line.startswith("  1 cannot be asked (own 1): ")]
    assert ["outside.flac" in line for line in ones].count(True) == 1
    assert ["missing.flac" in line for line in ones].count(True) == 1
    code, found, _ = said(capsys, *flags)
    assert (code, found["tasks"]["own"]["errors"], found["would_fail"]) == (3, 4, 4)
    assert next((kind["rows"], kind["first"]) for kind in found["unasked"]) == ({"own": 2}, "own 1")
    assert main(flags) == 3, "as the run itself ends"
    assert "2 failed (own 2): " in capsys.readouterr().out


@pytest.mark.parametrize(("name", "padded_to"), [("voxtral", 30.0), ("granite_speech", 0.3)])
def test_the_padding_of_an_encoder_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, padded_to: float
) -> None:
    """The estimate equals the tokens that the model then counts for clips of 2 and 3 seconds."""
    from helpers.tiny_chat_models import BUILDERS

    data = multi_question_task.data(tmp_path, questions=["one?"])
    checkpoint = BUILDERS[name](tmp_path / "tiny")
    flags = ["--model", name, "--model_args", f"pretrained={checkpoint},device=cpu"]
    flags += ["--tasks", str(data / "heard.yaml"), "--data_dir", str(data), "-c", str(tmp_path / "cache")]
    _, found, _ = said(capsys, *flags)
    (cost,) = found["costs"]
    assert cost["padded_to"] == padded_to
    assert main([*flags, "-o", str(tmp_path / "out")]) == 0
    lines = next((tmp_path / "out").rglob("samples_heard.jsonl")).read_text().splitlines()
    counted = sum(json.loads(line)["usage"]["audio_tokens"] for line in lines)
    assert cost["audio_tokens"] == counted > round(cost["token_rate"] * (2 + 3))


def test_no_torch_no_weights_and_no_results(tmp_path: Path) -> None:
    """In a process of its own: the weights are a folder of which a dry run may read hashes, and import nothing for."""
    from helpers import tiny_checkpoints

    data, checkpoint = multi_question_task.data(tmp_path), tiny_checkpoints.make_qwen_omni(tmp_path / "tiny")
    flags = ["--model", "qwen_omni", "--model_args", f"pretrained={checkpoint}", "--dry_run", "--json"]
    flags += [
        "--tasks",
        str(data / "heard.yaml"),
        "--data_dir",
        str(data),
        "--output_path",
        str(tmp_path / "out"),
    ]
    code = (
        "import sys; from marathon_eval.cli.main import main; code = main(sys.argv[1:]); "
        "assert not {'torch', 'transformers'} & set(sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["costs"][0]["token_rate"] == 25
    assert not list((tmp_path / "out").rglob("*.json"))


def test_the_time_of_windows_is_told_from_answers_about_whole_clips() -> None:
    """Whole clips of one length were timed: their eight windows each read an eighth, and decode as long as the whole."""
    whole = Usage(heard_seconds=240.0, encode_s=1.0, prefill_s=7.0, decode_s=4.0)
    forecast = answer_forecast([whole] * 4)
    assert forecast.timed == 4
    assert forecast.left(2, 480.0) == pytest.approx(2 * 12.0)
    assert forecast.left(16, 480.0) == pytest.approx(2 * 8.0 + 16 * 4.0)
