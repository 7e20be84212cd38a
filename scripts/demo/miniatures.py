"""Writes miniatures of benchmarks: a few rows each in the published layout, with own words and a second of noise as sound."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from demo import assistant_layouts, spoken_layouts
from demo.miniature_sounds import sound
from marathon_eval.errors import MarathonError, unknown

DIALOGUE = """\
# Two turns about each recording; the second holds the model's own first answer.
dataset_path: json
dataset_kwargs: {data_files: rows.json}
doc_to_audio: audio
doc_to_messages:
  - "<audio> Which of these is heard: {{ options | join(', ') }}?"
  - "You said: {{ answers[0] }}. Are you sure, yes or no?"
doc_to_target: "{{ [answer, sure] }}"
generation_kwargs: {max_gen_toks: 8}
filter_list:
  - {name: first, turn: 1, filter: [{function: lowercase}]}
  - {name: second, turn: last, filter: [{function: lowercase}]}
metric_list: [{metric: exact_match}]
headline: {reading: second, metric: exact_match, scale: 100}
"""


def dialogue(root: Path) -> None:
    """Write rows.json with two rows, their sounds, and the task tasks/dialogue.yaml."""
    (root / "tasks").mkdir()
    (root / "tasks" / "dialogue.yaml").write_text(DIALOGUE)
    rows = []
    for number, answer in enumerate(("dog", "car")):
        (root / f"{answer}.wav").write_bytes(sound(number))
        options = ["dog", "cat", "car"]
        rows.append({"audio": f"{answer}.wav", "options": options, "answer": answer, "sure": "yes"})
    (root / "rows.json").write_text(json.dumps(rows, indent=1))


class Miniature(NamedTuple):
    """Says how a miniature is written, to which folder below the output's, and which words of a command read it there.

    A benchmark that is read by its name on the hub has the folder `.`.
    """

    write: Callable[[Path], None]
    folder: str
    flags: str


MINIATURES = {
    "dialogue": Miniature(
        dialogue, "dialogue", "--tasks dialogue --include_path dialogue --data_dir dialogue"
    ),
    "mmau_pro": Miniature(
        assistant_layouts.mmau_pro, "mmau_pro", "--tasks mmau_pro_closed --data_dir mmau_pro"
    ),
    "voicebench": Miniature(assistant_layouts.voicebench, ".", "--tasks voicebench_mmsu"),
    "lat_bench": Miniature(
        assistant_layouts.lat_bench, "lat_bench", "--tasks lat_bench_tag --data_dir lat_bench"
    ),
    "blab": Miniature(assistant_layouts.blab, "blab", "--tasks blab_speaker_number --data_dir blab"),
    "mmsu": Miniature(spoken_layouts.mmsu, ".", "--tasks mmsu"),
    "big_bench_audio": Miniature(
        spoken_layouts.big_bench_audio,
        ".",
        "--tasks big_bench_audio --data_dir ArtificialAnalysis/big_bench_audio",
    ),
    "voicegiraffe": Miniature(
        spoken_layouts.voicegiraffe, "voicegiraffe", "--tasks voicegiraffe --data_dir voicegiraffe"
    ),
}


def write_miniatures(out: Path, names: str) -> None:
    """Write the miniatures of these names, separated by commas, and print a command for each.

    Raises MarathonError for an unknown name and for a folder that cannot be written or has the miniature already.
    """
    chosen = [name.strip() for name in names.split(",") if name.strip()]
    for name in chosen:
        if name not in MINIATURES:
            raise unknown("--benchmarks", "miniature", name, MINIATURES)
    for name in chosen:
        miniature = MINIATURES[name]
        try:
            (out / miniature.folder).mkdir(parents=True, exist_ok=miniature.folder == ".")
            miniature.write(out / miniature.folder)
        except OSError as error:
            raise MarathonError(f"{out}: cannot write the miniature {name} ({error.strerror})") from None
        print(f"{name:16} cd {out} && marathon-eval --model dummy {miniature.flags}")
