"""Tests judges: two passes and their means, retries that are counted and never scored, failures, and the cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import make_air_bench_mmar_data
from helpers.api_server import FakeServer
from helpers.judged_run import JUDGE, Court, Rules, order, sound_questions
from marathon_eval import simple_evaluate
from marathon_eval.api.results import RunResult
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.rescore.score_predictions import score_predictions


@pytest.fixture
def court(tmp_path: Path) -> Court:
    return Court(tmp_path)


def test_two_passes_their_mean_failures_and_wins(court: Court) -> None:
    q = sound_questions(court)
    rules = [
        *order(q[0], ["8 6"], ["7 9"]),  # straight: reference 8, answer 6; swapped: answer 7, reference 9
        *order(q[1], ["5 9"], ["8 5"]),  # the answer wins both
        *order(q[2], ["I like the first."], ["4 6"]),  # the straight pass never parses
        *order(q[3], ["7 7"], ["9 3"]),  # a tie, then a win: the order decides
        *order(q[4], ["no"], ["10 7 because"]),  # neither parses
        *order(q[5], ["0 0"], ["3 8"]),  # off the scale, accepted by the released script alone
    ]
    result = court.run(["air_bench_chat_sound"], rules).tasks["air_bench_chat_sound"]
    paper = {name: value.value for name, value in result.readings["paper"].items()}
    strict = {name: value.value for name, value in result.readings["strict"].items()}
    assert paper["judge_score[scripted]"] == pytest.approx(
        ((6 + 9 + 7 + 0) / 4 + (7 + 8 + 4 + 9 + 3) / 5) / 2
    )
    assert paper["reference_score[scripted]"] == pytest.approx(
        ((8 + 5 + 7 + 0) / 4 + (9 + 5 + 6 + 3 + 8) / 5) / 2
    )
    assert paper["win_rate[scripted]"] == pytest.approx((1 / 4 + 2 / 5) / 2)
    assert paper["judge_parse_rate[scripted]"] == pytest.approx(9 / 12)
    assert strict["judge_score[scripted]"] == pytest.approx(((6 + 9 + 7) / 3 + (7 + 8 + 9) / 3) / 2)
    assert strict["win_rate[scripted]"] == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert strict["position_bias[scripted]"] == pytest.approx(((6 - 7) + (9 - 8) + (7 - 9)) / 3)
    assert strict["flip_rate[scripted]"] == pytest.approx(1 / 3)
    assert result.n_unanswered == {"paper": 0, "strict": 0}
    assert result.n_left_out == {"paper": 1, "strict": 3}
    assert (result.coverage, result.coverage_of("paper"), result.coverage_of("strict")) == (1.0, 5 / 6, 0.5)
    assert result.headline is not None
    assert result.headline["metric"] == "judge_score[scripted]"


def test_samples_keep_every_text_of_the_judge(court: Court) -> None:
    q = sound_questions(court)
    rules = [*order(q[0], ["hm", "8 6"], ["7 9"]), *order("", ["5 5"], ["5 5"])]
    sample = court.run(["air_bench_chat_sound"], rules, limit=1).samples["air_bench_chat_sound"][0]
    assert sample.judge == {"pair": [["hm", "8 6"], ["7 9"]]}
    assert sample.readings["paper"].answer == "8 6 / 7 9"
    assert sample.readings["paper"].rule == "both"
    assert sample.line()["judge"] == sample.judge


def test_unreadable_replies_are_asked_again_and_never_scored(court: Court) -> None:
    q = sound_questions(court)
    rules = [
        *order(q[0], ["prose", "8,7", "8  7", "9 2"], ["a", "b", "c", "d"]),
        *order("", ["5 5"], ["5 5"]),
    ]
    result = court.run(["air_bench_chat_sound"], rules, limit=1)
    tries = [generation for prompt, _, generation in court.calls() if "2 answers]\nIt buzzes." in prompt]
    assert [(one["temperature"], one["seed"]) for one in tries] == [(0.0, None), (0.3, 1), (0.3, 2), (0.3, 3)]
    assert len(court.calls()) == 8
    facts = result.manifests["air_bench_chat_sound"]["judge"]
    assert (facts["n_calls"], facts["n_retries"], facts["n_unparsed"]) == (8, 6, 1)
    assert result.samples["air_bench_chat_sound"][0].readings["paper"].answer == "9 2 / -"
    again = court.run(["air_bench_chat_sound"], rules, limit=1)
    assert len(court.calls()) == 8
    assert again.manifests["air_bench_chat_sound"]["judge"]["n_cached"] == 8
    assert again.tasks == result.tasks


def test_a_rerun_asks_the_judge_nothing_and_a_changed_answer_only_what_is_new(court: Court) -> None:
    sound_questions(court)
    rules: Rules = [{"has": [], "replies": ["6 5"]}]
    tasks = ["air_bench_chat_sound", "air_bench_chat_music"]
    first = court.run(tasks, rules)
    asked = len(court.calls())
    assert asked == 2 * (6 + 6)
    assert court.run(tasks, rules).tasks == first.tasks
    assert len(court.calls()) == asked
    court.run(tasks[:1], rules, answer="It hums.")
    assert len(court.calls()) == asked + 12


def test_a_finished_run_is_scored_again_with_the_judge_of_the_run(court: Court) -> None:
    q = sound_questions(court)
    rules = [*order(q[0], ["hm", "8 6"], ["7 9"]), *order("", ["5 5"], ["4 6"])]
    (court.folder / "rules.json").write_text(json.dumps(rules))
    judge = json.dumps({"script": str(court.folder / "rules.json"), "log": str(court.log)})
    run = ["--model", "dummy", "--model_args", "answer=It buzzes.", "--tasks", "air_bench_chat_sound"]
    places = ["--data_dir", str(court.folder / "data"), "--use_cache", str(court.folder / "cache")]
    out = ["--output_path", str(court.folder / "out")]
    assert main([*run, *places, *out, "--judge_model", JUDGE, "--judge_args", judge]) == 0
    asked = len(court.calls())
    again = ["--output_path", str(court.folder / "again"), *places]
    assert (
        main(["score", str(court.folder / "out"), *again, "--judge_model", JUDGE, "--judge_args", judge]) == 0
    )
    assert len(court.calls()) == asked
    old, new = (
        json.loads(next((court.folder / name).rglob("results.json")).read_text()) for name in ("out", "again")
    )
    assert new["tasks"] == old["tasks"]
    facts = [one["manifests"]["air_bench_chat_sound"]["judge"] for one in (old, new)]
    assert facts[0]["n_retries"] == facts[1]["n_retries"] == 1
    lines = [next((court.folder / name).rglob("samples_*.jsonl")).read_text() for name in ("out", "again")]
    assert [json.loads(text.splitlines()[0])["judge"] for text in lines] == [
        {"pair": [["hm", "8 6"], ["7 9"]]}
    ] * 2
    assert main(["score", str(court.folder / "out"), "--export", "official", *again]) == 0
    straight, swapped = (
        json.loads((court.folder / "again" / name).read_text())
        for name in ("chat_score.json", "chat_score_cir.json")
    )
    assert straight[0] == {"task_name": "sound_QA", "dataset_name": "clotho", "gpt-score": "8 6"}
    assert swapped[0]["gpt-score"] == "7 9"
    rows = (court.folder / "again" / "Chat_result_modelx.jsonl").read_text().splitlines()
    assert {json.loads(row)["response"] for row in rows} == {"It buzzes."}


def test_a_row_that_the_judge_failed_on_is_left_out_and_asked_again(court: Court) -> None:
    q = sound_questions(court)
    bad = [*order(q[0], ["FAIL"], ["7 7"]), {"has": [], "replies": ["5 6"]}]
    result = court.run(["air_bench_chat_sound"], bad)
    sample = result.samples["air_bench_chat_sound"][0]
    assert (sample.status, sample.error, sample.response) == ("ok", None, "It buzzes.")
    assert sample.judge == {"pair": [["failed: no judge at home"], ["7 7"]]}
    assert (sample.readings["paper"].answer, sample.readings["paper"].rule) == (None, "judge_failed")
    assert set(sample.readings["strict"].scores.values()) == {None}
    assert not result.whole
    task = result.tasks["air_bench_chat_sound"]
    assert (task.n_errors, task.n_left_out) == (0, {"paper": 1, "strict": 1})
    assert task.readings["paper"]["judge_score[scripted]"].value == 5.5
    asked = len(court.calls())
    assert court.run(["air_bench_chat_sound"], [{"has": [], "replies": ["5 6"]}]).whole
    assert len(court.calls()) > asked


def test_a_refusal_is_a_reply_that_cannot_be_read(court: Court) -> None:
    q = sound_questions(court)
    rules = [*order(q[0], ["REFUSE"], ["7 7"]), {"has": [], "replies": ["5 6"]}]
    sample = court.run(["air_bench_chat_sound"], rules, limit=1).samples["air_bench_chat_sound"][0]
    assert sample.readings["paper"].rule == "swapped_only"
    assert sample.judge["pair"][0] == ["refused: not for me"] * 4


def test_what_the_data_says_is_never_a_template(court: Court) -> None:
    rows = make_air_bench_mmar_data.chat(court.folder / "data", rows=1)
    row = next(row for row in rows if row["task_name"] == "sound_QA")
    row |= {
        "question": "{{ meta_info }} XAudioX second",
        "meta_info": "{% if %}",
        "answer_gt": "{{ response }}",
    }
    make_air_bench_mmar_data.write(court.folder / "data" / "Chat" / "Chat_meta.json", rows)
    court.run(["air_bench_chat_sound"], [{"has": [], "replies": ["5 6"]}], answer="{{ first }}", limit=1)
    prompt = court.calls()[0][0]
    parts = (
        "[What is heard in the recording]\n{% if %}\n",
        "{{ meta_info }} XAudioX second",
        "\n{{ response }}\n",
    )
    assert all(part in prompt for part in parts)
    assert "[Assistant 2 answers]\n{{ first }}" in prompt


def test_a_row_without_a_description_is_left_out(court: Court) -> None:
    rows = make_air_bench_mmar_data.chat(court.folder / "data", rows=1)
    del next(row for row in rows if row["task_name"] == "sound_QA")["meta_info"]
    make_air_bench_mmar_data.write(court.folder / "data" / "Chat" / "Chat_meta.json", rows)
    result = court.run(["air_bench_chat_sound"], [{"has": [], "replies": ["5 6"]}])
    samples = result.samples["air_bench_chat_sound"]
    assert [sample.readings["paper"].rule for sample in samples] == ["judge_not_asked", "both"]
    assert "meta_info" in str(samples[0].judge["pair"])
    assert result.tasks["air_bench_chat_sound"].n_left_out == {"paper": 1, "strict": 1}


def test_chat_needs_a_judge_and_says_so(court: Court) -> None:
    sound_questions(court)
    with pytest.raises(
        MarathonError, match="_air_bench_chat.yaml:.*is scored by a judge: give --judge_model"
    ):
        simple_evaluate("dummy", ["air_bench_chat"], data_dir=str(court.folder / "data"))
    with pytest.raises(MarathonError, match="need --judge_model"):
        simple_evaluate("dummy", ["mmau"], judge_args={"a": 1})
    kept = simple_evaluate(
        "dummy", ["air_bench_chat_sound"], data_dir=str(court.folder / "data"), predict_only=True
    )
    assert kept.samples["air_bench_chat_sound"][0].response == "A"


def test_the_groups_score_is_the_judges(court: Court) -> None:
    sound_questions(court)
    rules: Rules = [
        {"has": ["speech_and_sound_QA"], "replies": ["4 4"]},
        {"has": ["speech_and_music_QA"], "replies": ["8 8"]},
        {"has": ["music"], "replies": ["5 5"]},
        {"has": ["sound"], "replies": ["7 7"]},
        {"has": [], "replies": ["9 9"]},
    ]
    group = court.run(["air_bench_chat"], rules).groups["air_bench_chat"]
    assert group["groups"]["mixed"]["score"] == 6.0
    assert group["score"] == pytest.approx((9 + 7 + 5 + 6) / 4)


def test_predictions_are_judged_too(court: Court) -> None:
    from marathon_eval.api.registry import Registry
    from marathon_eval.evaluator.evaluator import build_model

    rows = make_air_bench_mmar_data.chat(court.folder / "data", rows=1)
    path = court.folder / "Chat_result_modelx.jsonl"
    path.write_text("\n".join(json.dumps({**row, "response": "It buzzes."}) for row in rows))
    (court.folder / "rules.json").write_text(json.dumps([{"has": [], "replies": ["6 7"]}]))
    judge = build_model(
        Registry(), JUDGE, {"script": str(court.folder / "rules.json"), "log": str(court.log)}
    )
    found = score_predictions(["air_bench_chat"], path, judge=judge)
    assert found.result.groups["air_bench_chat"]["score"] == 6.5
    assert found.printout[:2] == [
        "chat_score.json:",
        "speech: Sum=4, Win_Rate=1.0, gpt4_avg_score=6.0, llm_avg_score=7.0",
    ]
    assert "speech: Sum=4, Win_Rate=0.0, gpt4_avg_score=6.0, llm_avg_score=7.0" in found.printout[7:]


def test_a_server_judges_and_a_rerun_does_not_call_it(court: Court) -> None:
    sound_questions(court)
    with FakeServer(answer="6 8") as server:

        def run() -> RunResult:
            return simple_evaluate(
                "dummy",
                ["air_bench_chat_sound"],
                data_dir=str(court.folder / "data"),
                use_cache=str(court.folder / "cache"),
                judge_model="openai_audio",
                judge_args={"base_url": f"{server.url}/v1", "model": "small-judge", "concurrency": 2},
            )

        first = run()
        calls = len(server.calls)
        second = run()
        assert len(server.calls) == calls == 12
    value = first.tasks["air_bench_chat_sound"].readings["strict"]["judge_score[small-judge]"].value
    assert value == 7.0
    assert second.tasks == first.tasks
