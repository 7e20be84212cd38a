"""Tests that a run imports what scoring needs before it asks the model, and commits the answers before it scores."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from helpers.minimal_task import KEYS, write_task

SCRIPT = """
import sqlite3, sys
import marathon_eval
from marathon_eval.evaluator import run_scores

class Noting(marathon_eval.Model):
    def generate(self, requests):
        print("numpy" in sys.modules, "marathon_eval.scoring.intervals" in sys.modules)
        for request in requests:
            yield request, marathon_eval.Response("A")

def scored(*arguments):
    connection = sqlite3.connect(sys.argv[2] + "/answers.sqlite")
    print(connection.execute("SELECT count(*) FROM entries WHERE key LIKE 'response/%'").fetchone())
    raise SystemExit

run_scores.TaskScores.add = scored
marathon_eval.simple_evaluate(Noting.from_args({}), [sys.argv[1]], use_cache=sys.argv[2])
"""


def test_scoring_is_ready_before_the_model_is_asked_and_the_answers_are_kept_before_it(
    tmp_path: Path,
) -> None:
    write_task(tmp_path, KEYS, [{"q": "one", "a": "A"}, {"q": "two", "a": "A"}])
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "own.yaml"), str(tmp_path / "kept")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "True True\n(2,)\n", done.stderr
