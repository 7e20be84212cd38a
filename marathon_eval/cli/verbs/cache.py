"""List, explain, verify, delete, export or merge cached responses.

ls       list every model and press with the number of its cached responses
why      explain why a run's requests are not in the cache: how they differ from the closest cached ones
show     print one cached response with its request and its model's fingerprint
verify   check every entry against its key; the exit code is 2 if an entry is damaged
prune    delete cached responses by model, fingerprint or age, or damaged and useless entries
export   write cached responses to a .jsonl file, to merge them into another cache
merge    add the responses of other caches or exported files to this cache

`marathon-eval cache COMMAND --help` explains the flags of one command.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cli.help_text import HelpFormatter
from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.cli.verbs._run_flags import add_run_arguments, run_config
from marathon_eval.files import default_folder, sha256_of

VERBS = {
    "ls": "list every model and press with the number of its cached responses",
    "why": "explain how a run's requests differ from the closest cached ones",
    "show": "print one cached response with its request and its model's fingerprint",
    "verify": "check every entry against its key",
    "prune": "delete cached responses or damaged entries",
    "export": "write cached responses to a .jsonl file",
    "merge": "add the responses of other caches or exported files",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="what", required=True, metavar="|".join(VERBS))
    verbs = {
        name: kinds.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            allow_abbrev=False,
            formatter_class=HelpFormatter,
        )
        for name, text in VERBS.items()
    }
    add_run_arguments(verbs["why"])
    for name, verb in verbs.items():
        if name != "why":
            verb.add_argument(
                "--use_cache",
                "-c",
                metavar="DIR",
                help="the cache's folder (default: $MARATHON_EVAL_CACHE, or ~/.cache/marathon_eval)",
            )
    verbs["ls"].add_argument("--json", action="store_true", help="print every setting of each model, as JSON")
    verbs["show"].add_argument(
        "key",
        metavar="KEY",
        help="the key of a cached response, as `show TASK DOC` prints it, or its first characters",
    )
    verbs["export"].add_argument("file", metavar="FILE", help="the .jsonl file to create")
    verbs["merge"].add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="the folder of another cache, its answers.sqlite, or an exported .jsonl file",
    )
    for name in ("prune", "export"):
        add_selection(verbs[name])
    prune = verbs["prune"]
    prune.add_argument(
        "--gone_audio",
        action="store_true",
        help="delete the stored hashes of audio files that no longer exist",
    )
    prune.add_argument(
        "--damaged", action="store_true", help="delete entries that `cache verify` reports as damaged"
    )
    prune.add_argument(
        "--yes",
        action="store_true",
        help="delete the entries; without this flag only their number is printed",
    )


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the flags that select responses by model, fingerprint and age."""
    parser.add_argument(
        "--model",
        default="",
        metavar="NAME",
        help="select responses of this model, as `cache ls` prints it: of a server, the name of its model",
    )
    parser.add_argument(
        "--fingerprint",
        default="",
        metavar="HASH",
        help="select responses of the fingerprint that begins with HASH, as `cache ls` prints it",
    )
    parser.add_argument(
        "--older_than", type=float, metavar="DAYS", help="select responses older than DAYS days"
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.cli.verbs import _cache_verbs

    if arguments.what == "ls":
        folder = folder_of(arguments.use_cache)
        if arguments.json:
            return _printed([json.dumps(stored_models(folder), ensure_ascii=False, indent=1)])
        return _printed(fingerprint_lines(folder))
    if arguments.what == "why":
        return _printed(explained(arguments))
    code: int = getattr(_cache_verbs, arguments.what)(arguments, folder_of(arguments.use_cache))
    return code


def _printed(lines: list[str]) -> int:
    print("\n".join(lines))
    return EXIT_WHOLE


def folder_of(use_cache: str | None) -> Path:
    """Return the cache's folder: the value of --use_cache, else the user's."""
    return Path(use_cache) if use_cache else default_folder()


def stored_models(folder: Path) -> list[dict[str, Any]]:
    """Return number of responses, hash and settings of each model and press in a cache, the most responses first."""
    from marathon_eval.cache.entries import fingerprints, opened_read_only
    from marathon_eval.cache.scan import responses_by_fingerprint

    with opened_read_only(folder / FILE_NAME) as connection:
        models, counts = fingerprints(connection), responses_by_fingerprint(connection)
    return [
        {"answers": count, "fingerprint": identity, "settings": models.get(identity, {})}
        for identity, count in counts.most_common()
    ]


def fingerprint_lines(folder: Path) -> list[str]:
    """Return a title, then one line per fingerprint: number of responses, hash, and the model's name as tables show it."""
    found = stored_models(folder)
    lines = [f"{folder / FILE_NAME}: {sum(each['answers'] for each in found)} answers of {len(found)} models"]
    names = shown_models([each["settings"] for each in found])
    return lines + [
        f"{each['answers']:8}  {each['fingerprint'][:8]}  {printable(name)}"
        for each, name in zip(found, names, strict=True)
    ]


def shown_models(models: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return model, checkpoint, the settings in which models of one name differ, and press of each fingerprint."""
    from marathon_eval.results.run_labels import names_of, setting_text

    known = [model for model in models if "model" in model]
    names = iter(names_of(known))
    texts = []
    for model in models:
        name = next(names) if "model" in model else "unknown model"
        checkpoint = setting_text(model.get("pretrained"))
        told = checkpoint is None or checkpoint in name
        texts.append(name if told else f"{name} (pretrained={checkpoint})")
    return texts


def explained(arguments: argparse.Namespace) -> list[str]:
    """Return how many of the run's requests the cache holds, and how the others differ from the closest cached ones.

    Raises MarathonError.
    """
    from marathon_eval.api.registry import Registry
    from marathon_eval.evaluator.evaluator import build_model, load_tasks, pinned_pool
    from marathon_eval.evaluator.requests import cache_folder

    config = run_config(arguments)
    registry = Registry(config.include_path)
    tasks, _ = load_tasks(registry, config.tasks, config.num_fewshot)
    model = build_model(registry, config.model, config.model_args)
    with ResponseCache(cache_folder(config)) as cache:
        model.cache = cache
        fingerprint = model.fingerprint
        keyed, failed = cache.keyed(
            sha256_of(fingerprint), pinned_pool(tasks, config, model.name(), cache).requests()
        )
        stored = cache.get_many(entry.key for entry in keyed.values())
    misses = [entry.described for entry in keyed.values() if entry.key not in stored]
    lines = [f"{len(keyed) - len(misses)} of {len(keyed)} requests are in the cache"]
    lines += [
        f"{len(failed)} requests cannot be made, the first because: {reason}"
        for reason in list(failed.values())[:1]
    ]
    folder = cache_folder(config)
    if misses and folder is not None:
        from marathon_eval.cache.closest import closest_differences

        counts = closest_differences(folder / FILE_NAME, misses, fingerprint)
        lines += [f"{count} not in the cache: {reason}" for reason, count in counts.most_common(10)]
    return lines
