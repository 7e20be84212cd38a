"""Records where a sound comes from, for every clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Origin:
    """Says whether a sound is real or synthetic, its package and file, and the licence that the package declares."""

    source: Literal["real", "synthetic"]
    provenance: str
    licence: str


@dataclass(frozen=True)
class Recording:
    """Holds mono float32 samples [n]; `text` is the spoken text, if known."""

    wave: NDArray[np.float32]
    origin: Origin
    text: str = ""


#: sounds that scripts/demo/make_mini computes itself
COMPUTED = Origin("synthetic", "computed with numpy by scripts/demo/make_mini", "Apache-2.0")


def joined(origins: Sequence[Origin], note: str = "") -> Origin:
    """Return the origin of a clip made from several sounds: real if all are, every package named once."""
    real = all(origin.source == "real" for origin in origins)
    provenance = "; ".join(sorted({origin.provenance for origin in origins}))
    licence = "; ".join(sorted({origin.licence for origin in origins}))
    return Origin("real" if real else "synthetic", provenance + note, licence)
