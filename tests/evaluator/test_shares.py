"""Tests the processes of one launch: how requests are divided among them, and the merge of their cache files."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.rank_files import rank_file, take_in
from marathon_eval.cli.verbs.cache import fingerprint_lines
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.workers.launched import Ranks, launched, started_alone
from marathon_eval.evaluator.workers.shares import refuse_device_arguments, shared_out
from marathon_eval.models.dummy import Dummy

TORCHRUN = {"WORLD_SIZE": "4", "RANK": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "n1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, None),
        ({"WORLD_SIZE": "1", "RANK": "0"}, None),
        (TORCHRUN, Ranks(2, 4, 0)),
        ({key: TORCHRUN[key] for key in TORCHRUN if key != "LOCAL_RANK"}, Ranks(2, 4, 2)),
        (
            {
                "OMPI_COMM_WORLD_SIZE": "2",
                "OMPI_COMM_WORLD_RANK": "1",
                "OMPI_COMM_WORLD_LOCAL_RANK": "1",
                "MASTER_ADDR": "n1",
                "MASTER_PORT": "1",
            },
            Ranks(1, 2, 1),
        ),
    ],
)
def test_the_launcher_says_who_this_is(environment: Mapping[str, str], place: Ranks | None) -> None:
    assert launched(environment) == place


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"RANK": ""}, "RANK is not set"),
        ({"MASTER_ADDR": ""}, "MASTER_ADDR is not set"),
        ({"RANK": "4"}, "RANK=4"),
        ({"RANK": "x"}, "RANK=x"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two"),
    ],
)
def test_half_a_launch_is_refused(change: Mapping[str, str], said: str) -> None:
    with pytest.raises(MarathonError, match=said):
        launched({**TORCHRUN, **change})


def test_accelerate_without_mpi_starts_one_on_the_cpu() -> None:
    cpu = {"ACCELERATE_USE_CPU": "True", "MASTER_PORT": "29500"}
    assert started_alone(cpu)
    assert not started_alone({**cpu, **TORCHRUN})
    assert not started_alone({"ACCELERATE_USE_CPU": "True"})
    assert not started_alone({})


# -- sharing out ------------------------------------------------------------------------------------------------------


def clip(name: str, questions: int = 1) -> list[Request]:
    return [Request(f"q{number}", (Audio(name),)) for number in range(questions)]


@given(st.lists(st.tuples(st.floats(0, 3600), st.integers(1, 6)), max_size=30), st.integers(1, 8))
def test_shares_are_whole_keep_clips_together_and_differ_by_one_clip(
    clips: list[tuple[float, int]], world: int
) -> None:
    requests = [
        request for place, (_, questions) in enumerate(clips) for request in clip(str(place), questions)
    ]

    def seconds(request: Request) -> float:
        return clips[int(request.audios[0].path)][0]

    shares = shared_out(requests, seconds, world)
    assert len(shares) == world
    assert sorted((r for share in shares for r in share), key=requests.index) == requests
    homes: dict[str, int] = {}
    for rank, share in enumerate(shares):
        assert share == sorted(share, key=requests.index)
        assert all(homes.setdefault(request.audios[0].path, rank) == rank for request in share)
    loads = [sum(1 + seconds(request) for request in share) for share in shares]
    largest = max((questions * (1 + length) for length, questions in clips), default=0.0)
    assert max(loads) - min(loads) <= largest * (1 + 1e-9)


def test_requests_without_audio_are_shared_out_too() -> None:
    shares = shared_out([Request(str(number)) for number in range(10)], lambda _: 0.0, 2)
    assert [len(share) for share in shares] == [5, 5]


# -- devices --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        {"device_map": "auto"},
        {"device_map": {"": 0}},
        {"device": "cuda:0"},
        {"listener_device": "cuda:1"},
        {"reader_device_map": "auto"},
        {"listener_args": {"device_map": "auto"}},
    ],
)
def test_one_device_for_all_is_refused(args: dict[str, Any]) -> None:
    with pytest.raises(MarathonError, match="3 processes were launched"):
        refuse_device_arguments(args, Ranks(0, 3, 0))


def test_a_kind_of_device_is_everyones() -> None:
    refuse_device_arguments({"device": "cpu"}, Ranks(0, 2, 0))
    refuse_device_arguments({"device": "cuda"}, Ranks(0, 2, 0))


# -- cache files ------------------------------------------------------------------------------------------------------


def answered(folder: Path, name: str, prompts: list[str], answer: str = "A") -> None:
    with ResponseCache(folder, name) as cache:
        for _ in cache.answer(Dummy.from_args({"answer": answer}), [Request(prompt) for prompt in prompts]):
            pass


def hits(folder: Path, prompts: list[str]) -> list[bool]:
    with ResponseCache(folder) as cache:
        found = {
            item.request.prompt: item.cached
            for item in cache.answer(Dummy.from_args({"answer": "A"}), [Request(p) for p in prompts])
        }
    return [found[prompt] for prompt in prompts]


def test_what_ranks_left_is_found_by_one_process(tmp_path: Path) -> None:
    answered(tmp_path, "answers.sqlite", ["0"])
    answered(tmp_path, rank_file("answers.sqlite", 1), ["1", "2"])
    answered(tmp_path, rank_file("answers.sqlite", 12), ["2", "3"])
    assert fingerprint_lines(tmp_path)[0].endswith(": 4 answers of 1 models")
    assert hits(tmp_path, ["0", "1", "2", "3", "4"]) == [True] * 4 + [False]
    # a rank goes on with the file that was emptied
    answered(tmp_path, rank_file("answers.sqlite", 1), ["5"])
    assert hits(tmp_path, ["5"]) == [True]


def test_a_ranks_file_has_no_log_beside_it(tmp_path: Path) -> None:
    """Processes of several machines may read it; sqlite's write-ahead log is for one."""
    with ResponseCache(tmp_path, rank_file("answers.sqlite", 1)) as cache:
        cache.put("file/x", "y", at_once=True)
        assert [path.name for path in tmp_path.iterdir()] == ["answers.rank-1.sqlite"]


def test_a_damaged_rank_file_gives_what_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = rank_file("answers.sqlite", 1)
    answered(tmp_path, name, [f"{number} " + "word " * 200 for number in range(30)])
    content = bytearray((tmp_path / name).read_bytes())
    content[4096:6144] = b"\xff" * 2048
    (tmp_path / name).write_bytes(content)
    with ResponseCache(tmp_path):
        pass
    assert "was damaged" in capsys.readouterr().err
    kept = int(fingerprint_lines(tmp_path)[0].partition(": ")[2].split()[0])
    assert 20 <= kept <= 30
    # the copy that was set aside is nobody's cache
    take_in(tmp_path / "answers.sqlite")
    assert (tmp_path / "answers.rank-1.damaged-1.sqlite").exists()


def test_what_a_rank_was_asked_again_replaces_a_damaged_entry_alone(tmp_path: Path) -> None:
    answered(tmp_path, "answers.sqlite", ["0", "1"])
    with closing(sqlite3.connect(tmp_path / "answers.sqlite")) as connection, connection:
        (key,) = connection.execute('SELECT key FROM entries WHERE value LIKE \'%"prompt":"1"%\'').fetchone()
        connection.execute("UPDATE entries SET value = replace(value, 'stop', 'stap') WHERE key = ?", (key,))
    answered(tmp_path, rank_file("answers.sqlite", 1), ["0", "1"])
    with ResponseCache(tmp_path) as cache:
        given = cache.answer(Dummy.from_args({"answer": "A"}), [Request("0"), Request("1")])
        assert [(item.cached, item.response.finish_reason) for item in given] == [(True, "stop")] * 2


def test_a_rank_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "answers.rank-1.sqlite").mkdir()
    with pytest.raises(MarathonError, match=r"answers\.rank-1\.sqlite: cannot take"):
        ResponseCache(tmp_path)
