"""Draws pairs of runs that differ in one thing: their keys or labels differ, or their answers are the same.

The model answers with a hash of all that it is given, so that an equal answer proves that it was asked alike. Both runs of
a pair share further changes, drawn at random, because a hole may show in a combination only. Each argument of each
shipped model and press, each package and each file of a checkpoint is a pair of fingerprints in test_keys.py.
"""

from __future__ import annotations

import copy
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from helpers.described_run import ALL_EARS, HEARD, DescribedRun, tone
from marathon_eval.api.results import RunResult
from marathon_eval.errors import MarathonError
from marathon_eval.report.runs import read_cells
from marathon_eval.results.files import run_folder, write_run

Change = Callable[[DescribedRun], None]


def argument(name: str, value: Any) -> Change:
    return lambda run: run.args.update({name: value})


def flag(name: str, value: Any) -> Change:
    return lambda run: run.flags.update({name: value})


def task(**keys: Any) -> Change:
    return lambda run: run.task.update(keys)


def generation(name: str, value: Any) -> Change:
    return lambda run: run.task.update(generation_kwargs={**run.task["generation_kwargs"], name: value})


def gen_kwargs(name: str, value: Any) -> Change:
    return lambda run: run.flags.update(gen_kwargs={**run.flags.get("gen_kwargs", {}), name: value})


def source(file: str, text: str) -> Change:
    return lambda run: run.sources.update({file: text})


def row(number: int, **columns: Any) -> Change:
    return lambda run: run.rows[number].update(columns)


def clip(name: str, samples: Any) -> Change:
    return lambda run: run.clips.update({name: samples})


def reversed_rows(run: DescribedRun) -> None:
    run.rows.reverse()


def without_first_row(run: DescribedRun) -> None:
    del run.rows[0]


def added_row(run: DescribedRun) -> None:
    run.rows.append({**run.rows[0], "q": "one more?"})


def swapped_files(run: DescribedRun) -> None:
    run.clips["0.wav"], run.clips["1.wav"] = run.clips["1.wav"], run.clips["0.wav"]


def one_sample(run: DescribedRun) -> None:
    run.clips["2.wav"] = run.clips["2.wav"].copy()
    run.clips["2.wav"][400] += 1


def stereo(run: DescribedRun) -> None:
    run.clips["1.wav"] = run.clips["1.wav"].repeat(2).reshape(-1, 2)


def steps_of_row(run: DescribedRun) -> None:
    run.task.update(process_docs=[{"strip_prefix": {"columns": ["q"], "prefix": "what "}}])


def repeated(run: DescribedRun) -> None:
    run.task.update(repeats=2)
    generation("temperature", 0.5)(run)


def attribute(name: str, value: Any) -> Change:
    return lambda run: setattr(run, name, value)


ARGUMENTS = {
    "word": argument("word", "x"),
    "a space in a word": argument("word", " "),
    "number": argument("number", 1),
    "share": argument("share", 0.1),
    "a flag": argument("loud", True),
    "a choice": argument("way", "low"),
    "a mapping": argument("many", {"a": 1}),
    "one value of a mapping": argument("many", {"a": 2}),
    "a list": argument("names", ["a", "b"]),
    "the order of a list": argument("names", ["b", "a"]),
    "a secret by its name": argument("token", "<audio>"),
    "another secret": argument("token", "<|AUDIO|>"),
    "a secret in a mapping": argument("many", {"api_key": "one"}),
    "another secret in a mapping": argument("many", {"api_key": "two"}),
    "a secret by its type": argument("password", "p"),
    "what only carries the request": argument("batch_size", 2),
}
GENERATION = {
    "max_new_tokens of the task": generation("max_new_tokens", 6),
    "until of the task": generation("until", ["\n"]),
    "temperature of the task": generation("temperature", 0.5),
    "top_p of the task": generation("top_p", 0.5),
    "max_new_tokens by flag": gen_kwargs("max_new_tokens", 7),
    "until by flag": gen_kwargs("until", ["x"]),
    "temperature by flag": gen_kwargs("temperature", 0.7),
    "top_p by flag": gen_kwargs("top_p", 0.9),
    "a value by flag that the task has": gen_kwargs("max_new_tokens", 5),
    "repeats": repeated,
    "seed": flag("seed", 3),
}
CONDITIONS = {
    "silence": flag("no_audio", "silence"),
    "no audio": flag("no_audio", "none"),
    "swapped audio": flag("swap_audio", True),
    "speed": flag("transform", "speed:factor=1.2"),
    "noise": flag("transform", "noise:snr=10,seed=1"),
    "seed of the noise": flag("transform", "noise:snr=10,seed=2"),
    "permuted options": flag("permute_choices", 2),
    "system prompt by flag": flag("system_instruction", "Be brief."),
    "no system prompt by flag": flag("system_instruction", ""),
    "examples by flag": flag("num_fewshot", 1),
    "windows": flag("long_audio", "window:seconds=0.03,combine=vote"),
    "windows of another length": flag("long_audio", "window:seconds=0.02,combine=vote"),
    "windows that overlap": flag("long_audio", "window:seconds=0.03,overlap=0.01,combine=vote"),
    "windows combined otherwise": flag("long_audio", "window:seconds=0.03,combine=join"),
    "windows as long as the clips": flag("long_audio", "window:seconds=9,combine=vote"),
    "windows of the task": task(long_audio={"window": {"seconds": 0.03, "combine": "last"}}),
}
SELECTIONS = {
    "limit": flag("limit", 2),
    "another limit": flag("limit", 3),
    "limit as a share": flag("limit", 0.5),
    "limit above the rows": flag("limit", 99),
    "one row": flag("samples", {"own": [1]}),
    "two rows": flag("samples", {"own": [1, 2]}),
    "subset": flag("subset", "few"),
    "subset of all": flag("subset", "all"),
    "rows up to a length": flag("max_seconds", 0.055),
    "rows from a length": flag("min_seconds", 0.055),
    "a length that all rows have": flag("max_seconds", 99.0),
    "lengths of the task": task(max_seconds=0.055),
}
SOURCES = {
    "source of the model": source("models/all_ears.py", ALL_EARS.replace('"spoken"', '"SPOKEN"')),
    "version of the model": source(
        "models/all_ears.py",
        ALL_EARS.replace("    Settings = Settings", "    Settings = Settings\n    version = 2"),
    ),
    "source that it imports": source("heard.py", HEARD.replace("16000", "16001")),
    "comment in what it imports": source("heard.py", HEARD + "# a comment\n"),
    "source that it does not import": source("unused.py", "1"),
}
CLIPS = {
    "clip": clip("0.wav", tone(9)),
    "one sample": one_sample,
    "length of a clip": clip("3.wav", tone(3, 0.06)),
    "two clips swapped": swapped_files,
    "stereo": stereo,
    "rate of all clips": attribute("rate", 8000),
    "bits of all clips": attribute("subtype", "PCM_24"),
    "a clip that no row has": clip("9.wav", tone(9)),
    "a clip that fails": row(2, path="gone.wav"),
    "two clips in a row": row(0, path=["0.wav", "1.wav"]),
    "order of two clips": row(0, path=["1.wav", "0.wav"]),
}
TASKS = {
    "prompt": task(doc_to_text="{{ q }} Say it. {{ options }}"),
    "space in a prompt": task(doc_to_text="{{ q }}  {{ options }}"),
    "system prompt": task(system="Be brief."),
    "target": task(doc_to_target="{{ 'A' }}"),
    "options in another order": task(choice_columns=["two", "one"]),
    "layout of options": task(choice_layout="(A)"),
    "filter": task(
        filter_list=[{"name": "strict", "filter": [{"function": "lowercase"}, {"function": "take_first"}]}]
    ),
    "metric": task(
        metric_list=[
            {"metric": "accuracy", "filter_list": "strict"},
            {"metric": "parse_rate", "filter_list": "strict"},
        ]
    ),
    "version of the task": task(metadata={"version": 5}),
    "tag": task(tag="mine"),
    "examples": task(num_fewshot=1),
    "sampler of examples": task(fewshot_config={"sampler": "first_n"}),
    "step of rows": steps_of_row,
    "only some rows": task(only_rows={"fields": {"q": "what 1?"}}),
    "start of clips": task(doc_to_audio={"path": "path", "start": "{{ 0.01 }}"}),
    "breakdown": task(breakdown="q"),
    "prompt of another model": task(prompt_variants={"whisper": {"doc_to_text": "x"}}),
    "prompt of this model": task(prompt_variants={"all_ears": {"doc_to_text": "{{ q }} x {{ options }}"}}),
}
ROWS = {
    "order of rows": reversed_rows,
    "a row less": without_first_row,
    "a row more": added_row,
    "question of a row": row(1, q="who?"),
    "gold of a row": row(1, a="A"),
    "option of a row": row(1, two="maybe"),
    "a column that no prompt has": row(1, note="x"),
}
KINDS: dict[str, Change] = {
    **ARGUMENTS,
    **GENERATION,
    **CONDITIONS,
    **SELECTIONS,
    **SOURCES,
    **CLIPS,
    **TASKS,
    **ROWS,
}
#: What both runs of a pair need for the kind to make a difference.
GROUND: dict[str, Change] = {
    "examples": task(doc_to_audio=None),
    "examples by flag": task(doc_to_audio=None),
    "no system prompt by flag": task(system="Be brief."),
    "sampler of examples": task(doc_to_audio=None, num_fewshot=1),
    **dict.fromkeys(
        ("rows up to a length", "rows from a length", "lengths of the task"), clip("3.wav", tone(3, 0.06))
    ),
}
#: How often each of `key`, `label` and `same answers` told the runs of a pair apart, or equal.
HELD: Counter[str] = Counter()


def asked(result: RunResult) -> list[tuple[str, int, Any]]:
    """The answers of a run, or why a row has none."""
    return [
        (name, sample.doc_id, sample.response if sample.error is None else sample.error)
        for name, samples in result.samples.items()
        for sample in samples
    ]


def places(runs: list[RunResult], folder: Path) -> list[str]:
    """The labels of the runs in a table of both; one label if they are merged."""
    for run in runs:
        write_run(run, run_folder(folder, run))
    return [cell.label for cell in read_cells([folder])]


def held_by(one: DescribedRun, other: DescribedRun, folder: Path) -> str:
    """Carry out both runs with one cache, and say what keeps their answers apart. Fails if nothing does."""
    files, cache = folder / "files", folder / "cache"
    first = one.run(files, cache)
    second = other.run(files, cache)
    fresh = other.run(files, None)
    assert asked(second) == asked(fresh), "an answer of the cache is not what this run would be answered"
    if first.fingerprint_sha256 != second.fingerprint_sha256:
        return "key of the model"
    labels = places([first, replace(second, started="2099-01-01T00:00:00Z")], folder / "out")
    if len(labels) > 1:
        assert len(set(labels)) == len(labels)
        return "label"
    known = {answer[1:] for answer in asked(first)}
    if second.cache["misses"] and not {answer[1:] for answer in asked(second)} <= known:
        return "key of the request"
    assert asked(first) == asked(second), (
        "the runs differ in their answers, and neither key nor label says so"
    )
    return "same answers"


def drawn(kind: str) -> DescribedRun:
    """A run with up to two further changes, of other kinds."""
    dice = random.Random(kind)
    run = ground(kind)
    for name in dice.sample(sorted(set(KINDS) - {kind}), dice.randrange(3)):
        KINDS[name](run)
    return run


def ground(kind: str) -> DescribedRun:
    run = DescribedRun()
    GROUND.get(kind, lambda _: None)(run)
    return run


def changed(run: DescribedRun, kind: str) -> DescribedRun:
    other = copy.deepcopy(run)
    KINDS[kind](other)
    return other


@pytest.fixture(autouse=True)
def import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_that_differs_in_one_thing(kind: str, tmp_path: Path) -> None:
    base = drawn(kind)
    try:
        held = held_by(base, changed(base, kind), tmp_path / "drawn")
    except MarathonError:  # the drawn changes exclude each other, as silence and swapped clips do
        base = ground(kind)
        held = held_by(base, changed(base, kind), tmp_path / "alone")
    HELD[held] += 1


def test_sixty_kinds_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints how many there are and, after the pairs above, what kept each pair apart."""
    with capsys.disabled():
        print(f"\n{len(KINDS)} kinds of difference: {dict(HELD)}")
    assert len(KINDS) >= 60


@pytest.mark.parametrize("hole", ["an argument left out of the key", "source left out of the key"])
def test_a_hole_would_be_found(hole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The property fails for an adapter, or for an engine, that leaves out of the key what changes answers."""
    one, kind = DescribedRun(), "source that it imports"
    if hole.startswith("an argument"):
        kind = "word"
        text = ALL_EARS.replace("if name not in self.transport", "").replace(
            "    Settings = Settings", '    Settings = Settings\n    transport = Model.transport | {"word"}'
        )
        one.sources["models/all_ears.py"] = text
    else:
        monkeypatch.setattr("marathon_eval.api.model.source_hashes", lambda kind: {})
    other = changed(one, kind)
    with pytest.raises(AssertionError, match="not what this run would be answered"):
        held_by(one, other, tmp_path)
