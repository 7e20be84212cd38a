"""Tests clips that are longer than a model takes: cut into windows that are asked one by one, or told beforehand."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.listening_ground import KEYS, VOTE, Ground, write_clip
from helpers.minimal_task import HEARD, write_task
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.windows import parse_long_audio, window_spans
from marathon_eval.results.files import newest_run, read_results
from marathon_eval.task.yaml.long_audio import Windows


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


@settings(deadline=None)
@given(
    start=st.floats(0, 100),
    length=st.floats(1, 20_000),
    longest=st.floats(0.5, 5000),
    share=st.floats(0, 0.9),
    stretch=st.floats(0.5, 2),
)
@example(start=0, length=601, longest=600, share=0, stretch=1)
@example(start=0, length=1200, longest=600, share=0, stretch=1)
def test_windows_cover_the_clip_in_equal_lengths(
    start: float, length: float, longest: float, share: float, stretch: float
) -> None:
    windows = Windows(seconds=longest, overlap=share * longest, combine="vote")
    if length / ((1 - share) * longest * stretch) > 300:
        return
    spans = window_spans(start, length, stretch, windows)
    lengths = [end - begin for begin, end in spans]
    assert spans[0][0] == pytest.approx(start, abs=1e-6)
    assert spans[-1][1] == pytest.approx(start + length, abs=1e-6)
    assert max(lengths) <= longest * stretch + 1e-5
    assert max(lengths) - min(lengths) < 1e-4, "none is a useless rest"
    for (_, end), (begin, _) in pairwise(spans):
        assert end - begin == pytest.approx(share * longest * stretch, abs=1e-5)
    if length > longest * stretch * 1.001:
        assert len(spans) > 1


class TestCombining:
    def test_vote_takes_the_answer_of_most_windows_and_the_earliest_of_a_tie(self, ground: Ground) -> None:
        assert ground.run("AABBCCBB AABB DDDDBBDD BB", "--long_audio", VOTE) == 0
        assert [row["response"] for row in ground.samples] == ["so: B", "so: A", "so: B", "so: B"]
        assert [row["readings"]["strict"]["answer"] for row in ground.samples] == ["B", "A", "B", "B"]
        details = ground.samples[2]["usage"]["details"]
        assert details["window_answers"] == [None, None, "B", None], "what gives no answer has no vote"
        assert details["windows"] == 4
        assert ground.samples[3]["usage"].get("details") is None, "a short clip is not cut"

    def test_tasks_that_read_the_same_windows_otherwise_are_run_apart(
        self, ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ground.run("AABBCCBB", "--long_audio", VOTE) == 0
        own, other = ground.folder / "own.yaml", ground.folder / "other.yaml"
        both = ("--long_audio", VOTE, "--tasks", str(own), str(other))
        other.write_text(own.read_text().replace("task: own", "task: other").replace("strict", "also"))
        assert ground.run("AABBCCBB", *both) == 0, "only the reading's name differs"
        last = "[{function: regex, regex_pattern: '[A-D]', group_select: -1}, {function: choice}]"
        other.write_text(other.read_text().replace("[{function: choice}]", last))
        capsys.readouterr()
        assert ground.run("AABBCCBB", *both) == 2
        assert (
            "other.yaml: long_audio: combine: vote chooses a window by the answers" in capsys.readouterr().err
        )
        join = ("--long_audio", "window:seconds=2,combine=join", *both[2:])
        assert ground.run("AABBCCBB", *join) == 0

    def test_last_takes_the_last_answer_there_is(self, ground: Ground) -> None:
        assert ground.run("AABBDD DDDD", "--long_audio", "window:seconds=2,combine=last") == 0
        assert [row["response"] for row in ground.samples] == ["so: B", "I cannot say"]

    def test_join_writes_all_texts_and_sums_what_they_cost(self, ground: Ground) -> None:
        keys = KEYS.replace("path\n", "path\ndoc_to_text: 'say {{q[-1]}}'\n", 1).replace(
            "doc_to_text: q\n", "", 1
        )
        keys = keys.replace("function: choice", "function: take_first").replace("accuracy", "exact_match")
        assert ground.run("AABBCC", "--long_audio", "window:seconds=2,combine=join", keys=keys) == 0
        (row,) = ground.samples
        assert row["response"] == "AA BB CC"
        assert row["usage"]["heard_seconds"] == pytest.approx(6.0)
        assert row["usage"]["peak_bytes"] == 2000
        assert row["audio"][0]["seconds"] == 6.0, "the row's clip is the whole one"

    def test_join_leaves_the_thoughts_on_each_window_out(self, ground: Ground) -> None:
        listener = ground.folder / "listener.py"
        thinking = 'Response("<think>hm" if "C" in letters else f"hm</think>{letters}"'
        listener.write_text(listener.read_text().replace('Response(letters or "B"', thinking))
        keys = HEARD.replace("doc_to_text: q", "doc_to_text: 'say {{q[-1]}}'") + "language: en\n"
        keys += "filter_list: [{name: strict, filter: [{function: transcript}]}]\n"
        keys += "metric_list: [{metric: wer}]\nheadline: {reading: strict, metric: wer}\n"
        assert ground.run("AABBDD AACCBB", "--long_audio", "window:seconds=2,combine=join", keys=keys) == 0
        whole, cut = ground.samples
        assert whole["response"] == "AA BB DD"
        assert whole["usage"]["details"]["window_responses"][0] == "hm</think>AA"
        assert cut["response"] == "<think>hm"
        assert cut["readings"]["strict"]["answer"] is None, "no part stands for the whole"

    def test_map_reduce_answers_from_notes_on_every_window(self, ground: Ground) -> None:
        flags = ("--long_audio", "window:seconds=2,combine=map_reduce,notes_tokens=77")
        keys = KEYS.replace("doc_to_text: q", "doc_to_text: 'note {{q[-1]}}'")
        assert ground.run("AABB", *flags, keys=keys) == 0
        first, second, last = ground.calls()
        assert [first[0], second[0], last[0]] == ["AA", "BB", ""]
        assert "part 1 of 2" in first[1]
        assert "part 2 of 2" in second[1]
        assert (first[2], last[2]) == (77, 256)
        assert "Part 1 (0:00 to 0:02): AA\nPart 2 (0:02 to 0:04): BB" in last[1]
        assert last[1].endswith("note 0")
        assert ground.samples[0]["response"] == "B"
        assert ground.run("AABB", *flags, keys=keys) == 0
        assert ground.calls() == []
        assert ground.results["cache"] == {"hits": 1, "misses": 0}

    def test_each_window_is_asked_what_the_user_says(self, ground: Ground) -> None:
        ask = "Part {part} of {parts}, answers only: {question}"
        rule = f"long_audio: {{window: {{seconds: 2, combine: vote, ask: '{ask}'}}}}\n"
        assert ground.run("AABB", keys=KEYS + rule) == 0
        assert [call[1].split("\n")[0] for call in ground.calls()] == [
            "Part 1 of 2, answers only: answers 0",
            "Part 2 of 2, answers only: answers 0",
        ]

    def test_a_window_that_fails_fails_the_row_and_says_which(self, ground: Ground) -> None:
        assert ground.run("AA--BB AABB", "--long_audio", VOTE) == 3
        first, second = ground.samples
        assert (first["status"], first["response"]) == ("error", None)
        assert first["error"] == "window 2 of 3 (2-4 s): deaf to silence"
        assert second["status"] == "ok"
        assert ground.results["tasks"]["own"]["n_errors"] == 1


class TestKeysAndLabels:
    def test_windows_are_cached_one_by_one_and_a_new_rule_asks_nothing(self, ground: Ground) -> None:
        assert ground.run("AABBBC", "--long_audio", VOTE) == 0
        assert len(ground.calls()) == 3
        assert ground.results["cache"] == {"hits": 0, "misses": 1}
        assert ground.run("AABBBC", "--long_audio", VOTE.replace("vote", "last")) == 0
        assert ground.calls() == []
        assert ground.results["cache"] == {"hits": 1, "misses": 0}
        assert ground.run("AABBBC", "--long_audio", "window:seconds=3,combine=vote") == 0
        assert len(ground.calls()) == 2

    def test_windows_of_one_sound_are_asked_once(self, ground: Ground) -> None:
        assert ground.run("AABBBB", "--long_audio", VOTE) == 0
        assert [call[0] for call in ground.calls()] == ["AA", "BB"]
        assert ground.samples[0]["usage"]["details"]["window_answers"] == ["A", "B", "B"]

    def test_the_label_says_how_clips_were_cut(
        self, ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ground.run("AABB BB", "--long_audio", "window:seconds=2,overlap=0.5,combine=vote") == 0
        assert ground.results["condition"] == {"long_audio": "windows of 2 s, overlap 0.5 s, vote"}
        assert "listener, windows of 2 s, overlap 0.5 s, vote" in capsys.readouterr().out

    def test_what_cuts_no_clip_leaves_no_mark(self, ground: Ground) -> None:
        assert ground.run("AA BB", "--long_audio", VOTE) == 0
        assert ground.results["condition"] == {}
        assert ground.run("AA BB", "--long_audio", "refuse") == 0
        assert ground.results["condition"] == {}

    def test_the_task_may_say_it_and_the_flag_decides(self, ground: Ground) -> None:
        keys = KEYS + "long_audio: {window: {seconds: 2, combine: vote}}\n"
        assert ground.run("AABBBB", keys=keys) == 0
        assert ground.results["condition"] == {"long_audio": "windows of 2 s, vote"}
        assert ground.run("AABB", "--long_audio", "refuse", keys=keys) == 0
        assert ground.results["condition"] == {"long_audio": "long audio uncut"}
        assert ground.samples[0]["response"] == "so: A"

    def test_a_run_is_scored_again_from_its_rows(self, ground: Ground) -> None:
        assert ground.run("AABBCCBC BB", "--long_audio", VOTE, golds="BA") == 0
        folder = str(newest_run(ground.folder / "out"))
        score = ["score", folder, "--include_path", str(ground.folder), "--data_dir", str(ground.folder)]
        (ground.folder / "tasks").mkdir()
        (ground.folder / "own.yaml").rename(ground.folder / "tasks" / "own.yaml")
        (ground.folder / "rows.json").rename(ground.folder / "tasks" / "rows.json")
        before, calls = ground.results, ground.calls()
        assert main([*score, "-o", str(ground.folder / "again")]) == 0
        after = read_results(newest_run(ground.folder / "again"))
        assert after["tasks"]["own"]["strict"] == before["tasks"]["own"]["strict"]
        assert after["condition"] == before["condition"]
        assert (len(calls), ground.calls()) == (5, [])

    def test_a_speed_changes_how_much_of_the_file_a_window_is(self, ground: Ground) -> None:
        assert ground.run("AAAABBBB", "--long_audio", VOTE, "--transform", "speed:factor=2") == 0
        assert ground.samples[0]["usage"]["details"]["windows"] == 2

    @pytest.mark.parametrize("transform", ["silence:seconds=0.5", "speed:factor=2+silence:seconds=0.5"])
    def test_silence_before_a_window_is_part_of_its_seconds(self, transform: str, ground: Ground) -> None:
        assert ground.run("AAAABBBB" * 2, "--long_audio", VOTE, "--transform", transform) == 0
        heard = 16.0 / (2 if transform.startswith("speed") else 1)
        windows = ground.samples[0]["usage"]["details"]["windows"]
        assert heard / windows + 0.5 <= 2 < heard / (windows - 1) + 0.5

    def test_silence_that_fills_a_window_is_refused(
        self, ground: Ground, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert ground.run("AABB", "--long_audio", VOTE, "--transform", "silence:seconds=2") == 2
        assert (
            "--transform: 2 s of silence before each window of long_audio (2 s) leave no room"
            in capsys.readouterr().err
        )

    def test_no_audio_leaves_nothing_to_cut(self, ground: Ground) -> None:
        assert ground.run("AABB", "--long_audio", VOTE, "--no_audio", "none") == 0
        assert len(ground.calls()) == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("cut", "neither of: --long_audio refuse, or --long_audio window:seconds=600"),
            ("window", "neither of"),
            ("window:seconds=5", "combine: Field required"),
            ("window:seconds=0,combine=vote", "seconds: Input should be greater than 0"),
            (
                "window:seconds=5,combine=mean",
                "combine: Input should be 'vote', 'last', 'join' or 'map_reduce'",
            ),
            ("window:seconds=5,combine=vote,overlp=1", "overlp: Extra inputs are not permitted"),
            ("window:seconds=5,combine=vote,overlap=5", "the overlap must be shorter than the window"),
            ("window:seconds=5,combine=join,overlap=1", "combine: join needs overlap: 0"),
            ("window:seconds=5,combine=vote,ask=what", "ask must contain {question}"),
        ],
    )
    def test_a_flag_that_cannot_be_read_says_what_can(self, text: str, said: str) -> None:
        with pytest.raises(MarathonError) as refused:
            parse_long_audio(text)
        assert str(refused.value).startswith("--long_audio: ")
        assert said in str(refused.value)

    def test_a_row_of_several_clips_is_an_error_row(self, ground: Ground) -> None:
        write_clip(ground.folder / "x.wav", "AAAA")
        keys = KEYS.replace("doc_to_audio: path", "doc_to_audio: [path, path]")
        assert ground.run("AABB A", "--long_audio", VOTE, keys=keys) == 3
        first, second = ground.samples
        assert (
            first["error"]
            == "row 0: its 2 clips last 8 s, and long_audio cuts only rows of one clip into windows"
        )
        assert second["status"] == "ok"

    def test_a_sweep_refuses_a_second_round(self, ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
        flags = ("--presses", "none", "--long_audio", "window:seconds=2,combine=map_reduce")
        assert _sweep(ground, *flags) == 2
        assert "combine=map_reduce is not supported in a sweep" in capsys.readouterr().err

    def test_a_sweep_combines_windows(self, ground: Ground, capsys: pytest.CaptureFixture[str]) -> None:
        assert _sweep(ground, "--presses", "none", "--long_audio", VOTE, "--json") == 0
        swept = json.loads(capsys.readouterr().out)
        assert swept["condition"] == {"long_audio": "windows of 2 s, vote"}
        (cell,) = swept["tasks"]["own"].values()
        assert (cell["score"], cell["n"]) == (100.0, 2)
        assert len(ground.calls()) == 5


def _sweep(ground: Ground, *flags: str) -> int:
    for number, letters in enumerate(("AABBCCBC", "BB")):
        write_clip(ground.folder / f"{number}.wav", letters)
    rows = [{"q": f"answers {n}", "a": "B", "path": f"{n}.wav"} for n in range(2)]
    task = write_task(ground.folder, KEYS, rows)
    given = [
        "--model",
        str(ground.folder / "listener.py"),
        "--tasks",
        str(task),
        "--data_dir",
        str(ground.folder),
    ]
    return main(["sweep", *given, "--use_cache", str(ground.folder / "cache"), *flags])
