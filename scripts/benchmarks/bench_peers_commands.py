"""Installs each other harness below build/peers, runs it on the text rows, and counts the rows that it answered.

lm-eval and lmms-eval read torch, transformers and datasets from this project's environment (a .pth file), so that all
run on the same versions and nothing large is downloaded. Of lmms-eval's 60 requirements only those are installed that
a text task and its dummy model import, so its figures are a lower bound. inspect_ai needs no torch and gets all of
its requirements. https://github.com/EleutherAI/lm-evaluation-harness, https://github.com/EvolvingLMMs-Lab/lmms-eval,
https://github.com/UKGovernmentBEIS/inspect_ai
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from bench_cost import ROOT

LM_EVAL, LMMS_EVAL, INSPECT = "lm-eval==0.4.13", "lmms_eval==0.7.3", "inspect_ai==0.3.285"
#: What lmms-eval imports for a text task and this project's environment has not.
LMMS_IMPORTS = ("loguru", "pytablewriter", "sacrebleu")
#: A wheel of torchvision that was built for another torch registers no operators, and its import then fails at the two whose
#: shapes it describes. Nothing here calls them: a text task looks at no picture.
OPERATORS = """\
import torch

library = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""
#: Read by lm-eval, by lmms-eval and by us.
TASK = """\
task: text
dataset_path: json
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: generate_until
doc_to_text: "{{{{ question }}}}\\nA. {{{{ choices[0] }}}}\\nB. {{{{ choices[1] }}}}\\nC. {{{{ choices[2] }}}}\\nD. {{{{ choices[3] }}}}\\nAnswer:"
doc_to_target: answer
generation_kwargs: {{until: ["\\n"], max_gen_toks: 16}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
metadata: {{version: 1}}
"""
#: The same for inspect_ai, whose tasks are Python. Each answer brings its usage, as a provider's does: inspect would count
#: it with tiktoken, whose table comes from the net.
INSPECT_TASK = """\
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import Sample, json_dataset
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from inspect_ai.scorer import match
from inspect_ai.solver import generate


def sample(row):
    options = "\\n".join(f"{letter}. {text}" for letter, text in zip("ABCD", row["choices"]))
    return Sample(id=row["id"], input=f"{row['question']}\\n{options}\\nAnswer:", target=row["answer"])


def answer(messages, tools, tool_choice, config):
    output = ModelOutput.from_content("mockllm/model", "A")
    output.usage = ModelUsage(input_tokens=60, output_tokens=1, total_tokens=61)
    return output


@task
def text():
    return Task(
        dataset=json_dataset(str(Path(__file__).parent / "rows.jsonl"), sample),
        solver=generate(),
        scorer=match(location="exact"),
        model=get_model("mockllm/model", custom_outputs=answer),
    )
"""


class Peer(NamedTuple):
    """Describes an installed harness; `keeping` holds the additional flags that make it store every answer."""

    name: str
    command: list[str]
    keeping: list[str]
    #: How many rows the newest of its logs holds an answer of.
    answered: Callable[[], int]


def installed(name: str, *installs: Iterable[str], shared: str = "") -> Path:
    """Create a harness's environment on the first call and return its bin folder; `shared` becomes its .pth file.

    Raises subprocess.CalledProcessError where pip cannot; pip has said why.
    """
    home = ROOT / "build" / "peers" / name
    done = home / "installed"
    if done.exists():
        return home / "bin"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    (packages(home) / "shared.pth").write_text(shared)
    for words in installs:
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *words], check=True)
    done.touch()
    return home / "bin"


def packages(home: Path) -> Path:
    """Return the site-packages of an environment below `home`, which uses this process's Python."""
    return Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))


def lm_eval(task: Path, out: Path) -> Peer:
    pinned = ["--constraint", str(ROOT / "constraints.txt"), LM_EVAL]
    command = installed("lm_eval", pinned, shared=sysconfig.get_path("purelib") + "\n") / "lm-eval"
    flags = ["--model", "dummy", "--tasks", "text", "--include_path", str(task), "--log_samples"]
    return Peer(
        LM_EVAL,
        [str(command), "run", *flags, "--output_path", str(out / "lm_eval")],
        ["--use_cache", str(out / "lm_eval_cache")],
        lambda: lines(out / "lm_eval"),
    )


def lmms_eval(task: Path, out: Path) -> Peer:
    pinned = ["--constraint", str(ROOT / "constraints.txt"), *LMMS_IMPORTS]
    ours = sysconfig.get_path("purelib") + "\n"
    folder = installed("lmms_eval", pinned, ["--no-deps", LMMS_EVAL], shared=ours)
    (packages(folder.parent) / "torchvision_operators.py").write_text(OPERATORS)
    # only now: each start of this Python imports torch from here on, pip's too
    (packages(folder.parent) / "shared.pth").write_text(ours + "import torchvision_operators\n")
    flags = ["--model", "dummy", "--tasks", "text", "--include_path", str(task), "--log_samples"]
    return Peer(
        LMMS_EVAL,
        [str(folder / "lmms-eval"), *flags, "--output_path", str(out / "lmms_eval")],
        ["--use_cache", str(out / "lmms_eval_cache")],
        lambda: lines(out / "lmms_eval"),
    )


def inspect_ai(task: Path, out: Path) -> Peer:
    command = str(installed("inspect_ai", [INSPECT]) / "inspect")
    (task / "inspect_text.py").write_text(INSPECT_TASK)
    flags = ["--display", "none", "--log-dir", str(out / "inspect")]

    def answered() -> int:
        log = str(newest((out / "inspect").glob("*.eval")))
        header = subprocess.run(
            [command, "log", "dump", "--header-only", log], capture_output=True, text=True, check=True
        )
        return int(json.loads(header.stdout)["results"]["completed_samples"])

    return Peer(
        INSPECT,
        [
            command,
            "eval",
            "inspect_text.py",
            *flags,
        ],  # it knows no absolute path: the task's folder is the current one
        ["--cache", "true"],  # in INSPECT_CACHE_DIR
        answered,
    )


def lines(folder: Path) -> int:
    """Count the lines of the newest samples file, as lm-eval and lmms-eval write it."""
    with newest(folder.rglob("*samples_text*.jsonl")).open() as file:
        return sum(1 for _ in file)


def newest(paths: Iterable[Path]) -> Path:
    return max(paths, key=lambda path: path.stat().st_mtime)
