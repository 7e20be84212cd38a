"""Tests what generates responses again: the cache key holds the request and the model, nothing of the task."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import make_audiomarathon_data, tiny_checkpoints
from marathon_eval import simple_evaluate
from marathon_eval.api.results import RunResult

TASK = """\
include: gtzan.yaml
task: mine
"""
ROWS = 6


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_audiomarathon_data.build(tmp_path / "data", {"gtzan": ROWS})


def evaluated(tmp_path: Path, data: Path, task: str = TASK, **model_args: Any) -> RunResult:
    """One run of the dummy on a dropped-in task, with the test's own cache."""
    folder = tmp_path / "mine"
    folder.mkdir(exist_ok=True)
    (folder / "mine.yaml").write_text(task)
    arguments = {"mode": "random", **model_args}
    return simple_evaluate("dummy", ["mine"], arguments, include_path=(str(folder),), data_dir=str(data))


@pytest.mark.parametrize(
    "change",
    [
        "metric_list: [{metric: accuracy}, {metric: weighted_f1}]\nheadline: null\n",
        """filter_list: [{name: strict, filter: [{function: choice_text}]}]
metric_list: [{metric: accuracy}]
headline: null
""",
        "doc_to_target: '{{ choice_a }}'\n",
        "metadata: {version: 9}\n",
    ],
    ids=["metric", "filter", "target", "version"],
)
def test_scoring_otherwise_asks_nothing(tmp_path: Path, data: Path, change: str) -> None:
    first = evaluated(tmp_path, data)
    assert first.cache == {"hits": 0, "misses": ROWS}
    again = evaluated(tmp_path, data, TASK + change)
    assert again.cache == {"hits": ROWS, "misses": 0}


@pytest.mark.parametrize(
    ("change", "arguments"),
    [
        ("doc_to_text: 'Genre? {{ options }}'\n", {}),
        ("generation_kwargs: {max_new_tokens: 7}\n", {}),
        ("system: Be brief.\n", {}),
        ("choice_layout: '(A)'\n", {}),
        ("", {"seed": 5}),
        ("", {"choices": "AB"}),
    ],
    ids=["prompt", "generation", "system", "layout", "seed", "setting"],
)
def test_asking_otherwise_asks_all(
    tmp_path: Path, data: Path, change: str, arguments: dict[str, Any]
) -> None:
    evaluated(tmp_path, data)
    assert evaluated(tmp_path, data, TASK + change, **arguments).cache == {"hits": 0, "misses": ROWS}


def test_one_changed_clip_asks_for_that_clip(tmp_path: Path, data: Path) -> None:
    evaluated(tmp_path, data)
    clip = min((data / "GTZAN").rglob("*.wav"))
    raw = bytearray(clip.read_bytes())
    raw[-1] ^= 1
    clip.write_bytes(raw)
    assert evaluated(tmp_path, data).cache == {"hits": ROWS - 1, "misses": 1}


CHANGES = {
    "ratio": {"ratio": 0.6},
    "layer": {"layer": 1},
    "press": {"press": "frame"},
    "press seed": {"seed": 3},
    "no press": {"press": None, "ratio": None},
    "dtype": {"dtype": "bfloat16"},
    "kernel": {"attn_implementation": "eager"},
    "system prompt": {"system_prompt": "You listen."},
    "order": {"audio_first": False},
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))


def fingerprint(checkpoint: Path, **changes: Any) -> dict[str, Any]:
    from marathon_eval.api.registry import Registry
    from marathon_eval.evaluator.evaluator import build_model

    arguments = {"pretrained": str(checkpoint), "press": "dart", "ratio": 0.5, **changes}
    given = {name: value for name, value in arguments.items() if value is not None}
    return build_model(Registry(), "qwen_omni", given).fingerprint


@pytest.mark.parametrize("changed", CHANGES)
def test_every_setting_that_changes_answers_is_in_the_fingerprint(checkpoint: Path, changed: str) -> None:
    assert fingerprint(checkpoint, **CHANGES[changed]) != fingerprint(checkpoint)


def test_the_hubs_revision_is_in_the_fingerprint(checkpoint: Path) -> None:
    name = {"pretrained": "Qwen/Qwen2.5-Omni-7B"}
    assert fingerprint(checkpoint, **name) != fingerprint(checkpoint, **name, revision="0" * 40)


def test_what_only_carries_the_answer_is_not(checkpoint: Path) -> None:
    assert fingerprint(checkpoint, batch_size=4, device="cpu") == fingerprint(checkpoint)


def test_a_cached_rerun_loads_no_weights_and_no_torch(checkpoint: Path, tmp_path: Path, data: Path) -> None:
    """The real command twice; the second time neither torch nor what servers need (3 MB) is imported."""
    code = (
        "import sys\nfrom marathon_eval.cli.main import main\ncode = main(sys.argv[1:])\n"
        "print(code, sorted({'torch', 'transformers', 'safetensors', 'asyncio', 'ssl'} & set(sys.modules)), file=sys.stderr)\n"
    )
    args = f"pretrained={checkpoint},press=dart,ratio=0.5"
    flags = [
        "--model",
        "qwen_omni",
        "--model_args",
        args,
        "--tasks",
        "gtzan",
        "--data_dir",
        str(data),
        "--json",
    ]
    seen = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, *flags],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env=os.environ,
        )
        seen.append((json.loads(done.stdout)["cache"], done.stderr.splitlines()[-1]))
    assert seen[0][0] == {"hits": 0, "misses": ROWS}
    assert "torch" in seen[0][1]
    assert seen[1] == ({"hits": ROWS, "misses": 0}, "0 []")
