"""Tests the ranks of one run: their messages, how requests are divided, and the merge of their cache files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.rank_files import rank_file, take_in
from marathon_eval.cli.verbs.cache import fingerprint_lines
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.distributed import messages
from marathon_eval.evaluator.distributed.follower import request_from
from marathon_eval.evaluator.distributed.leader import memo, refuse_device_arguments
from marathon_eval.evaluator.distributed.messages import Channel, Pulse
from marathon_eval.evaluator.distributed.ranks import Ranks, launched, shared_out, started_alone
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

    shares = shared_out(requests, seconds, range(world))
    assert sorted(shares) == list(range(world))
    assert sorted((r for share in shares.values() for r in share), key=requests.index) == requests
    homes: dict[str, int] = {}
    for rank, share in shares.items():
        assert share == sorted(share, key=requests.index)
        assert all(homes.setdefault(request.audios[0].path, rank) == rank for request in share)
    loads = [sum(1 + seconds(request) for request in share) for share in shares.values()]
    largest = max((questions * (1 + length) for length, questions in clips), default=0.0)
    assert max(loads) - min(loads) <= largest * (1 + 1e-9)


def test_requests_without_audio_are_shared_out_too() -> None:
    shares = shared_out([Request(str(number)) for number in range(10)], lambda _: 0.0, [0, 3])
    assert [len(share) for share in shares.values()] == [5, 5]


# -- messages ---------------------------------------------------------------------------------------------------------


class Shelf:
    """torch's store, within one process."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def set(self, key: str, value: str) -> None:
        self.kept[key] = value.encode()

    def get(self, key: str) -> bytes:
        return self.kept[key]

    def check(self, keys: list[str]) -> bool:
        return all(key in self.kept for key in keys)

    def delete_key(self, key: str) -> bool:
        return self.kept.pop(key, None) is not None


class Gone(Shelf):
    def check(self, keys: list[str]) -> bool:
        raise RuntimeError("Connection reset by peer\nand a page of frames")


def test_messages_arrive_once_in_order_and_leave_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "_PIECE", 64)
    shelf = Shelf()
    leader, follower = (Channel(Ranks(rank, 2, rank), shelf) for rank in (0, 1))
    before = set(shelf.kept)
    texts = ["a\ud800é" * 100, "", "short"]
    for text in texts:
        leader.send(1, "ask", text=text)
    assert follower.received(0) == {"kind": "ask", "text": texts[0]}
    assert leader.received(1) is None
    assert [(follower.received(0) or {})["text"] for _ in texts[1:]] == texts[1:]
    assert follower.received(0) is None
    assert set(shelf.kept) == before


def test_a_process_of_this_machine_is_missed_at_once() -> None:
    shelf = Shelf()
    link = Channel(Ranks(0, 2, 0), shelf)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    shelf.set("who/1", json.dumps([messages._machine(), child.pid, "here"]))
    assert link.staying(1)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not link.alive(1), "its parent has not looked after it yet, but it is dead"
    child.wait()
    assert not link.alive(1)
    assert link.described(1) == f"rank 1 (process {child.pid} on here)"
    child.communicate()


def test_a_process_elsewhere_is_missed_when_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(messages.time, "monotonic", lambda: now[0])
    shelf = Shelf()
    link = Channel(Ranks(0, 3, 0), shelf)
    shelf.set("who/1", json.dumps(["another machine", 1, socket.gethostname()]))
    for step in range(5):
        shelf.set("beat/1", str(step))
        assert link.alive(1)
        now[0] += messages.SILENT_SECONDS - 1
    assert link.alive(1)
    now[0] += 2
    assert not link.alive(1)
    # one that never came gets as long as starting may take
    assert not link.alive(2)
    assert "never started" in link.described(2)


def test_a_store_that_is_gone_is_a_lost_leader() -> None:
    link = Channel(Ranks(1, 2, 1), Gone())
    with pytest.raises(messages.Unreachable, match=r"^Connection reset by peer$"):
        link.received(0)
    with Pulse(link) as pulse, pytest.raises(KeyboardInterrupt):
        _work(pulse)
    assert pulse.lost


def _work(pulse: Pulse) -> None:
    with pulse.breakable():
        messages.time.sleep(20)


TEXT = st.text(st.characters(), max_size=20)


@given(
    TEXT,
    st.lists(st.tuples(TEXT, st.floats(0, 10), st.none() | st.floats(10, 20)), max_size=3),
    st.none() | TEXT,
    st.lists(TEXT, max_size=2),
)
def test_a_request_is_the_same_on_the_other_side(
    prompt: str, clips: list[tuple[str, float, float | None]], system: str | None, stop: list[str]
) -> None:
    audios = tuple(Audio(path, start, end, "") for path, start, end in clips)
    request = Request(prompt, audios, Generation(7, tuple(stop), 0.1, 0.3, 5), system)
    assert request_from(json.loads(json.dumps(asdict(request)))) == request


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


def test_a_rank_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "answers.rank-1.sqlite").mkdir()
    with pytest.raises(MarathonError, match=r"answers\.rank-1\.sqlite: cannot take"):
        ResponseCache(tmp_path)


def test_what_the_leader_hashed_nobody_hashes_again(tmp_path: Path, make_wav, monkeypatch) -> None:
    request = Request("q", (Audio(str(make_wav())),))
    with ResponseCache(tmp_path) as cache:
        facts, _ = cache.facts(request.audios)
        cache.put("file/weights", "0123")
        told = memo(cache, [request])
    assert "file/weights" in told
    monkeypatch.setattr(Audio, "facts", lambda self: pytest.fail("hashed again"))
    with ResponseCache(tmp_path, rank_file("answers.sqlite", 1)) as other:
        other.prime(told)
        assert other.facts(request.audios)[0] == facts
