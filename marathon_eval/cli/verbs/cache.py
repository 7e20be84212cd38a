"""Look into the cache of answers, check it, clean it, or carry answers between caches.

ls       every model and press with its number of answers
why      for a run's flags: what differs from the nearest cached answers
show     one answer with its request and its model's fingerprint
verify   check every entry against its key; exit code 2 where one is damaged
prune    take answers out, by model, fingerprint or age
export   answers as JSON lines, to carry elsewhere
merge    add the answers of other caches or exports
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.cli.verbs import run as run_command
from marathon_eval.files import default_folder, sha256_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VERBS = {
    "ls": "every model and press with its number of answers",
    "why": "for a run's flags: what differs from the nearest cached answers",
    "show": "one answer with its request and its model's fingerprint",
    "verify": "check every entry against its key",
    "prune": "take answers out",
    "export": "answers as JSON lines",
    "merge": "add the answers of other caches or exports",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="what", required=True, metavar="|".join(VERBS))
    verbs = {name: kinds.add_parser(name, help=text, allow_abbrev=False) for name, text in VERBS.items()}
    run_command.add_run_arguments(verbs["why"])
    for name, verb in verbs.items():
        if name != "why":
            verb.add_argument(
                "--use_cache", "-c", metavar="DIR", help="the cache folder, when not the user's"
            )
    verbs["show"].add_argument("key", metavar="KEY", help="the beginning of an answer's key")
    verbs["export"].add_argument("file", metavar="FILE", help="a new .jsonl file")
    verbs["merge"].add_argument(
        "sources", nargs="+", metavar="SOURCE", help="a cache's folder, its file, or an exported .jsonl"
    )
    for name in ("prune", "export"):
        add_selection(verbs[name])
    prune = verbs["prune"]
    prune.add_argument("--gone_audio", action="store_true", help="hashes of audio files that are gone")
    prune.add_argument("--damaged", action="store_true", help="entries that verify finds damaged")
    prune.add_argument("--yes", action="store_true", help="do it; without, only say what would go")


def add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", default="", metavar="NAME", help="answers of this model")
    parser.add_argument(
        "--fingerprint", default="", metavar="HASH", help="answers whose fingerprint begins so; see ls"
    )
    parser.add_argument("--older_than", type=float, metavar="DAYS", help="answers made that long ago")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.cli.verbs import _cache_verbs

    if arguments.what == "ls":
        return _printed(fingerprint_lines(folder_of(arguments.use_cache)))
    if arguments.what == "why":
        return _printed(explained(arguments))
    code: int = getattr(_cache_verbs, arguments.what)(arguments, folder_of(arguments.use_cache))
    return code


def _printed(lines: list[str]) -> int:
    print("\n".join(lines))
    return EXIT_WHOLE


def folder_of(use_cache: str | None) -> Path:
    return Path(use_cache) if use_cache else default_folder()


def fingerprint_lines(folder: Path) -> list[str]:
    """One line per fingerprint: number of answers, hash, and its settings."""
    answers, fingerprints = contents(folder)
    counts = Counter(row["fingerprint"] for row in answers)
    lines = [f"{folder / FILE_NAME}: {len(answers)} answers of {len(counts)} models"]
    for identity, count in counts.most_common():
        settings = {key: value for key, value in fingerprints.get(identity, {}).items() if value is not None}
        lines.append(f"{count:8}  {identity[:8]}  {json.dumps(settings, ensure_ascii=False)}")
    return lines


def contents(folder: Path) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """All stored answers, and the fingerprints by their hash. Raises MarathonError."""
    from marathon_eval.cache.entries import fingerprints, opened_read_only, stored
    from marathon_eval.cache.entry import RESPONSE

    with opened_read_only(folder / FILE_NAME) as connection:
        return [entry.value for entry in stored(connection, RESPONSE)], fingerprints(connection)


def explained(arguments: argparse.Namespace) -> list[str]:
    """How many requests would hit, and for the misses the nearest stored answer and what differs."""
    from marathon_eval.api.registry import Registry
    from marathon_eval.evaluator.evaluator import build_model, load_tasks
    from marathon_eval.evaluator.requests import cache_folder, requests_of_tasks

    config = run_command.run_config(arguments)
    registry = Registry(config.include_path)
    tasks, _ = load_tasks(registry, config.tasks)
    model = build_model(registry, config.model, config.model_args)
    with ResponseCache(cache_folder(config)) as cache:
        model.cache = cache
        fingerprint = model.fingerprint
        keyed, failed = cache.keyed(
            sha256_of(fingerprint), requests_of_tasks(tasks, config, model.name()).requests()
        )
        stored = cache.get_many(entry.key for entry in keyed.values())
    misses = [entry.described for entry in keyed.values() if entry.key not in stored]
    lines = [f"{len(keyed) - len(misses)} of {len(keyed)} requests are in the cache"]
    lines += [f"{len(failed)} cannot be asked: {reason}" for reason in list(failed.values())[:1]]
    if misses:
        answers, fingerprints = contents(folder_of(arguments.use_cache))
        lines += reasons(misses, fingerprint, answers, fingerprints)
    return lines


def reasons(
    misses: list[dict[str, Any]],
    fingerprint: Mapping[str, Any],
    answers: list[dict[str, Any]],
    fingerprints: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """Misses grouped by what differs from the stored answer that differs least."""
    sides = [
        {**flat(row["request"]), **flat(fingerprints.get(row["fingerprint"], {}), "model.")}
        for row in answers
    ]
    by_audio: dict[str, list[dict[str, Any]]] = {}
    for side in sides:
        by_audio.setdefault(side["audio"], []).append(side)
    counts: Counter[str] = Counter()
    for miss in misses:
        wanted = {**flat(miss), **flat(fingerprint, "model.")}
        # the same clip first: a whole scan per miss would be quadratic
        near = by_audio.get(wanted["audio"]) or sides[:200]
        differing = min(
            ([*differences(side, wanted)] for side in near), key=len, default=["nothing stored yet"]
        )
        counts["; ".join(differing)] += 1
    return [f"{count} missed: {reason}" for reason, count in counts.most_common(10)]


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"press": {"ratio": 0.5}}` to `{"press.ratio": 0.5}`; lists and tuples as the same text."""
    result: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            result.update(flat(value, f"{prefix}{key}."))
        else:
            result[prefix + key] = json.dumps(value) if isinstance(value, list | tuple) else value
    return result


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[str]:
    """`model.press.ratio: 0.5 stored, 0.3 asked` for every key that differs."""
    for key in sorted(stored.keys() | wanted.keys()):
        old, new = stored.get(key), wanted.get(key)
        if old != new:
            yield f"{key}: {shortened_repr(old)} stored, {shortened_repr(new)} asked"


def shortened_repr(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…{text[-16:]}"
