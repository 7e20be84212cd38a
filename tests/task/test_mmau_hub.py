"""Tests that MMAU as the hub has it asks the very prompts of MMAU as its repository has it."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet
import pytest

from helpers import make_other_benchmarks
from helpers.audiomarathon_prompts import load_shipped
from marathon_eval import simple_evaluate
from marathon_eval.evaluator.judge_prompts import JudgeKind
from marathon_eval.scoring.reasoning import parted


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """The miniature of the hub's form, in one file as its repository has it."""
    make_other_benchmarks.mmau_parquet(tmp_path / "hub")
    return tmp_path / "hub"


@pytest.fixture
def released(tmp_path: Path, hub: Path) -> Path:
    """The same questions and sounds as the repository has them: JSON, and a folder of WAV files."""
    rows = []
    sounds = tmp_path / "released" / "test-mini-audios"
    sounds.mkdir(parents=True)
    for row in pyarrow.parquet.read_table(hub / "test_mini.parquet").to_pylist():
        more = json.loads(row["other_attributes"])
        texts = {"choices": [text[4:] for text in row["choices"]], "answer": row["answer"][4:]}
        where = {"question": row["instruction"], "audio_id": f"./test-mini-audios/{more['id']}.wav"}
        rows.append({**more, **where, **texts})
        (sounds / f"{more['id']}.wav").write_bytes(row["context"]["bytes"])
    (tmp_path / "released" / "mmau-test-mini.json").write_text(json.dumps(rows))
    return tmp_path / "released"


def test_prompts_options_and_judge_are_those_of_the_released_form(hub: Path, released: Path) -> None:
    tasks = {"mmau_hub": hub, "mmau": released}
    asked = []
    for name, folder in tasks.items():
        task = load_shipped(name)
        docs = task.docs(str(folder)).docs
        assert len(docs) == 9
        spec = next(spec for kind, spec in task.config.judge or () if kind == "align")
        calls = [JudgeKind("align", spec, task).calls(doc, parted("a thing"))[0] for doc in docs]
        asked.append(
            [
                (task.requests(doc)[0].prompt, task.target(doc))
                + (call.request.prompt, [doc.fields[key] for key in ("task", "difficulty", "sub-category")])
                for doc, call in zip(docs, calls, strict=True)
            ]
        )
    for one, other in zip(*asked, strict=True):
        assert one == other


def test_a_run_hears_the_sounds_of_the_file(hub: Path) -> None:
    found = simple_evaluate("dummy", ["mmau_hub"], {"answer": "thing 0A"}, data_dir=str(hub), no_cache=True)
    assert [sample.status for sample in found.samples["mmau_hub"]] == ["ok"] * 9
    assert all(clip["seconds"] > 0 for sample in found.samples["mmau_hub"] for clip in sample.audio)
