"""Tests how responses become a task's and a group's numbers: readings, error rows, breakdowns and groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from helpers.minimal_task import make_task
from marathon_eval.api.model import Response, Usage
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import MetricValue, Sample, TaskResult
from marathon_eval.task.task import Group, Task, load_task


class TestScoring:
    KEYS = (
        "doc_to_text: q\ndoc_to_target: a\ndoc_to_choice: [x, y]\nbreakdown: kind\ncluster: who\n"
        "filter_list:\n  - {name: read, filter: [{function: choice}]}\n  - {name: raw, filter: [{function: take_first}]}\n"
        "metric_list:\n  - {metric: accuracy, filter_list: [read]}\n  - {metric: parse_rate}\n"
    )

    def task(self, folder: Path) -> Task:
        rows = [{"q": "?", "a": "A", "kind": n % 2, "who": n // 2} for n in range(6)]
        return make_task(folder, self.KEYS, rows)

    def test_metrics_judge_the_readings_that_they_name(self, tmp_path: Path) -> None:
        task = self.task(tmp_path)
        sample = task.score(task.docs().docs[0], [Response("A")])
        assert {name: set(found.scores) for name, found in sample.readings.items()} == {
            "read": {"accuracy", "parse_rate"},
            "raw": {"parse_rate"},
        }
        assert (sample.fields, sample.target, sample.response) == ({"kind": 0}, "A", "A")

    def test_breakdown_and_clusters(self, tmp_path: Path) -> None:
        task = self.task(tmp_path)
        docset = task.docs()
        samples = [task.score(doc, [Response("A" if doc.doc_id % 2 else "B")]) for doc in docset.docs]
        result = task.aggregate(samples, docset)
        assert result.breakdown["kind"]["1"] == {
            "n": 3,
            "read": {"accuracy": 1.0, "parse_rate": 1.0},
            "raw": {"parse_rate": 1.0},
        }
        assert result.readings["read"]["accuracy"] == MetricValue(0.5, None, "n too small (3 of 6 clusters)")

    @pytest.mark.parametrize("missing", ["", " ", None, float("nan")])
    def test_a_row_without_a_cluster_is_its_own(self, tmp_path: Path, missing: object) -> None:
        rows = [{"q": "?", "a": "A", "kind": 0, "who": missing if n else "one speaker"} for n in range(6)]
        task = make_task(tmp_path, self.KEYS, rows)
        samples = [task.score(doc, [Response("A")]) for doc in task.docs().docs]
        assert [sample.cluster for sample in samples] == ["one speaker", "1", "2", "3", "4", "5"]

    def test_rows_that_are_built_again_give_the_same_result(self, tmp_path: Path) -> None:
        task = self.task(tmp_path)
        docset = task.docs()
        with_rows = task.aggregation()
        scored = [task.scored(doc, [Response(text)]) for doc, text in zip(docset.docs, "ABAxB?", strict=True)]
        for doc, (sample, rows) in zip(docset.docs, scored, strict=True):
            assert rows.keys() == {"read", "raw"}
            with_rows.add(sample, doc, rows)
        assert with_rows.result(docset) == task.aggregate([sample for sample, _ in scored], docset)
        assert task.scored(docset.docs[0], [Response.failed("broken")]).rows == {}

    def test_failures_are_error_rows_and_prediction_alone_judges_nothing(self, tmp_path: Path) -> None:
        task = self.task(tmp_path)
        docset = task.docs()

        def score(*responses: Response, predict_only: bool = False) -> Sample:
            return task.score(docset.docs[0], responses, predict_only)

        assert score(Response.failed("broken")).error == "broken"
        assert score(Response("A"), Response.failed("broken")).readings == {}
        assert score(Response("A", status="unverified")).status == "unverified"
        alone = score(Response("A"), predict_only=True)
        assert (alone.status, alone.readings, alone.response) == ("ok", {}, "A")
        result = task.aggregate([alone], docset)
        assert (result.n_scored, result.readings["read"]["accuracy"].value) == (1, None)

    def test_what_an_answer_cost_is_kept(self, tmp_path: Path) -> None:
        task = self.task(tmp_path)
        doc = task.docs().docs[0]
        usages = [Usage(output_tokens=4, decode_s=1.0), Usage(output_tokens=8)]
        sample = task.score(doc, [Response("A", finish_reason="length", usage=usage) for usage in usages])
        assert sample.usage == {"output_tokens": 6, "decode_s": 1.0, "finish_reason": "length"}
        assert sample.response == ["A", "A"]


class TestAggregation:
    def result(self, name: str, value: float | None, n: int = 10) -> TaskResult:
        readings = {"strict": {"macro_f1": MetricValue(value)}, "paper": {"macro_f1": MetricValue(0.5)}}
        headline = {"reading": "strict", "metric": "macro_f1", "scale": 100}
        return TaskResult(name, readings, n, n, 0, 0, n, {}, 0, headline=headline)

    def group(self, folder: Path, keys: str = "") -> Group:
        path = folder / "g.yaml"
        path.write_text(f"group: g\ntask: [race, {{group: in, task: [tau, had]}}]\n{keys}")
        group = load_task(path, Registry().task_path)
        assert isinstance(group, Group)
        return group

    def results(self, *values: float | None) -> Mapping[str, TaskResult]:
        names = ("race", "tau", "had")
        return {
            name: self.result(name, value, 10 * place)
            for place, (name, value) in enumerate(zip(names, values, strict=True), 1)
        }

    def test_the_plain_mean_of_headlines(self, tmp_path: Path) -> None:
        found = self.group(tmp_path).aggregate(self.results(0.1, 0.2, 0.6))
        assert found["score"] == pytest.approx(30)
        assert found["groups"]["in"]["score"] == pytest.approx(40)
        assert found["tasks"] == pytest.approx({"race": 10, "tau": 20, "had": 60})

    def test_no_mean_over_an_incomplete_group(self, tmp_path: Path) -> None:
        group = self.group(tmp_path)
        without = {name: result for name, result in self.results(0.1, 0.2, 0.6).items() if name != "race"}
        assert (group.aggregate(without)["score"], group.aggregate(without)["missing"]) == (None, ["race"])
        assert group.aggregate(without)["groups"]["in"]["score"] == pytest.approx(40)
        assert group.aggregate(self.results(0.1, None, 0.6))["score"] is None

    def test_lm_evals_weighting_and_choice_of_readings(self, tmp_path: Path) -> None:
        keys = "aggregate_metric_list: [{metric: macro_f1, weight_by_size: true, filter_list: strict}]\n"
        found = self.group(tmp_path, keys).aggregate(self.results(0.1, 0.2, 0.6))
        assert found["score"] == pytest.approx((0.1 * 10 + 0.2 * 20 + 0.6 * 30) / 60)

    def test_rows_without_a_grade_weigh_nothing(self, tmp_path: Path) -> None:
        keys = "aggregate_metric_list: [{metric: headline, weight_by_size: true}]\n"
        results = dict(self.results(0.1, 0.2, 0.6))
        left_out = {"n_left_out": {"strict": 4}, "n_unscored": {"strict": {"macro_f1": 1}}}
        results["race"] = replace(results["race"], **left_out)
        found = self.group(tmp_path, keys).aggregate(results)
        assert found["score"] == pytest.approx((10 * 5 + 20 * 20 + 60 * 30) / 55)
