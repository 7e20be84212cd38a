"""Passages read aloud by an external program, for benchmarks that are spoken texts (RACE).

RACE: https://www.cs.cmu.edu/~glai1/data/race/, one JSON per passage with article, questions, options, answers. The
program is the user's (`--tts "espeak-ng -f {text} -w {wav}"`); its command is part of each sound's name, so that another voice is
another sound and an unbroken one is never read twice.
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
    """One clip per passage, its sound below `folder`, with `asked`: its questions. Raises MarathonError."""
    if tts is None:
        raise MarathonError(
            '--tts: this recipe is read aloud; give a program, e.g. "espeak-ng -f {text} -w {wav}"'
        )
    words = shlex.split(tts)
    if not any("{wav}" in word for word in words) or not any("{text}" in word for word in words):
        raise MarathonError(
            "--tts: the command must name {text} (the passage's file) and {wav} (the sound's)"
        )
    return [_spoken(text, source, folder, words) for text in texts]


def _spoken(path: str, source: Path, folder: Path, words: Sequence[str]) -> SourceClip:
    passage = read_passage(source / path)
    named = hashlib.sha256(json.dumps([*words, passage["article"]]).encode()).hexdigest()[:12]
    pure = PurePosixPath(path)
    wav = (pure.parent / f"{pure.stem}.{named}.wav").as_posix()
    if not (folder / wav).is_file():
        write_atomic(folder / wav, read_aloud(passage["article"], words))
    clip = header(folder, wav)
    return clip.knowing(stem=pure.stem, text=path, article_id=passage["id"], asked=passage["asked"])


def read_passage(path: Path) -> dict[str, Any]:
    """A RACE file as article, id and questions. Raises MarathonError."""
    try:
        passage = json.loads(read_text(path))
        asked = [
            _asked(*row)
            for row in zip(passage["questions"], passage["options"], passage["answers"], strict=True)
        ]
        article = str(passage["article"]).strip()
        if not article or not asked:
            raise ValueError("no article or no question")
        return {"article": article, "id": str(passage.get("id", path.name)), "asked": asked}
    except (ValueError, KeyError, TypeError) as error:
        raise MarathonError(f"{path}: no passage in RACE's form ({type(error).__name__}: {error})") from None


def _asked(question: str, options: Sequence[str], answer: str) -> BuiltQuestion:
    place = string.ascii_uppercase.index(answer)
    if place >= len(options) or len(set(options)) != len(options):
        raise ValueError(f"answer {answer} does not name one of {len(options)} different options")
    return BuiltQuestion(question, tuple(options), place)


def read_aloud(text: str, words: Sequence[str]) -> bytes:
    """The sound file that the program makes of a text. Raises MarathonError when it fails or makes none."""
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
            told = (done.stderr.strip().splitlines() or ["it wrote no sound"])[-1]
            raise MarathonError(f"--tts: {words[0]}: exit {done.returncode}: {told}")
        return Path(files["wav"]).read_bytes()
