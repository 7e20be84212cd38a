"""Checks that each command in a document prints the output of its verb.

A verb that is not in SHAPES fails the test of the documents: add what its command prints.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

RUN_TABLE = (
    r"^\s*task\s+reading\s+metric\s+value\s+95 % CI\s+accuracy\s+chance\s+n\s+coverage\s+parsed\s+time\s*$"
)
RUN_ROW = r"^\s+(\w+\s+)?\w+\s+[\w\[\]+]+( ↓)?( \*)?\s+\d\.\d{4}\s"
MARKDOWN = r"^\| model \| .*\|$"
#: By verb (`cache why` is one), regular expressions that the printed text must match, line by line.
SHAPES: dict[str, tuple[str, ...]] = {
    "run": (
        RUN_TABLE,
        RUN_ROW,
        r"\d+ answers from the cache, \d+ asked(?: window by window)?(?: \(judge: [^)]*\))?, \d+\.\d s\.",
    ),
    "run --predict_only": (
        RUN_TABLE,
        r"^\s+\w+\s+\w+\s+[\w\[\]+]+( \*)?\s+none\s",
        r"\d+ answers from the cache, \d+ asked, ",
    ),
    "run -C SET": (
        r"^  run  +race  +gtzan *$",
        r"^  qwen_omni dart 0\.5 \(silence, limit 2\)  +\d+\.\d",
        r"^8 runs, 8 complete, \d+ responses requested\.$",
    ),
    "--dry_run": (
        r"^task\s+rows\s+errors\s+requests\s+clips\s+hours$",
        r"^(?:\w+(?: \d\.\d)?: )?\d+ requests to run on .* in the cache",
        r"^scorers  +ok",
    ),
    "sweep": (
        r"^\s*task\s+cell\s+score\s+vs none\s+95 % CI\s+lost\s+won\s+p \(Holm\)\s+kept\s",
        r"^\s*\w+\s+none\s+\d+\.\d\d\s",
        r"\d+ responses requested, \d+ from the cache\.",
    ),
    "score": (RUN_TABLE, RUN_ROW),
    "completion": (r"_shtab_marathon_eval",),
    "ls": (r"^[\w.:/]+", r"\n[\w.:/]+"),
    "validate": (r"^\w+: ok(?: \((?:a group: )?rows not checked[:,] .*--data_dir DIR.*\))?$",),
    "env make": (r": made from \w+\.requirements\.txt$",),
    "env check": (r": Python 3\.\d+, ", r"^answered in \d+\.\d s, "),
    "show": (
        r"^task     \w+, row \d+$",
        r"^target   ",
        r"^prompt$",
        r"^  \| ",
        r"^answers  \d+ in the cache$",
    ),
    "show --word_errors": (
        r"^\w+: \d+ errors in \d+ (words|characters) of \d+ rows$",
        r"^\s*error\s+reference\s+heard\s+count\s*$",
        r"^\d+ replaced, \d+ left out, \d+ added; ",
    ),
    "compare": (
        r"^A: ",
        r"^B: ",
        r"^\s*task\s+reading\s+metric\s+A\s+B\s+B - A\s+95 % CI\s",
        r"[+-]\d\.\d{4}",
    ),
    "leaderboard": (MARKDOWN, r"^\| --- \|"),
    "leaderboard --champions": (r"^\| category \| tasks \| published champion \|", r"^\| speech \|"),
    "report": (r"\.html$",),
    "view": (r"^http://127\.0\.0\.1:\d+/\S+/$",),
    "doctor": (r"^rows: (\w+ \d+, )*\w+ \d+$", r"^audio: \d+ files, \d[\d.]* (?:h|min|s)$"),
    "durations": (r"seconds; total in hours", r"count.*total.*mean.*median", r"gtzan\W+6\W"),
    "cache ls": (r": \d+ answers of \d+ models?$", r"^\s+\d+  [0-9a-f]{8}  \w"),
    "cache show": (r'"request": \{', r'"fingerprint": ', r'"response": \{'),
    "cache why": (r"^\d+ of \d+ requests are in the cache$",),
    "cache verify": (r": every entry is whole$",),
    "cache merge": (r": \d+ answers added, \d+ present already, \d+ with another text",),
    "cache prune": (r": \d+ answers and \d+ other entries would be deleted",),
    "cache export": (),
    "build": (r"^manifest: .* x real time\)$",),
    "review": (r"rows to review: open .* in a browser$|files removed$",),
    "export": (r": \d+ rows, \d+ audio files$",),
    "push": (r"^\d+ pushed: ",),
    "pack": (r": \d+ files$",),
    "unpack_verify": (r" samples scored again, \d+ cached answers: the same, bit for bit$",),
    "judge_agreement": (r"kappa",),
    "selftest": (r"^\s*check\s+verdict\s+what was seen", r"^\d+ checks, \d+ failed, \d+ s$"),
}


class Printed(NamedTuple):
    """Holds a finished command: its words after `marathon-eval`, what it printed, and where it ran."""

    words: list[str]
    stdout: str
    stderr: str
    folder: Path


def wrong(printed: Printed) -> str | None:
    """Return why the output is not the verb's; None if it is."""
    verb = verb_of(printed.words)
    if verb not in SHAPES:
        return f"tests/helpers/documented_output.py does not say what `{verb}` prints"
    if "--json" in printed.words:
        return _wrong_json(printed)
    if verb == "score" and "--export" in printed.words:
        return _wrong_files(printed, "--output_path", "*.jsonl")
    text = printed.stdout + (printed.stderr if verb == "report" else "")
    for shape in SHAPES[verb]:
        if not re.search(shape, text, re.MULTILINE):
            return f"nothing printed looks like {shape}"
    return _wrong_written(verb, printed)


def verb_of(words: list[str]) -> str:
    """Return the verb: `run` for bare flags, `cache why`, and variants with another table (`--dry_run`)."""
    if "--dry_run" in words:
        return "--dry_run"
    if words[0].startswith("-"):
        if "--predict_only" in words:
            return "run --predict_only"
        return "run -C SET" if words[:2] == ["-C", "mine/board.yaml"] else "run"
    if words[0] == "cache":
        return f"cache {words[1]}"
    if words[0] == "show" and "--word_errors" in words:
        return "show --word_errors"
    return "leaderboard --champions" if words[0] == "leaderboard" and "--champions" in words else words[0]


def _wrong_json(printed: Printed) -> str | None:
    try:
        found = json.loads(printed.stdout)
    except ValueError as error:
        return f"--json prints no JSON ({error})"
    wanted = {
        "run": {"schema_version", "model", "tasks", "groups", "config", "versions", "cache"},
        "--dry_run": {"dry_run", "tasks", "costs", "clips", "hours", "checks", "sample"},
    }
    missing = wanted.get(verb_of(printed.words), set()) - set(found)
    return f"--json lacks {', '.join(sorted(missing))}" if missing else None


def _wrong_written(verb: str, printed: Printed) -> str | None:
    """Return the first named output file that is missing or empty."""
    checks: dict[str, Callable[[], str | None]] = {
        "run": lambda: _wrong_files(printed, "--output_path", "**/results.json"),
        "run --predict_only": lambda: _wrong_files(printed, "--output_path", "**/results.json"),
        "score": lambda: _wrong_files(printed, "--output_path", "**/results.json"),
        "sweep": lambda: _wrong_files(printed, "--output_path", "**/sweep.json"),
        "report": lambda: _wrong_files(printed, "--output_path", ""),
    }
    if verb == "cache export":
        path = printed.folder / printed.words[2]
        return None if path.is_file() and path.stat().st_size else f"{path.name} is not there, or empty"
    return checks[verb]() if verb in checks else None


def _wrong_files(printed: Printed, flag: str, pattern: str) -> str | None:
    names = [printed.words[at + 1] for at, word in enumerate(printed.words) if word in (flag, "-o")]
    for name in names:
        path = printed.folder / name
        found = list(path.glob(pattern)) if pattern else [path]
        if not found or not all(one.is_file() and one.stat().st_size for one in found):
            return f"{flag} {name} holds no {pattern or 'file'}"
    return None
