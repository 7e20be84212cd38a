"""Renders the first prompt of every task of MMAU-Pro, VoiceBench, LAT-Bench and BLAB, on their miniatures."""

from __future__ import annotations

import contextlib
from pathlib import Path

from demo import assistant_layouts as made
from helpers.audiomarathon_prompts import load_shipped

_KINDS = {
    "mmau_pro": ("closed", "open", "instruction_following"),
    "voicebench": ("alpacaeval", "commoneval", "wildvoice", "sdqa", "mmsu", "openbookqa", "ifeval"),
    "lat_bench": ("tag_en", "tag_cn"),
    "blab": (
        "speaker_number",
        "entire_duration",
        "event_duration",
        "word_localization",
        "named_entity_localization",
        "advertisement_localization",
    ),
}
#: Benchmarks that are read from a folder of their own; the other is named as on the hub.
_FOLDERS = ("mmau_pro", "lat_bench", "blab")
#: Every task of the four benchmarks.
ASSISTANT_TASKS = [f"{benchmark}_{kind}" for benchmark, kinds in _KINDS.items() for kind in kinds]


def data_folder(name: str) -> str | None:
    """Return a task's --data_dir below the folder of the miniatures; None for one that is named as on the hub."""
    return next((root for root in _FOLDERS if name.startswith(root)), None)


def make_miniatures(folder: Path) -> None:
    """Write all miniatures below a folder."""
    for name in _FOLDERS:
        (folder / name).mkdir()
    made.mmau_pro(folder / "mmau_pro")
    made.voicebench(folder)
    made.lat_bench(folder / "lat_bench")
    made.blab(folder / "blab")


def rendered_assistants(folder: Path) -> dict[str, str]:
    """Return the prompts by task; the miniatures lie in `folder`."""
    prompts = {}
    with contextlib.chdir(folder):
        for name in ASSISTANT_TASKS:
            task = load_shipped(name)
            prompts[name] = task.requests(task.docs(data_folder(name)).docs[0])[0].prompt
    return prompts
