"""Writes the report page from Python: `marathon_eval.report(runs, "report.html")`."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from marathon_eval.errors import MarathonError


def write_report(
    runs: str | PathLike[str] | Sequence[str | PathLike[str]],
    page: str | PathLike[str] = "report.html",
    *,
    with_published: bool = False,
    data_dir: str | PathLike[str] | Sequence[str | PathLike[str]] = (),
) -> Path:
    """Write one HTML page about the runs in, or below, these folders, and return its path, as the verb `report` does.

    Clips that are no longer where a run found them are looked for below `data_dir`.
    Raises MarathonError for a folder without runs, a damaged run, and a page that does not end in .html.
    """
    from marathon_eval.files import write_atomically
    from marathon_eval.report.gather import make_report
    from marathon_eval.report.page import render_page
    from marathon_eval.report.runs import read_cells

    target = Path(page)
    if target.suffix not in (".html", ".htm"):
        raise MarathonError(f"page: {target} must end in .html")
    folders = [runs] if isinstance(runs, str | PathLike) else list(runs)
    clips = [str(folder) for folder in ([data_dir] if isinstance(data_dir, str | PathLike) else data_dir)]
    report = make_report(read_cells([Path(folder) for folder in folders]), with_published)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, [render_page(report, target, with_published, 0, clips, None)])
    return target
