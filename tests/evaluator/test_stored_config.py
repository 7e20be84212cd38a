"""Tests that a stranger's results.json runs no code, opens no folder and connects to no server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import make_air_bench_mmar_data, make_audiomarathon_data
from helpers.api_server import FakeServer
from marathon_eval.cli.main import main
from marathon_eval.results.files import newest_run

TASK = "include: gtzan.yaml\ntask: gtzan\n"
PLUGIN = """
from pathlib import Path
from marathon_eval.models.dummy import Dummy

Path({touched!r}).touch()

class Evil(Dummy):
    pass
"""


class Stranger:
    """A run folder whose config names code, folders and a server; `touched` exists once any of the code ran."""

    def __init__(self, folder: Path, task: str, data: Path) -> None:
        self.folder, self.data, self.touched = folder, data, folder / "touched"
        for kind in ("models", "presses", "tasks"):
            (folder / "evil" / kind).mkdir(parents=True)
        self.plugin = folder / "evil" / "models" / "evil.py"
        self.plugin.write_text(PLUGIN.format(touched=str(self.touched)))
        (folder / "evil" / "tasks" / "gtzan.yaml").write_text(TASK)
        made = ["--model", "dummy", "--tasks", task, "--data_dir", str(data), "--no_cache"]
        assert main([*made, "-o", str(folder / "out")]) == 0
        self.run = newest_run(folder / "out")
        self.results = json.loads((self.run / "results.json").read_text())
        self.config(data_dir=None)

    def config(self, **settings: Any) -> None:
        results = {**self.results, "config": {**self.results["config"], "data_dir": None, **settings}}
        (self.run / "results.json").write_text(json.dumps(results))

    def verbs(self) -> list[list[str]]:
        """Every command that reads a stored config, with the folder of the data typed."""
        run, data, out = str(self.run), ["--data_dir", str(self.data)], str(self.folder / "made")
        return [
            ["score", run, *data],
            ["score", run, *data, "-o", out],
            ["score", run, *data, "--export", "official", "-o", out],
            ["pack", run, *data, "-o", f"{out}.tar.gz"],
            ["report", run, "-o", f"{out}.html"],
            ["leaderboard", run],
            ["compare", run, run],
        ]


@pytest.fixture
def stranger(tmp_path: Path) -> Stranger:
    return Stranger(tmp_path, "gtzan", make_audiomarathon_data.build(tmp_path / "data", {"gtzan": 4}))


@pytest.mark.parametrize("judge", ["evil", "PATH", "evil:Evil"])
def test_no_code_of_a_stored_config_runs(
    stranger: Stranger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, judge: str
) -> None:
    monkeypatch.syspath_prepend(str(stranger.plugin.parent))
    evil = str(stranger.folder / "evil")
    name = str(stranger.plugin) if judge == "PATH" else judge
    for settings in ({"judge_model": name}, {"judge_model": name, "include_path": [evil]}):
        stranger.config(**settings, model=name)
        for command in stranger.verbs():
            capsys.readouterr()
            code = main(command)
            said = capsys.readouterr().err
            assert not stranger.touched.exists(), command
            assert "Traceback" not in said
            if command[0] in ("score", "pack") and "include_path" in settings:
                assert (code, said.count("\n")) == (2, 1), (command, said)
                assert f"type --include_path {evil}" in said
            elif command[0] == "score":
                assert code == 0, said
                assert "some settings of this run are not used" in said
                assert f"to use them too, type --judge_model {name}" in said


def test_no_server_of_a_stored_config_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-" + "0" * 40)
    make_air_bench_mmar_data.chat(tmp_path / "data")
    stranger = Stranger.__new__(Stranger)
    with FakeServer() as server:
        judged = ["--judge_model", "dummy", "--judge_args", "answer=5 5"]
        made = ["--model", "dummy", "--tasks", "air_bench_chat_sound", "--data_dir", str(tmp_path / "data")]
        assert main([*made, *judged, "--no_cache", "-o", str(tmp_path / "out")]) == 0
        stranger.folder, stranger.data, stranger.run = (
            tmp_path,
            tmp_path / "data",
            newest_run(tmp_path / "out"),
        )
        stranger.results = json.loads((stranger.run / "results.json").read_text())
        stranger.config(judge_model="openai_audio", judge_args={"model": "m", "base_url": server.url})
        for command in stranger.verbs():
            capsys.readouterr()
            main(command)
            said = capsys.readouterr().err
            assert "Traceback" not in said
        assert server.calls == []
        assert main(["score", str(stranger.run), "--data_dir", str(tmp_path / "data"), *judged]) == 0
        assert "not used" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"data_dir": "/etc"}, "this run read its data from a path stored here"),
        ({"data_dir": "/etc"}, "to open it, type --data_dir /etc"),
        ({"data_dir": "/etc", "include_path": ["/usr"]}, "this run read its data and its tasks from a path"),
        ({"data_dir": "/a b\x1b[2J"}, r"type --data_dir '/a b\x1b[2J'"),
        ({"include_path": ["/etc", "/usr"]}, "type --include_path /etc /usr"),
        ({"tasks": ["/etc/x.yaml"]}, "this run read its tasks from a path stored here"),
        ({"tasks": ["/etc/x.yaml"]}, "type --include_path /etc"),
        ({"tasks": 5}, "config: tasks: is missing or has the wrong type"),
        ({"tasks": [5]}, "config: tasks: is missing or has the wrong type"),
        ({"samples": {"gtzan": 5}}, "config: samples: is missing or has the wrong type"),
        ({"limit": "x"}, "config: limit: is missing or has the wrong type"),
        ({"seed": True}, "config: seed: is missing or has the wrong type"),
    ],
)
def test_what_must_be_typed_is_one_line(
    stranger: Stranger, capsys: pytest.CaptureFixture[str], settings: dict[str, Any], said: str
) -> None:
    stranger.config(**settings)
    for command in (["score", str(stranger.run)], ["pack", str(stranger.run)]):
        capsys.readouterr()
        assert main(command) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert said in error


def test_the_cache_of_a_stored_config_is_not_packed(
    stranger: Stranger, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger.config(use_cache=str(stranger.folder / "secret"))
    assert main(["pack", str(stranger.run), "--data_dir", str(stranger.data)]) == 0
    assert f"type --use_cache {stranger.folder / 'secret'}" in capsys.readouterr().err
