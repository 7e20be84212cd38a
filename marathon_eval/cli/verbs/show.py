"""Show one row of a task: its prompt, audio, target and cached answers, right or wrong; or a run's rows that are not right.

marathon-eval show gtzan 17 --data_dir DATA     one row, with its judge's prompts and every cached answer
marathon-eval show RUN                          how many rows are right; of a run that goes on, so far
marathon-eval show RUN 17 --task gtzan          one row of a run: its outcome, response, readings and prompt
marathon-eval show RUN --wrong                  wrong, unanswered, failed and unscored rows, and the worst graded ones
marathon-eval show RUN --only unanswered        the rows of one outcome (--json: as JSON lines, with whole texts)
marathon-eval show RUN --word_errors            the words that transcripts replaced, left out and added most often
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import FILE_NAME
from marathon_eval.cli.verbs._trust import add_trust_argument
from marathon_eval.cli.verbs.cache import folder_of
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.cli.run_rows import ShownRun
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.evaluator.rescore.recorded_prompts import PromptFinder
    from marathon_eval.task.task import Doc, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task",
        metavar="TASK|RUN",
        help="a name that `marathon-eval ls tasks` prints, not a group; or the folder of a run, finished or going on",
    )
    parser.add_argument(
        "doc",
        type=int,
        nargs="?",
        metavar="ROW",
        help="number of the document's row in the dataset, counted from 0; of a run too, with --task if it has several",
    )
    add_run_listing(parser)
    parser.add_argument(
        "--data_dir", metavar="DIR", help="a local copy of the dataset (default: download the needed files)"
    )
    parser.add_argument(
        "--subset", metavar="NAME", help="a row selection that the task defines, such as paper or full"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="render the prompt variant that the task defines for this model"
    )
    add_trust_argument(parser)
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders of yours with more tasks/"
    )
    parser.add_argument(
        "--use_cache",
        "-c",
        metavar="DIR",
        help="the cache's folder (default: $MARATHON_EVAL_CACHE, or ~/.cache/marathon_eval)",
    )
    parser.add_argument(
        "--play",
        action="store_true",
        help="play the audio with a player of the system (aplay, ffplay, mpv, ...)",
    )


def add_run_listing(parser: argparse.ArgumentParser) -> None:
    """Add the flags that list rows of a run."""
    parser.add_argument(
        "--wrong",
        action="store_true",
        help="list the wrong, unanswered, failed and unscored rows of a run, and the worst of its graded rows",
    )
    parser.add_argument(
        "--only",
        choices=["wrong", "unanswered", "failed", "unscored", "graded"],
        help="list the rows of a run with this outcome alone; graded ones from the worst",
    )
    parser.add_argument(
        "--word_errors",
        action="store_true",
        help="of a run's transcripts, list the words (of cer: characters) that were replaced, left out and added most often",
    )
    parser.add_argument(
        "--tasks", "--task", nargs="+", default=[], metavar="TASK", help="of a run, these tasks alone"
    )
    parser.add_argument(
        "--reading", metavar="NAME", help="judge answers by this reading (default: the headline's)"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON; with --wrong and --only a line per row, with whole texts and the prompt; with --word_errors one object",
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.wrong or arguments.only or arguments.word_errors:
        if arguments.doc is not None:
            raise MarathonError("show: --wrong, --only and --word_errors are of a whole run; leave out ROW")
        if arguments.word_errors and (arguments.wrong or arguments.only):
            raise MarathonError(
                "show: --word_errors counts words, and --wrong and --only list rows; type one of them"
            )
        return show_run(arguments)
    registry = Registry(arguments.include_path, arguments.trust_task_code)
    refuse_missing_folder(registry, arguments.task)
    if arguments.doc is None:
        if not Path(arguments.task).is_dir():
            raise MarathonError("show: give TASK and ROW, or the folder of a run")
        return show_run(arguments)
    if Path(arguments.task).is_dir() and not is_known_task(registry, arguments.task):
        return show_run(arguments)
    return show_row(arguments, registry)


def refuse_missing_folder(registry: Registry, name: str) -> None:
    """Raise MarathonError for a name with a slash that is no folder, no YAML file and no task: a run was meant."""
    path = Path(name)
    missing = len(path.parts) > 1 and path.suffix not in (".yaml", ".yml") and not path.exists()
    if missing and not is_known_task(registry, name):
        raise MarathonError(f"show: there is no folder '{name}', and no task has this name")


def is_known_task(registry: Registry, name: str) -> bool:
    """Return whether a task or group has this name."""
    try:
        registry.task_path(name)
    except MarathonError:
        return False
    return True


def show_run(arguments: argparse.Namespace) -> int:
    """Print the outcomes of a run, its rows that are not right, or one row. Raises MarathonError."""
    from marathon_eval.cli.run_row import print_run_row
    from marathon_eval.cli.run_rows import print_outcomes, print_rows_not_right, shown_run, tasks_of_run

    if arguments.play:
        raise MarathonError("--play: plays a row of a task: show TASK ROW --play")
    run = shown_run(Path(arguments.task))
    names = [name for item in arguments.tasks for name in item.split(",") if name]
    tasks = tasks_of_run(run.folder, run.results, names, arguments.reading)
    if arguments.doc is not None:
        finder = prompt_finder(run, arguments)
        return print_run_row(run, tasks, arguments.doc, arguments.reading, finder, arguments.json)
    if arguments.word_errors:
        from marathon_eval.cli.word_errors import print_word_errors

        return print_word_errors(run, tasks, arguments.reading, arguments.json)
    if arguments.wrong or arguments.only:
        prompts = prompt_finder(run, arguments) if arguments.json else None
        return print_rows_not_right(run, tasks, arguments.reading, arguments.only, prompts)
    return print_outcomes(run, tasks, arguments.reading, arguments.json)


def prompt_finder(run: ShownRun, arguments: argparse.Namespace) -> PromptFinder:
    """Return what looks up the run's prompts: in the cache, then in the rows of its tasks as the flags name them."""
    from marathon_eval.evaluator.rescore.recorded_prompts import PromptFinder
    from marathon_eval.evaluator.rescore.stored_config import stored_config

    typed = {
        "include_path": tuple(arguments.include_path),
        "trust_task_code": arguments.trust_task_code,
        "data_dir": arguments.data_dir,
        "use_cache": arguments.use_cache,
    }
    config: RunConfig | str = "the run goes on, and its tasks' rows are read when it has ended"
    if "config" in run.results:
        try:
            config, _ = stored_config(run.results["config"], typed, run.folder / "results.json", list(typed))
        except MarathonError as error:
            config = str(error)
    return PromptFinder(folder_of(arguments.use_cache) / FILE_NAME, config, run.results["model"])


def show_row(arguments: argparse.Namespace, registry: Registry) -> int:
    """Print one row of a task, and play it with --play. Raises MarathonError."""
    from marathon_eval.cli.task_row import doc_facts, doc_lines
    from marathon_eval.task.task import Group, load_task

    task = load_task(registry.task_path(arguments.task), registry.task_path, registry)
    if isinstance(task, Group):
        raise MarathonError(f"show: {arguments.task} is a group; its tasks: {', '.join(task.members)}")
    docs = task.docs(arguments.data_dir, subset=arguments.subset, limit=None, samples=[arguments.doc]).docs
    if not docs:
        raise MarathonError(f"show: {arguments.task} has no row {arguments.doc}")
    cache_file = folder_of(arguments.use_cache) / FILE_NAME
    facts = doc_facts(task, docs[0], arguments.model, arguments.reading, cache_file)
    for line in [json.dumps(facts, ensure_ascii=False, default=str)] if arguments.json else doc_lines(facts):
        print(line, flush=True)
    if arguments.play:
        play_audio(task, docs[0], arguments.model)
    return 0


def play_audio(task: Task, doc: Doc, model: str | None) -> None:
    """Play all clips of the document, one after the other. Raises MarathonError if it has none or playing fails."""
    from marathon_eval.cli.playing import play
    from marathon_eval.cli.task_row import shown_request

    audios = () if doc.error is not None else shown_request(task, doc, model).audios
    if not audios:
        raise MarathonError(f"--play: row {doc.doc_id} of {task.name} has no audio")
    for audio in audios:
        play(audio)
