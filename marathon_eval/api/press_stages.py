"""Reads the arguments of a pruning press that cuts several times: `layer=2+8,ratio=0.3+0.7`."""

from __future__ import annotations

import itertools
from typing import Any

from marathon_eval.errors import MarathonError


def parsed_stages(press: str, layer: str, ratio: str) -> dict[str, Any]:
    """Return the settings `layer`, `ratio` and `stages` for texts such as `2+8` and `0.3+0.7`.

    Raises MarathonError unless both texts have the same number of parts and both rise.
    """
    where = f"press={press}: layer={layer},ratio={ratio}"
    try:
        layers, ratios = [int(part) for part in layer.split("+")], [float(part) for part in ratio.split("+")]
    except ValueError:
        raise MarathonError(
            f"{where}: stages are numbers joined by +, as in layer=2+8,ratio=0.3+0.7"
        ) from None
    if len(layers) != len(ratios):
        raise MarathonError(f"{where}: {len(layers)} layers for {len(ratios)} ratios")
    for name, values in (("layers", layers), ("ratios", ratios)):
        if any(later <= earlier for earlier, later in itertools.pairwise(values)):
            raise MarathonError(f"{where}: {name} must rise: a ratio counts all audio tokens gone by then")
    if not ratios[0] >= 0:
        raise MarathonError(f"{where}: ratios must be at least 0 and below 1")
    return {"layer": layers[0], "ratio": ratios[-1], "stages": tuple(zip(layers, ratios, strict=True))}
