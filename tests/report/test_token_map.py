"""Tests log_tokens: the recorded map of kept audio tokens is what the press chose, and the report draws it."""

from __future__ import annotations

import base64
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from helpers.chromium import opened
from helpers.nano_clips import events
from helpers.report_page_parser import parsed
from marathon_eval import simple_evaluate
from marathon_eval.api.results import Sample
from marathon_eval.backends.hf.engine.token_map import token_record
from marathon_eval.cli.main import main
from marathon_eval.presses.dart import Dart
from marathon_eval.presses.knorm import Knorm
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return events(tmp_path_factory.mktemp("clips"), 1, (0.0, 1.0))


def asked(clips: Path, press: str, **settings: Any) -> Sample:
    arguments = {"pretrained": "nano", "device": "cpu", "press": press, "ratio": 0.5, "log_tokens": True}
    result = simple_evaluate(
        "qwen_omni", ["desed"], arguments, data_dir=str(clips), no_cache=True, **settings
    )
    assert "log_tokens" not in result.fingerprint
    sample: Sample = result.samples["desed"][0]
    assert sample.status == "ok", sample.error
    return sample


def shares(sample: Sample) -> Any:
    return np.frombuffer(zlib.decompress(base64.b64decode(sample.usage["details"]["token_map"])), "uint8")


def test_what_truncate_leaves_is_the_beginning(clips: Path, tmp_path: Path, browser: Browser) -> None:
    sample = asked(clips, "truncate", output_path=str(tmp_path))
    audio, kept = sample.usage["audio_tokens"], sample.usage["kept_tokens"]
    assert kept == audio // 2
    np.testing.assert_array_equal(shares(sample), [255] * kept + [0] * (audio - kept))
    (found,) = parsed(tmp_path).tasks()["desed"]["cells"]["0"]["tokens"].values()
    assert found[0] == sample.usage["details"]["token_map"]
    page = tmp_path / "report.html"
    page.write_text(
        render_page(make_report(read_cells([tmp_path])), page, False, 1_000_000, [str(clips)]),
        encoding="utf-8",
    )
    with opened(browser, page) as seen:
        seen.page.click("#s-row-0")
        expect(seen.page.locator("canvas.tokens")).to_have_attribute("data-kept", str(kept), timeout=20_000)
        # MP3 pads the end
        expect(seen.page.locator("canvas.sound")).to_have_attribute(
            "data-seconds", re.compile(r"40(\.\d+)?"), timeout=20_000
        )
        # the last quarter of the strip shows what was removed, the first what was kept
        colours = seen.page.locator("canvas.tokens").evaluate(
            "c => Array.from(c.getContext('2d').getImageData(0, 5, c.width, 1).data)"
        )
        tenth = len(colours) // 40 * 4
        assert colours[tenth : tenth + 4] != colours[-tenth : 4 - tenth]
        seen.page.click("#s-detail summary:has-text('spectrogram')")
        expect(seen.page.locator("canvas.spectrum")).to_have_attribute("data-drawn", "yes")
        assert_spectrum(seen.page)
        assert seen.complaints == []


@pytest.mark.parametrize("verb", ["run", "sweep", "set"])
def test_cached_responses_without_a_map_are_told(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    flags = ["-M", "qwen_omni", "-t", "desed", "--data_dir", str(clips), "-c", str(tmp_path / "cache")]

    def said(log: str, *more: str) -> str:
        arguments = f"{{pretrained: nano, device: cpu, log_tokens: {log}}}"
        typed = ["-a", arguments.replace("{", "").replace("}", "").replace(": ", "=").replace(" ", "")]
        if verb == "set":
            board = tmp_path / "board.yaml"
            board.write_text(f"presses: [{{press: truncate, ratio: 0.5}}]\nmodel_args: {arguments}\n")
            words = ["run", "-C", str(board), *flags, *more]
        elif verb == "sweep":
            words = ["sweep", *flags, *typed, "--presses", "none,truncate", "--ratios", "0.5", *more]
        else:
            words = ["run", *flags, *typed[:1], f"{typed[1]},press=truncate,ratio=0.5", *more]
        assert main(words) == 0
        return capsys.readouterr().err

    assert "token map" not in said("false")
    told = "marathon-eval: 1 cached response has no token map; --no_cache makes it\n"
    assert told in said("true")
    if verb != "sweep":
        assert "token map" not in said("true", "--no_cache")


def assert_spectrum(page: Page) -> None:
    """The page's transform is numpy's, with the same window."""
    wave = np.sin(np.arange(2048) * 0.7) + 0.3 * np.random.default_rng(0).standard_normal(2048)
    shown = page.evaluate("wave => Array.from(spectrum(wave, 1024))", wave.tolist())
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    wanted = np.abs(np.fft.rfft(wave[768:1280] * window))[:256] ** 2
    np.testing.assert_allclose(shown, wanted, rtol=1e-6, atol=1e-9)


def test_dart_keeps_the_tokens_that_it_chose(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Any] = []
    select = Dart.select

    def watched(self: Dart, view: Any) -> Any:
        found = select(self, view)
        chosen.append(torch.isin(view.audio, found).numpy())
        return found

    monkeypatch.setattr(Dart, "select", watched)
    sample = asked(clips, "dart")
    np.testing.assert_array_equal(shares(sample), chosen[-1] * 255)


def test_knorm_keeps_the_keys_that_it_chose(clips: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[Any] = []
    score = Knorm.select

    def watched(self: Knorm, view: Any) -> Any:
        found = score(self, view)
        chosen.append(np.mean([torch.isin(view.audio, head).numpy() for head in found], axis=0))
        return found

    monkeypatch.setattr(Knorm, "select", watched)
    sample = asked(clips, "knorm")
    wanted = np.mean(chosen, axis=0) * 255
    np.testing.assert_allclose(shares(sample), wanted, atol=1.0)
    assert 0 < (shares(sample) > 0).mean() < 1 or len(set(shares(sample))) > 2


def test_uneven_tokens_keep_their_starts() -> None:
    times = np.array([[0.0, 0.5], [0.5, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 4.0]])
    record = token_record(torch.tensor([1.0, 0.0, 0.0, 0.5, 1.0]), times)
    deltas = np.frombuffer(zlib.decompress(base64.b64decode(record["token_starts"])), "<u2")
    np.testing.assert_array_equal(np.cumsum(deltas), [0, 50, 100, 100, 100])
    even = np.stack([np.arange(5), np.arange(5) + 1], axis=1).astype(float)
    assert "token_starts" not in token_record(torch.ones(5), even)
