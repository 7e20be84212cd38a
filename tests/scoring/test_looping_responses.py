"""Checks that `choice` ends on what models write in a loop: thousands of the same words, without a full stop."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

LOOPS = (
    "a ",
    "so it is ",
    "the answer is ",
    "Dog barking. Cat meowing. ",
    "is the most ",
    "in conclusion ",
    "\u56e0\u6b64\u7b54\u6848\u662f\u72d7\u53eb\u58f0",
)
#: CPU seconds for one loop: it takes about one, and more than this where a pattern takes quadratic time.
CPU_SECONDS = 20
READ = """
import sys
from marathon_eval.scoring.filters.choice import find
options = ("Dog barking", "Cat meowing", "Bird singing")
for letters in (0, 3):
    find("? " + sys.argv[1] * 20000, options, letters)
"""


def limit_cpu() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_of_twenty_thousand_repeats_is_read(loop: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ, loop], preexec_fn=limit_cpu, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
