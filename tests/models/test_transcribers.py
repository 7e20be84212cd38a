"""Tests what Qwen3-ASR and GLM-ASR are sent and what is made of their answers, on tiny checkpoints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import transformers

from helpers.tiny_model_cases import MODELS, Bench, Benches, asked, built
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Response, Usage
from marathon_eval.errors import MarathonError
from marathon_eval.models.qwen3_asr import transcript_of
from marathon_eval.scoring.filters.transcript import unwrap


def chat(there: Bench, **args: Any) -> str:
    return there.adapter(**args).chat(there.loaded, asked(Audio("unread.wav")), 1)


def officially(there: Bench, **words: str) -> str:
    """Return the prompt that the official processor writes for a transcription."""
    processor = transformers.AutoProcessor.from_pretrained(there.folder)
    (prompt,) = processor.apply_transcription_request(noise(1.0), tokenize=False, **words)
    return str(prompt)


def test_prompts_are_those_of_a_transcription_request(bench: Benches) -> None:
    qwen, glm = bench("qwen3_asr"), bench("glm_asr")
    assert chat(qwen) == officially(qwen)
    assert chat(qwen, language="de", system_prompt="Zermatt") == officially(
        qwen, language="German", prompt="Zermatt"
    )
    assert chat(glm) == officially(glm)
    assert chat(glm, instruction="Write it down.") == officially(glm, prompt="Write it down.")
    words_first = chat(glm, audio_first=False)
    assert words_first.index("Please transcribe") < words_first.index("<|pad|>")


@pytest.mark.parametrize("language", ["de", "German", "german"])
def test_a_language_is_a_name_or_a_code(language: str) -> None:
    model = built(MODELS["qwen3_asr"], Path("no/such"), language=language)
    assert model.settings.model_dump()["language"] == "German"


def test_an_unknown_language_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        MarathonError, match="language: no language of the model. Did you mean German"
    ) as caught:
        built(MODELS["qwen3_asr"], Path("no/such"), language="germany")
    assert "Known: Arabic, Czech" in str(caught.value)


@pytest.mark.parametrize(
    ("written", "text", "language"),
    [
        ("language English<asr_text>Good morning. ", "Good morning.", "English"),
        ("language None<asr_text>", "", "None"),
        ("Good morning.", "Good morning.", None),
        ("language Eng", "language Eng", None),
    ],
)
def test_the_language_is_taken_off_the_transcript(written: str, text: str, language: str | None) -> None:
    response = transcript_of(Response(written, usage=Usage(details={"batch": 1})))
    assert response.text == text
    assert response.usage.details == {"batch": 1, **({} if language is None else {"language": language})}


def test_the_filter_of_transcripts_takes_off_what_a_server_leaves() -> None:
    assert unwrap("language English<asr_text>Good morning.") == "Good morning."
    assert unwrap("Language English is spoken.") == "Language English is spoken."


def test_the_mark_is_left_in_the_decoded_text(bench: Benches) -> None:
    tokenizer = bench("qwen3_asr").loaded.tokenizer
    ids = tokenizer("language English<asr_text>yes")["input_ids"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "language English<asr_text>yes"


def test_the_layout_of_the_vendors_package_is_refused(bench: Benches, tmp_path: Path) -> None:
    folder = tmp_path / "vendor"
    shutil.copytree(bench("qwen3_asr").folder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({"thinker_config": config}), encoding="utf-8")
    with pytest.raises(MarathonError, match="layout of the package qwen-asr .* loads Qwen/Qwen3-ASR-1.7B-hf"):
        built(MODELS["qwen3_asr"], folder).check()
