"""Writes a task of a few recordings with several questions on each, and sweeps over it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import soundfile
from torch import Tensor

from helpers.tiny_press_run import noise
from marathon_eval.api.results import RunResult, Sample
from marathon_eval.backends.hf import adapter
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.sweep_cells import SweepCell

TASK = """\
dataset_path: json
dataset_kwargs: {data_files: rows.json}
doc_to_text: "{{ q }}"
doc_to_target: a
doc_to_audio: path
generation_kwargs: {max_new_tokens: 4}
filter_list:
  - {name: strict, filter: [{function: take_first}]}
metric_list:
  - {metric: accuracy, filter_list: strict}
  - {metric: macro_f1, filter_list: strict}
headline: {reading: strict, metric: accuracy, scale: 100}
"""
QUESTIONS = ("What is heard?", "Who is speaking there?", "Where?")


def data(folder: Path, clips: int = 2, questions: Sequence[str] = QUESTIONS) -> Path:
    """Write a task of `clips` recordings with several questions on each."""
    rows = []
    for clip in range(clips):
        soundfile.write(folder / f"{clip}.wav", noise(2 + clip, seed=clip), 16000)
        rows += [{"q": q, "a": "x", "path": f"{clip}.wav"} for q in questions]
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "heard.yaml").write_text(TASK)
    return folder


def config(folder: Path, checkpoint: Path, cache: Path, **model_args: Any) -> RunConfig:
    return RunConfig(
        model="qwen_omni",
        tasks=(str(folder / "heard.yaml"),),
        model_args={"pretrained": str(checkpoint), "device": "cpu", **model_args},
        data_dir=str(folder),
        use_cache=str(cache),
    )


class Taken(dict[str, RunResult]):
    """Holds the results of a sweep by cell."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[SweepCell] = []

    def __call__(self, cell: SweepCell, result: RunResult) -> None:
        self.cells.append(cell)
        self[cell.label] = result


def told(sample: Sample) -> dict[str, Any]:
    """Return a sample without the fields that differ between machines or passes."""
    line = sample.line()
    usage = line.pop("usage")
    del line["cached"]
    counted = ("audio_tokens", "kept_tokens", "input_tokens", "output_tokens", "kv_bytes")
    return {**line, **{name: usage[name] for name in counted}}


def first_logits(patch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """Record the first token's logits by press, question and clip, as the output head of later runs returns them."""
    seen: dict[str, Tensor] = {}
    original = adapter.HFAudio.answer

    def answer(self: Any, loaded: Any, requests: Any, inputs: Any) -> Any:
        steps: list[Tensor] = []
        head = loaded.model.get_output_embeddings()
        hook = head.register_forward_hook(lambda module, args, output: steps.append(output[:, -1].clone()))
        responses = original(self, loaded, requests, inputs)
        hook.remove()
        # counted from the end: a context that was prefilled here shows one more
        first = steps[-max(response.usage.output_tokens or 1 for response in responses)]
        for row, request in enumerate(requests):
            seen[f"{self.press} {request.prompt} {request.audios[0].path}"] = first[row]
        return responses

    patch.setattr(adapter.HFAudio, "answer", answer)
    return seen
