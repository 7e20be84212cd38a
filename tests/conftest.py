"""What every test shares: no hub, no user's cache, sounds made on the spot."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from helpers.tiny_model_cases import Benches, Clips

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# pytest-xdist's workers have one, and tables are then 80 characters wide instead of as wide as in a pipe
os.environ.pop("COLUMNS", None)
# A CUDA-built torchvision beside CPU torch takes transformers' audio models down with it: as marathon_eval.backends.hf.engine does, but
# before any test module imports transformers. tests/helpers/official_processor_inputs.py, a process of its own, is where it is wanted.
sys.modules.setdefault("torchvision", None)  # type: ignore[arg-type]  # how Python marks "not importable"

# Collecting makes a million objects that stay: looking through them again and again takes a fifth of the time. See
# pytest_collection_finish.
gc.disable()

# Started in the background of a shell script, this process ignores Ctrl-C and every child would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# An example takes longer than hypothesis' 200 ms where other processes use the machine too.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

ROOT = Path(__file__).resolve().parent.parent

#: Where no Chromium can be had, this leaves the tests that ask for `browser` out, and the summary says so.
NO_BROWSER = os.environ.get("MARATHON_NO_BROWSER") == "1"

MakeWav = Callable[..., Path]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not NO_BROWSER:
        return
    left_out = [item for item in items if "browser" in getattr(item, "fixturenames", ())]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish() -> None:
    """Take what the test modules imported, torch above all, out of what the garbage collector looks through.

    The engine collects whenever memory does not suffice, and hundreds of thousands of objects that never go away make that a third of
    a second each time. `marathon-eval` freezes its imports too (cli/main.py).
    """
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if NO_BROWSER:
        terminalreporter.write_line(
            "NOT TESTED: the report in a browser (MARATHON_NO_BROWSER=1)", yellow=True
        )


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, also not in the processes it starts."""
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start one Chromium for the tests of a file. Not one for all: it holds an event loop in the test's thread."""
    from helpers.chromium import chromium

    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Benches:
    """`bench("qwen_omni")` writes and loads a tiny checkpoint of that adapter, once a file."""
    from helpers.tiny_model_cases import benches

    return benches(tmp_path_factory)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    """`clip(95.0)` returns noise of that many seconds, once a file."""
    from helpers.tiny_model_cases import clips

    return clips(tmp_path_factory)


@pytest.fixture
def make_wav(tmp_path: Path) -> MakeWav:
    """`make_wav("a.wav", seconds=2, hz=440)` writes a tone and returns its path."""

    def make(name: str = "tone.wav", seconds: float = 1.0, hz: float = 440.0, rate: int = 16000) -> Path:
        import soundfile

        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        time = np.arange(int(seconds * rate)) / rate
        soundfile.write(path, (0.3 * np.sin(2 * np.pi * hz * time)).astype(np.float32), rate)
        return path

    return make
