"""Converts passages to speech with an external program, for benchmarks of texts read aloud (RACE).

RACE: https://www.cs.cmu.edu/~glai1/data/race/, one JSON per passage with article, questions, options, answers. The
user names the program (`--tts "espeak-ng -f {text} -w {wav}"`). Each file's name has a hash of the command and the
text, so that another voice gives another file, and a complete file is not made again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import string
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from marathon_eval.corpus.build.journal import write_atomic
from marathon_eval.corpus.build.question import BuiltQuestion
from marathon_eval.corpus.build.source import SourceClip, header
from marathon_eval.corpus.build.tables import read_text
from marathon_eval.errors import MarathonError

TIMEOUT_SECONDS = 600.0


def spoken(texts: Sequence[str], source: Path, folder: Path, tts: str | None) -> list[SourceClip]:
    """Return one clip per passage, with its audio below `folder` and its questions in the field `asked`.

    Makes the audio files that do not exist yet. Raises MarathonError.
    """
    if tts is None:
        raise MarathonError(
            '--tts: this recipe has texts to be read aloud; give a program, e.g. "espeak-ng -f {text} -w {wav}"'
        )
    words = shlex.split(tts)
    if not any("{wav}" in word for word in words) or not any("{text}" in word for word in words):
        raise MarathonError(
            "--tts: the command must name {text} (the passage's file) and {wav} (the audio file to write)"
        )
    return [_spoken(text, source, folder, words) for text in texts]


def _spoken(path: str, source: Path, folder: Path, words: Sequence[str]) -> SourceClip:
    passage = read_passage(source / path)
    digest = hashlib.sha256(json.dumps([*words, passage["article"]]).encode()).hexdigest()[:12]
    pure = PurePosixPath(path)
    wav = (pure.parent / f"{pure.stem}.{digest}.wav").as_posix()
    if not (folder / wav).is_file():
        write_atomic(folder / wav, read_aloud(passage["article"], words))
    clip = header(folder, wav)
    return clip.knowing(stem=pure.stem, text=path, article_id=passage["id"], asked=passage["asked"])


def read_passage(path: Path) -> dict[str, Any]:
    """Read a RACE file as `article`, `id` and questions (`asked`). Raises MarathonError."""
    try:
        passage = json.loads(read_text(path))
        questions = [
            _question(*row)
            for row in zip(passage["questions"], passage["options"], passage["answers"], strict=True)
        ]
        article = str(passage["article"]).strip()
        if not article or not questions:
            raise ValueError("no article or no question")
        return {"article": article, "id": str(passage.get("id", path.name)), "asked": questions}
    except (ValueError, KeyError, TypeError) as error:
        raise MarathonError(
            f"{path}: not a passage in RACE's format ({type(error).__name__}: {error})"
        ) from None


def _question(question: str, options: Sequence[str], answer: str) -> BuiltQuestion:
    place = string.ascii_uppercase.index(answer)
    if place >= len(options) or len(set(options)) != len(options):
        raise ValueError(f"answer {answer} does not name one of {len(options)} different options")
    return BuiltQuestion(question, tuple(options), place)


def read_aloud(text: str, words: Sequence[str]) -> bytes:
    """Run the program on a text and return the audio file's bytes. Raises MarathonError when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        files = {"text": os.path.join(folder, "passage.txt"), "wav": os.path.join(folder, "passage.wav")}
        Path(files["text"]).write_text(text, encoding="utf-8")
        command = [word.replace("{text}", files["text"]).replace("{wav}", files["wav"]) for word in words]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MarathonError(f"--tts: {words[0]}: {error}") from None
        if done.returncode or not os.path.isfile(files["wav"]):
            message = (done.stderr.strip().splitlines() or ["it wrote no audio file"])[-1]
            raise MarathonError(f"--tts: {words[0]}: exit {done.returncode}: {message}")
        return Path(files["wav"]).read_bytes()
