"""Tests archives of runs in windows, and the folder that an archive is written to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from helpers import make_audiomarathon_data
from helpers.minimal_task import write_task
from marathon_eval.cli.main import main
from marathon_eval.evaluator.rescore.verify_archive import verify_archive

MakeWav = Callable[..., Path]


def run(folder: Path, *flags: str) -> Path:
    """Run the dummy model with the folder's cache; return the folder of its results."""
    kept = ["--use_cache", str(folder / "kept"), "--output_path", str(folder / "out")]
    assert main(["run", "--model", "dummy", "--model_args", "mode=random", *kept, *flags]) == 0
    return folder / "out"


def packed(folder: Path, target: Path, *flags: str) -> Path:
    """Pack the newest run into `target`, and return it."""
    command = [
        "pack",
        str(folder / "out"),
        "--output",
        str(target),
        "--use_cache",
        str(folder / "kept"),
        *flags,
    ]
    assert main(command) == 0
    return target


def test_a_run_in_windows_is_verified_beside_a_run_of_whole_clips(tmp_path: Path, make_wav: MakeWav) -> None:
    """The cache's answer about the whole clip is not that of the windows."""
    rows = [{"q": f"Which? {n}", "a": "A", "c": ["x", "y", "z", "w"], "path": f"{n}.wav"} for n in range(8)]
    for row in rows:
        make_wav(row["path"], seconds=4.0, hz=300.0)
    keys = 'doc_to_text: "{{ q }}"\ndoc_to_target: a\ndoc_to_choice: c\ndoc_to_audio: path\nmetric_list: [{metric: accuracy}]\n'
    task = write_task(tmp_path, keys, rows)
    run(tmp_path, "--tasks", str(task))
    flags = ["--tasks", str(task), "--long_audio", "window:seconds=1,combine=vote"]
    run(tmp_path, *flags)
    made = packed(tmp_path, tmp_path / "run.tar.gz", "--include_path", str(tmp_path))
    assert verify_archive(made).differences == []


def test_the_folder_of_an_archive_is_made(tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", 2)
    run(tmp_path, "--tasks", "gtzan", "--data_dir", str(data))
    assert packed(tmp_path, tmp_path / "packs" / "new" / "run.tar.gz", "--data_dir", str(data)).is_file()
