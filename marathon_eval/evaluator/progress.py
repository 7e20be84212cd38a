"""Reports a run's progress on standard error: a live bar in a terminal or notebook, otherwise one line a minute."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from marathon_eval.evaluator.eta import Forecast
from marathon_eval.evaluator.requests import Progress
from marathon_eval.scoring.scorer import SCORABLE_STATUS

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from marathon_eval.api.model import CachedResponse
    from marathon_eval.evaluator.requests import RequestPool, RunResponses

LINE_EVERY_SECONDS = 60.0


def terminal_progress() -> Progress:
    """Return a live bar if standard error is a terminal or a notebook that can show one, else plain lines."""
    return BarProgress() if sys.stderr.isatty() or _in_notebook() else LineProgress()


def _in_notebook() -> bool:
    """Return whether this is a Jupyter kernel with ipywidgets, without which rich shows no bar."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell" and find_spec("ipywidgets") is not None


class LineProgress(Progress):
    """Prints plain lines: at the start, once a minute, and at the end."""

    _refused = 0
    _portion = ""
    _split = 0
    _cells = ""

    def opened(self, pool: RequestPool, responses: RunResponses) -> None:
        self._split = len(pool.splits)

    def portion(self, name: str) -> None:
        self._portion = f"{name}: "

    def cells(self, told: str) -> None:
        self._cells = told

    def refused(self, rows: int) -> None:
        self._refused = rows

    def start(self, hits: int, misses: int, seconds: float) -> None:
        self._misses, self._seconds = misses, seconds
        self._errors = 0
        self._forecast = Forecast()
        self._began = self._printed = self._latest = time.monotonic()
        windows = f" ({self._split} rows are asked in windows)" if self._split else ""
        text = f"{self._portion}running {misses} requests{windows} on {hours(seconds)} of audio; {hits} answers are in the cache"
        text += f": {self._cells}" if self._cells else ""
        self.say(f"{text}; {self._refused} rows cannot be asked" if self._refused else text)

    def advance(self, answered: CachedResponse, seconds: float) -> None:
        now = time.monotonic()
        self._forecast.add(seconds, now - self._latest)
        self._latest = now
        self._errors += answered.response.status not in SCORABLE_STATUS
        if now - self._printed >= LINE_EVERY_SECONDS:
            self._printed = now
            self.say(self.state())

    def stop(self) -> None:
        if getattr(self, "_misses", 0):
            self.say(self.state())

    def state(self) -> str:
        """Return `12/40 answers, 0.31 h of 1.02 h of audio, 1 failed, 95 s, about 210 s left`.

        Rows that could not be asked count as failed, as they do below the run's table; none failed is not said.
        """
        done, heard = self._forecast.answers, self._forecast.audio
        passed = time.monotonic() - self._began
        text = (
            f"{self._portion}{done}/{self._misses} answers, {hours(heard)} of {hours(self._seconds)} of audio"
        )
        failed = self._errors + self._refused
        text += f", {failed} failed, {passed:.0f} s" if failed else f", {passed:.0f} s"
        left = self._forecast.left(self._misses - done, self._seconds - heard)
        if done < self._misses and left is not None and self._forecast.known:
            # the time since the latest answer has gone into the next one
            text += f", about {max(0.0, left - (time.monotonic() - self._latest)):.0f} s left"
        return text

    def say(self, text: str) -> None:
        """Print one line on standard error."""
        print(f"marathon-eval: {text}", file=sys.stderr, flush=True)


class BarProgress(LineProgress):
    """Shows the same facts in one line that rich keeps up to date."""

    _bar: RichProgress
    _row: TaskID

    def start(self, hits: int, misses: int, seconds: float) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            BarColumn(), TextColumn("{task.description}"), console=Console(stderr=True), transient=True
        )
        self._bar.start()
        self._row = self._bar.add_task("", total=misses)
        super().start(hits, misses, seconds)

    def advance(self, answered: CachedResponse, seconds: float) -> None:
        super().advance(answered, seconds)
        self._bar.update(self._row, advance=1, description=self.state())

    def stop(self) -> None:
        if hasattr(self, "_bar"):
            self._bar.stop()
        super().stop()

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False, highlight=False)


def hours(seconds: float) -> str:
    """Return a length of audio such as `1.02 h`, or `35 s` below 36 seconds."""
    return f"{seconds / 3600:.2f} h" if seconds >= 36 else f"{seconds:.0f} s"
