"""Draws what each press of a sweep costs as one SVG: `python scripts/demo/curve.py demo/sweep docs/cost.svg`."""

from __future__ import annotations

import sys
from pathlib import Path

from marathon_eval.report import plots
from marathon_eval.report.cost import sweep_costs
from marathon_eval.report.runs import read_cells


def main(folder: str, image: str) -> None:
    figure = plots.cost_by_task(sweep_costs(read_cells([folder])))
    figure.savefig(Path(image), format="svg", metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    main(*sys.argv[1:])
