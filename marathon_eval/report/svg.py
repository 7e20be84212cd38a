"""Sets the look of figures, and saves them as SVG inside a page or as SVG and PNG files."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours of series; a page replaces them by CSS variables, so that one drawing serves light and dark themes.
SERIES = ("#0b62c4", "#c8401f", "#1d8348", "#8646bb", "#b86e00", "#00808f", "#b0307f", "#6b6f00")
INK, LINE = "#1b1c1e", "#d4d6da"
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
STYLES = ("-", "--", ":", "-.")
PNG_DPI = 200
#: The width of a column of a paper, in inches, and the size of the text in it, in points.
COLUMN_INCHES, COLUMN_POINTS = 3.4, 8
#: Whether figures are drawn for a column of a paper, and whether their points are links into a page.
for_paper: ContextVar[bool] = ContextVar("for_paper", default=False)
linked: ContextVar[bool] = ContextVar("linked", default=False)

_SETTINGS: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": LINE,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}
_PAPER: Any = {"font.size": COLUMN_POINTS, "axes.titlesize": COLUMN_POINTS, "lines.markersize": 3}


@contextmanager
def drawing() -> Iterator[Callable[[float, float], Figure]]:
    """Yield a function `figure(width, height)`, in inches, that makes figures with the report's look.

    For a paper, a figure is made as wide as a column, and its height follows.
    """
    import matplotlib
    from matplotlib.figure import Figure

    def new_figure(width: float, height: float) -> Figure:
        if for_paper.get():
            width, height = COLUMN_INCHES, height * max(0.6, COLUMN_INCHES / width)
        return Figure(figsize=(width, height), layout="constrained")

    with matplotlib.rc_context({**_SETTINGS, **(_PAPER if for_paper.get() else {})}):
        yield new_figure


def inline_svg(figure: Figure, name: str, title: str) -> str:
    """Return an <svg> element for a page, without XML prologue, with unique ids and colours from CSS variables.

    matplotlib's XML writer escapes the text; `name`, the prefix of the ids, must be a plain word.
    """
    text = _svg_text(figure, salt=name)
    text = text[text.index("<svg") :]
    for unwanted in ("metadata", "style"):
        text = re.sub(rf"<{unwanted}.*?</{unwanted}>", "", text, count=1, flags=re.DOTALL)
    # replace colours inside tags only, because a label may hold the text of a colour
    text = re.sub(r"<[^>]*>", lambda tag: _themed(tag.group(), name), text)
    opening = (
        f'<svg role="{"group" if "href=" in text else "img"}" aria-label="{escape(title)}" stroke-linejoin="round" '
        f'style="max-width:{figure.get_figwidth() * 72:.0f}pt" '
    )
    head, _, rest = text.partition(">")
    return opening + re.sub(r'^<svg | (height|width)="[^"]*"', "", head) + ">" + rest


def _themed(tag: str, name: str) -> str:
    for number, colour in enumerate(SERIES):
        tag = tag.replace(colour, f"var(--s{number})")
    # matplotlib's links open another window
    tag = tag.replace(' target="_blank"', "")
    tag = tag.replace(INK, "currentColor").replace(LINE, "var(--line)")
    return re.sub(r'( id="|url\(#|href="#(?!run=))', rf"\g<1>{name}-", tag)


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write `name`.svg and `name`.png to the folder, creating it. Raises MarathonError if it cannot be written."""
    import matplotlib

    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        paths[0].write_text(_svg_text(figure, salt=name), encoding="utf-8")
        with matplotlib.rc_context(_SETTINGS), _unknown_glyphs_allowed():
            figure.savefig(paths[1], dpi=PNG_DPI, facecolor="white")
    except OSError as error:
        raise MarathonError(f"--plots: cannot write to {folder} ({error.strerror})") from None
    return paths


def save_for_paper(figure: Figure, folder: Path, name: str) -> Path:
    """Write `name`.pdf to the folder, with text as text. Raises MarathonError if it cannot be written."""
    import matplotlib

    path = folder / f"{name}.pdf"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with matplotlib.rc_context({**_SETTINGS, **_PAPER}), _unknown_glyphs_allowed():
            figure.savefig(path, format="pdf", metadata={"CreationDate": None})
    except OSError as error:
        raise MarathonError(f"--plots: cannot write to {folder} ({error.strerror})") from None
    return path


def _svg_text(figure: Figure, salt: str) -> str:
    import matplotlib

    buffer = io.StringIO()
    # with a fixed salt and without a date, the same figure always gives the same bytes
    with matplotlib.rc_context({**_SETTINGS, "svg.hashsalt": salt}), _unknown_glyphs_allowed():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


@contextmanager
def _unknown_glyphs_allowed() -> Iterator[None]:
    """Silence warnings about glyphs that matplotlib's font lacks; the browser's own fonts will show them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield
