"""Tests that a sweep stops where every request fails for one reason, and goes on where one cell answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from helpers import tiny_checkpoints
from helpers.multi_question_task import Taken, config, data
from marathon_eval.api.model import Model, Request, Response
from marathon_eval.backends.hf import adapter
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.sweep import sweep
from marathon_eval.evaluator.sweep_cells import Grid


def answering(labels: tuple[str, ...]) -> Callable[..., Iterator[tuple[Request, Response]]]:
    """Return a `generate` with which the cells of these presses answer, and all others fail with one reason."""

    def generate(self: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        press = "none" if self.press is None else self.press.name()
        yield from (
            (one, Response("x") if press in labels else Response.failed("no kernel")) for one in requests
        )

    return generate


def test_a_sweep_whose_requests_all_fail_stops_and_one_with_an_answering_cell_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tiny_checkpoints.make_qwen_omni(tmp_path)
    run, grid = (
        config(data(tmp_path, clips=12), checkpoint, tmp_path / "cache"),
        Grid(("none", "frame"), (0.5,)),
    )
    monkeypatch.setattr(adapter.HFAudio, "generate", answering(()))
    with pytest.raises(MarathonError, match="10 requests in a row failed with the same reason: no kernel"):
        sweep(run, grid, Taken())
    monkeypatch.setattr(adapter.HFAudio, "generate", answering(("frame",)))
    taken = Taken()
    assert sweep(run, grid, taken)
    assert [result.tasks["heard"].n_errors for result in taken.values()] == [36, 0]
