"""Records which of a clip's audio tokens a press kept, compactly, for `log_tokens=true`; the report draws it under the sound.

`token_map` holds a byte per audio token, as zlib in base64: the share of layers (and key heads) that keep it, 255 for
all. `token_starts`, only where tokens do not divide the sound evenly, holds in the same way the differences between
consecutive start times, in hundredths of a second, as little-endian 16-bit numbers.
"""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.backends.hf.engine.eviction_context import Context


def token_record(shares: Tensor, times: NDArray[np.float64] | None) -> dict[str, str]:
    """Return the usage entries for `shares` [audio tokens], 0-1, whose seconds are `times` [audio tokens, 2]."""
    import numpy as np

    record = {"token_map": _packed((shares.float().cpu() * 255).round().to(torch.uint8).numpy().tobytes())}
    if times is None or len(times) != len(shares) or not len(times):
        return record
    even = np.arange(len(times)) * times[-1, 1] / len(times)
    if np.abs(times[:, 0] - even).max() > times[-1, 1] / len(times):
        starts = np.round(times[:, 0] * 100).astype(np.int64)
        record["token_starts"] = _packed(np.diff(starts, prepend=0).astype("<u2").tobytes())
    return record


def kept_shares(kept: Tensor, audio_tokens: int) -> Tensor:
    """Return 1 for the audio tokens whose numbers are in `kept`, and 0 for all others."""
    shares = torch.zeros(audio_tokens)
    shares[kept.cpu()] = 1.0
    return shares


class KeptKeys:
    """Counts, while an eviction press cuts a context's cache, in how many layers and key heads each key stays."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sums = torch.zeros(context.length)
        self._layers = 0

    def add(self, layer: int, kept: Tensor | None) -> None:
        """Add a layer; `kept` [key heads, n] are the places in its cache that stay, None: all of them."""
        cuts = self._context.cuts
        cut = max((each for each in cuts if each <= layer), default=None)
        positions = torch.arange(self._context.length) if cut is None else cuts[cut].cpu()
        self._layers += 1
        if kept is None:
            self._sums[positions] += 1.0
            return
        stays = torch.zeros(len(positions)).index_add_(
            0, kept.flatten().cpu(), torch.full((kept.numel(),), 1.0 / len(kept))
        )
        self._sums[positions] += stays

    def shares(self) -> Tensor:
        """Return the share of each audio token, silent ones included, in the prompt's order."""
        audio = torch.cat([self._context.audio, self._context.silent]).cpu().sort().values
        return self._sums[audio] / max(1, self._layers)


def _packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content, 9)).decode("ascii")
