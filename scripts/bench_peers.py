"""Other harnesses on the same text rows, in the same run: EleutherAI's lm-eval, and what the other two would need.

Each peer has a virtual environment of its own below build/peers, made on demand. lm-eval reads torch, transformers and
datasets from this project's environment (a .pth file), so that both run on the same versions and nothing large is fetched.
One YAML serves both sides: a question with four options, `generate_until`, exact match; a dummy model answers.
https://github.com/EleutherAI/lm-evaluation-harness
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import sysconfig
from pathlib import Path

from bench_cost import ROOT, Cost, Figure, environment, marathon, measured

LM_EVAL = "lm-eval==0.4.13"
#: Peers that are not run, and why; told beside the figures.
NOT_RUN = {
    "lmms-eval 0.7.3": "135 packages and an own torch, torchvision and timm; its wheels' torchvision does not fit a torch "
    "built for CPUs, and every command then ends at the import",
    "inspect_ai 0.3.285": "its mock model counts tokens with tiktoken, which fetches its table from the net at the first call; "
    "offline every sample is left out (and the exit code is 0)",
}
WORDS = [
    "river",
    "mill",
    "train",
    "rain",
    "dog",
    "station",
    "glass",
    "window",
    "of",
    "heard",
    "loud",
    "quiet",
    "before",
    "after",
    "two",
    "three",
]
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


def task_of(folder: Path, count: int) -> Path:
    """The YAML's folder, with so many rows beside it."""
    draw = random.Random(0)
    folder.mkdir(parents=True)
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(count):
            choices = [" ".join(draw.choices(WORDS, k=4)) for _ in range(4)]
            question = " ".join(draw.choices(WORDS, k=14)) + "?"
            row = {"id": number, "question": question, "choices": choices, "answer": draw.choice("ABCD")}
            file.write(json.dumps(row) + "\n")
    (folder / "text.yaml").write_text(TASK.format(rows=folder / "rows.jsonl"))
    return folder


def lm_eval() -> Path:
    """lm-eval's command, installed on the first call; pip says why where it cannot be."""
    home = ROOT / "build" / "peers" / "lm_eval"
    command = home / "bin" / "lm-eval"
    if command.exists():
        return command
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run(
        [python, "-c", where], capture_output=True, text=True, check=True
    ).stdout.strip()
    (Path(packages) / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", str(ROOT / "constraints.txt"), LM_EVAL], check=True)
    return command


def peers(folder: Path, count: int) -> list[Figure]:
    """CPU seconds and peak memory of both sides without a cache, and again with every answer kept."""
    task, command = task_of(folder / "peer", count), str(lm_eval())
    env = environment(
        MARATHON_EVAL_CACHE=str(folder / "peer-cache"), HF_DATASETS_CACHE=str(folder / "datasets")
    )
    theirs = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    flags = ["--model", "dummy", "--tasks", "text", "--include_path", str(task)]
    lm = [command, "run", *flags, "--output_path", str(folder / "lm"), "--log_samples"]
    ours = marathon(*flags, "--output_path", str(folder / "ours"))
    measured(
        [*lm, "--limit", "8"], theirs
    )  # datasets makes its copy of the rows once, and Python its compiled files
    costs = {
        "no cache": (measured([*ours, "--no_cache"], env), measured(lm, theirs)),
        "first run, answers kept": (measured(ours, env), None),
        "rerun, all answers kept": (measured(ours, env), kept(lm, folder, theirs)),
    }
    return [figure for name, (own, their) in costs.items() for figure in compared(name, count, own, their)]


def kept(command: list[str], folder: Path, env: dict[str, str]) -> Cost:
    """lm-eval's second run with --use_cache."""
    cached = [*command, "--use_cache", str(folder / "lm-cache")]
    measured(cached, env)
    return measured(cached, env)


def compared(name: str, count: int, own: Cost, their: Cost | None) -> list[Figure]:
    """The two costs and their quotient."""
    group = f"{count:,} text rows, dummy model: {name}"
    found = [
        Figure(group, "marathon-eval", own.cpu_s, "CPU-s"),
        Figure(group, "marathon-eval, peak", own.peak_mb, "MB"),
    ]
    if their is None:
        return found
    return [
        *found,
        Figure(group, LM_EVAL, their.cpu_s, "CPU-s"),
        Figure(group, f"{LM_EVAL}, peak", their.peak_mb, "MB"),
        Figure(group, "times less CPU", their.cpu_s / own.cpu_s, "x", ">= 8"),
    ]
