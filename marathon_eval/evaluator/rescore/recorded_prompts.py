"""Finds the prompts of a run's rows, whose samples record each prompt's hash: in the cache, or from the tasks' rows.

A prompt counts as found only if its hash is the recorded one, so that a changed task gives none instead of another.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.registry import Registry
from marathon_eval.api.request import Request, Turn
from marathon_eval.cache.database import TABLE, read_only
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.requests import docs_of, requests_of_doc

if TYPE_CHECKING:
    from marathon_eval.task.task import Doc, Task

_QUERY = f"""
SELECT DISTINCT json_extract(value, '$.request.system'), json_extract(value, '$.request.prompt'),
json_extract(value, '$.request.earlier')
FROM {TABLE} WHERE key LIKE 'response/%'
"""


class RecordedPrompt(NamedTuple):
    """Holds the text of a prompt, of a dialogue with its turns, and the system prompt before it."""

    system: str | None
    prompt: str
    #: The generation arguments, by lm-eval's names; empty for a prompt from the cache.
    generation: Mapping[str, Any] = MappingProxyType({})


def prompts_in_cache(file: Path, wanted: Iterable[str]) -> dict[str, RecordedPrompt]:
    """Return those of the wanted prompts that a cache file has, by prompt_sha256; none of a file that is no cache."""
    hashes = set(wanted)
    if not hashes or not file.is_file():
        return {}
    by_hash = ((asked.prompt_sha256, asked) for asked in stored_prompts(file))
    return {
        digest: RecordedPrompt(asked.system, asked.shown()) for digest, asked in by_hash if digest in hashes
    }


def stored_prompts(file: Path) -> Iterator[Request]:
    """Yield the request of each response in a cache file, without clips; nothing from a file that is no cache."""
    try:
        with closing(read_only(file)) as connection:
            for system, prompt, earlier in connection.execute(_QUERY):
                try:
                    turns = tuple(Turn(*turn) for turn in json.loads(earlier or "[]"))
                except (TypeError, ValueError):  # an entry that no run wrote
                    continue
                yield Request(prompt, (), system=system, earlier=turns)
    except sqlite3.DatabaseError:
        return


def prompts_of_tasks(
    config: RunConfig, model_name: str, names: Iterable[str], wanted: Iterable[str]
) -> dict[str, RecordedPrompt]:
    """Return those of the wanted prompts that the tasks' rows give today, by prompt_sha256. Raises MarathonError.

    `names` are the run's tasks, as its results name them; `config` says which rows it asked, and how.
    """
    hashes, chosen = set(wanted), set(names)
    found: dict[str, RecordedPrompt] = {}
    for name, task in _tasks_of(config).items():
        if name not in chosen:
            continue
        for doc in docs_of(task, config).docs:
            request = requests_of_doc(task, doc, config, model_name).recorded
            if request is not None and request.prompt_sha256 in hashes:
                made = request.generation
                generation = {
                    "until": list(made.stop),
                    "max_gen_toks": made.max_new_tokens,
                    "do_sample": made.temperature > 0,
                    "temperature": made.temperature,
                }
                found[request.prompt_sha256] = RecordedPrompt(request.system, request.shown(), generation)
    return found


def _tasks_of(config: RunConfig) -> dict[str, Task]:
    from marathon_eval.evaluator.evaluator import in_orders, load_tasks

    tasks, _ = load_tasks(
        Registry(config.include_path, config.trust_task_code), config.tasks, config.num_fewshot
    )
    return in_orders(tasks, config)


class AskedRow(NamedTuple):
    """Holds a task and a document of it as a run asked it."""

    task: Task
    doc: Doc


class PromptFinder:
    """Finds prompts by hash: in a cache file first, then from the tasks' rows.

    `config` says which rows the run asked, or is the reason why they cannot be read.
    """

    def __init__(self, cache_file: Path, config: RunConfig | str, model_name: str) -> None:
        self._cache_file, self._config, self._model_name = cache_file, config, model_name

    def row(self, task: str, number: int, digest: str | None) -> AskedRow | str:
        """Return a row whose prompt has this hash, as the run asked it, or why it cannot be read."""
        if isinstance(self._config, str):
            return self._config
        try:
            found = _tasks_of(self._config)[task]
            doc = next((doc for doc in docs_of(found, self._config).docs if doc.doc_id == number), None)
            if doc is not None:
                request = requests_of_doc(found, doc, self._config, self._model_name).recorded
                if request is not None and request.prompt_sha256 == digest:
                    return AskedRow(found, doc)
        except MarathonError as error:
            return f"the task's rows cannot be read: {error}"
        return "the task as it is now does not ask this row as the run did"

    def of(self, task: str, hashes: Iterable[str]) -> tuple[dict[str, RecordedPrompt], str]:
        """Return the prompts of a task's rows by hash, and why those that are missing were not found."""
        wanted = set(hashes)
        found = prompts_in_cache(self._cache_file, wanted)
        rest = wanted - found.keys()
        if not rest:
            return found, ""
        why = f"not in the cache {self._cache_file}"
        if isinstance(self._config, str):
            return found, f"{why}; {self._config}"
        try:
            found |= prompts_of_tasks(self._config, self._model_name, [task], rest)
        except MarathonError as error:
            return found, f"{why}, and the task's rows cannot be read: {error}"
        return found, f"{why}, and no row of the task as it is now has a prompt of this hash"
