"""Turns text into speech with packages: Flite's recorded voices with Debian's tools, else eSpeak NG from PyPI."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from demo.fetch import Shelf, Unpacked
from demo.origin import Origin, Recording
from demo.waves import Wave, join, levelled, read, resampled, silence
from marathon_eval.errors import MarathonError

ESPEAK = "espeakng-loader==0.2.4"
#: Flite links to ALSA's library, which a bare machine lacks; newer releases have it under the second name.
SOUND_LIBRARIES = ("libasound2", "libasound2t64")


@dataclass(frozen=True)
class Voice:
    """Describes a voice: eSpeak NG's voice and settings, and the Flite voice to prefer, if any.

    eSpeak's voices with "breath" (f2 and f3 among them) differ from one run to the next: not to be used here.
    """

    voice: str = "en-us"
    rate: int = 160
    pitch: int = 50
    range: int = 50
    volume: int = 100
    flite: str | None = None


class Speaker:
    """Speaks a text sentence by sentence. Raises MarathonError when no engine is available."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def say(self, text: str, voice: Voice, pause: float = 0.35, rms: float = 0.08) -> Recording:
        """Speak all sentences with `pause` seconds after each, levelled to `rms`."""
        sentences = [part for part in re.split(r"(?<=[.!?])\s+", text.strip()) if part]
        if voice.flite and self._flite:
            package, name = self._flite, voice.flite
            waves = [_flite_says(package.folder, self._flite_libraries, part, name) for part in sentences]
        else:
            package, name = self._espeak, voice.voice
            waves = [_espeak_says(package.folder, part, voice) for part in sentences]
        provenance = f"spoken by {package.label}, voice {name}"
        origin = Origin("synthetic", provenance, package.licence)
        return Recording(levelled(join(waves, silence(pause)), rms), origin, text)

    @cached_property
    def _espeak(self) -> Unpacked:
        package = self.shelf.pypi(
            ESPEAK, "GPL-3.0-or-later", lambda name: name.startswith("espeakng_loader/")
        )
        if package is None:
            raise MarathonError(f"no text-to-speech: {ESPEAK} cannot be had ({self.shelf.missing[ESPEAK]})")
        return package

    @cached_property
    def _flite(self) -> Unpacked | None:
        """Return Flite if it runs here; otherwise record the reason with the shelf's missing packages."""
        program = self.shelf.debian("flite", "BSD-like", lambda name: name.endswith("/bin/flite"))
        if program is None:
            return None
        try:
            _flite_says(program.folder, self._flite_libraries, "One.", "slt")
        except (subprocess.SubprocessError, OSError) as error:
            self.shelf.missing["flite"] = f"does not run here ({error})"
            return None
        return program

    @cached_property
    def _flite_libraries(self) -> str:
        packages = [self._library("libflite1"), self._library(*SOUND_LIBRARIES)]
        folders = {
            str(file.parent) for package in packages if package for file in package.folder.rglob("*.so*")
        }
        return os.pathsep.join(sorted(folders))

    def _library(self, *names: str) -> Unpacked | None:
        """Return the first of these packages that is available; the others then do not count as missing."""
        for name in names:
            package = self.shelf.debian(name, "as Debian declares", lambda path: ".so" in path)
            if package:
                for other in names:
                    self.shelf.missing.pop(other, None)
                return package
        return None


def _flite_says(folder: Path, libraries: str, text: str, name: str) -> Wave:
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "said.wav"
        program = next(folder.rglob("bin/flite"))
        subprocess.run(
            [str(program), "-voice", name, "-t", text, "-o", str(file)],
            env={**os.environ, "LD_LIBRARY_PATH": libraries},
            check=True,
            capture_output=True,
            timeout=120,
        )
        return read(file)


def _espeak_says(folder: Path, text: str, voice: Voice) -> Wave:
    root = folder / "espeakng_loader"
    names = ("libespeak-ng.so", "libespeak-ng.dylib", "espeak-ng.dll")
    library = next(root / name for name in names if (root / name).is_file())
    done = subprocess.run(
        [sys.executable, "-m", "demo.espeak", str(library), str(root)],
        input=json.dumps({**asdict(voice), "text": text}).encode(),
        cwd=Path(__file__).resolve().parent.parent,
        check=False,
        capture_output=True,
        timeout=120,
    )
    if done.returncode:
        raise MarathonError(f"eSpeak NG: {done.stderr.decode(errors='replace').strip()}")
    rate, _, samples = done.stdout.partition(b"\n")
    return resampled(np.frombuffer(samples, "<i2").astype(np.float32) / np.float32(32768), int(rate))
