"""Computes which seconds of the sound each audio token stands for; silent tokens stand for none.

Tokens are not always spread evenly over a clip: an encoder with a fixed window pads what is shorter, and the padding
makes tokens too, the silent ones. A table of times has one row per token, its start and its end in seconds; a silent
token's are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    #: [tokens, 2], start and end in seconds.
    Times = NDArray[np.float64]


def at_rate(tokens: int, rate: float, seconds: float) -> Times:
    """Return the times of tokens that follow each other at `rate` per second; those after the clip's end are silent."""
    import numpy as np

    edges = np.minimum(np.arange(tokens + 1) / rate, seconds)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def evenly(tokens: int, seconds: float) -> Times:
    """Return the times of tokens that divide the clip into equal parts."""
    import numpy as np

    edges = np.arange(tokens + 1) * seconds / max(tokens, 1)
    return np.stack([edges[:-1], edges[1:]], axis=1)


def by_frames(starts: NDArray[np.int64], ends: NDArray[np.int64], rate: float, seconds: float) -> Times:
    """Return the times of tokens that stand for the encoder's frames from `starts` to before `ends`."""
    import numpy as np

    return np.minimum(np.stack([starts, ends], axis=1) / rate, seconds)


def only_first(times: Times, count: int) -> Times:
    """Return the times with every token from the `count`-th on as silent."""
    times = times.copy()
    times[count:, 0] = times[count:, 1]
    return times


def joined(
    pieces: Sequence[Sequence[Times]], lengths: Sequence[Sequence[float]], clips: Sequence[float]
) -> Times:
    """Join the times of a sample's clips, each in pieces, to times in the joined sound.

    `lengths` holds the seconds of each piece and `clips` those of each clip, which a padded last piece may exceed.
    """
    import numpy as np

    found, offset = [np.zeros((0, 2))], 0.0
    for times, seconds, clip in zip(pieces, lengths, clips, strict=True):
        at = offset
        for each, length in zip(times, seconds, strict=True):
            found.append(np.minimum(each + at, offset + clip))
            at += length
        offset += clip
    return np.concatenate(found)


def is_silent(times: Times) -> NDArray[np.bool_]:
    """Return which tokens [tokens] stand for no sound."""
    return times[:, 1] <= times[:, 0]
