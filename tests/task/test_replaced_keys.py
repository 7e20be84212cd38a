"""Tests what is said where a file replaces a key whose names the included file still uses."""

from __future__ import annotations

from pathlib import Path

import pytest

from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.task.task import Task, load_task

FILTERS = "filter_list: [{name: strict, filter: [{function: choice}]}]\n"
METRICS = "metric_list: [{metric: accuracy}]\n"


def load(folder: Path, keys: str) -> Task:
    path = folder / "mine.yaml"
    path.write_text("include: gtzan.yaml\n" + keys)
    task = load_task(path, Registry().task_path)
    assert isinstance(task, Task)
    return task


@pytest.mark.parametrize(
    ("keys", "beginning", "gone", "beside"),
    [
        (
            FILTERS,
            "mine.yaml:2: filter_list replaces the included one whole, but metric_list still comes from ",
            "gtzan.yaml:48 and names the reading 'paper', which is gone. Known: strict.",
            "Write metric_list and headline in your file too",
        ),
        (
            FILTERS.replace("strict", "last") + METRICS,
            "mine.yaml:2: filter_list replaces the included one whole, but headline still comes from ",
            "names the reading 'strict', which is gone. Known: last.",
            "Write metric_list and headline in your file too",
        ),
        (
            METRICS.replace("accuracy", "parse_rate"),
            "mine.yaml:2: metric_list replaces the included one whole, but headline still comes from ",
            "names the metric of 'strict' 'macro_f1', which is gone. Known: parse_rate.",
            "Write headline in your file too",
        ),
    ],
)
def test_the_error_names_both_files(
    tmp_path: Path, keys: str, beginning: str, gone: str, beside: str
) -> None:
    with pytest.raises(MarathonError) as caught:
        load(tmp_path, keys)
    said = str(caught.value)
    assert f"{tmp_path}/{beginning}" in said
    assert gone in said
    assert said.endswith(beside)


def test_a_name_of_the_own_file_is_a_plain_mistake(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=r"mine\.yaml:3: metric_list: filter_list: no reading 'strct'"):
        load(tmp_path, FILTERS + "metric_list: [{metric: accuracy, filter_list: strct}]\n")


def test_all_three_keys_together_load(tmp_path: Path) -> None:
    headline = "headline: {reading: strict, metric: accuracy, scale: 100}\n"
    assert load(tmp_path, FILTERS + METRICS + headline).metric_names == {"strict": ["accuracy"]}
