"""Makes the page of `marathon-eval view` from run folders, again whenever a run is finished, and says how runs go on."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from marathon_eval.api.audio import Audio
from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.files import sha256_of
from marathon_eval.report.clips import ServedClips
from marathon_eval.results.outcomes import deciding, outcome_counts, outcome_of
from marathon_eval.results.unfinished import UnfinishedRun, partial_rows, unfinished_below

#: Files that every browser plays by itself; a stretch, a changed clip and every other format is sent as WAV.
PLAYED = {".wav": "audio/wav", ".mp3": "audio/mpeg", ".flac": "audio/flac", ".ogg": "audio/ogg"}
WAV_RATE = 16_000
#: Bars of a waveform.
PEAKS = 1200
#: Decoded clips that are kept, for players that ask for them part by part.
KEPT_SOUNDS = 4


@dataclass
class ServedPage:
    """Renders the runs in, or below, `runs` for a server. `data_dirs`, `use_cache` and `with_published` are report's."""

    runs: Sequence[str]
    data_dirs: Sequence[str] = ()
    use_cache: str | None = None
    with_published: bool = False
    clips: ServedClips = field(default_factory=ServedClips)
    _text: str = ""
    _version: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def html(self) -> str:
        """Return the page; it is made again if runs were finished since. Raises MarathonError for a run named itself."""
        with self._lock:
            version = self.version()
            if version != self._version:
                self._text, self.clips = self._rendered()
                self._version = version
            return self._text

    def version(self) -> str:
        """Return a hash of the finished runs at hand."""
        return sha256_of([[str(f), f.stat().st_mtime_ns] for f in self._finished()])

    def _finished(self) -> list[Path]:
        paths = [Path(run) for run in self.runs]
        found = [
            [path / "results.json"] if (path / "results.json").is_file() else path.glob("**/results.json")
            for path in paths
        ]
        return sorted(file for files in found for file in files)

    def _rendered(self) -> tuple[str, ServedClips]:
        from marathon_eval.report.damaged import without_damaged
        from marathon_eval.report.gather import make_report
        from marathon_eval.report.page import render_page, waiting_page
        from marathon_eval.report.runs import read_cells

        finished = [run for run in self.runs if any(Path(run).glob("**/results.json"))]
        if not finished:
            if not self.unfinished():
                raise MarathonError(f"{self.runs[0]}: no results.json here or below, and no run that goes on")
            return waiting_page(), ServedClips()
        clips = ServedClips()

        def made(leave_out: Mapping[Path, str]) -> str:
            clips.clear()
            report = make_report(read_cells(finished, leave_out), self.with_published)
            here = Path(finished[0]) / "view.html"
            return render_page(
                report, here, self.with_published, 0, self.data_dirs, self.use_cache, served=clips
            )

        text, _ = without_damaged(finished, made)
        return text, clips

    def unfinished(self) -> list[UnfinishedRun]:
        """Return the newest run without results of each path, whether it goes on or was killed."""
        found = [unfinished_below(Path(run)) for run in self.runs]
        return [run for run in found if run is not None]

    def status(self) -> dict[str, Any]:
        """Return what the page asks for every other second: `version`, and the counts of the runs that go on."""
        return {"version": self.version(), "runs": [_counts(run) for run in self.unfinished()]}


def _counts(run: UnfinishedRun) -> dict[str, Any]:
    tasks = []
    for name, task in run.facts.get("tasks", {}).items():
        headline = task.get("headline") or {}
        reading = headline.get("reading") or next(iter(task.get("readings", ())), "")
        codes = [
            outcome_of(row, reading, deciding(headline, task.get("metrics"))).code
            for row in partial_rows(run.folder, name)
        ]
        tasks.append(
            {"task": name, "rows": len(codes), "of": task.get("n_loaded"), "outcomes": outcome_counts(codes)}
        )
    facts = {name: run.facts.get(name) for name in ("model", "started")}
    return {**facts, "goes_on": run.goes_on, "tasks": tasks}


@lru_cache(maxsize=KEPT_SOUNDS)
def heard_as_wav(audio: Audio) -> bytes:
    """Return the very stretch that the model heard, changed as it was, as mono WAV at 16 kHz. Raises AudioError."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, audio.samples(WAV_RATE), WAV_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


@lru_cache(maxsize=KEPT_SOUNDS * 8)
def peaks_of(audio: Audio) -> dict[str, Any]:
    """Return the length in seconds, and the loudest sample (0-255) of each of PEAKS equal parts. Raises AudioError."""
    import numpy as np

    samples = np.abs(audio.samples(WAV_RATE))
    if not len(samples):
        raise AudioError(f"{audio.path}: no sample")
    starts = np.unique(np.linspace(0, len(samples), min(PEAKS, len(samples)), endpoint=False).astype(int))
    loudest = np.minimum(255, np.maximum.reduceat(samples, starts) * 255).astype(int)
    return {"seconds": len(samples) / WAV_RATE, "peaks": loudest.tolist()}
