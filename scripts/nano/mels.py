"""Computes mel spectra as powers, so that thousands of analysed sounds can be mixed quickly.

The model's features are those that its feature extractor would compute from the mixed sound; a test compares the two.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from demo.waves import Wave

if TYPE_CHECKING:
    from torch import Tensor

BINS, HOP, WINDOW = 64, 160, 400
#: Mel frames of one audio token, and of one of the encoder's windows (2 s).
PER_TOKEN, PER_CHUNK = 4, 200
Mel = NDArray[np.float16]


@cache
def extractor() -> Any:
    """Return the feature extractor that ships with the checkpoint: Whisper's, with 64 bands."""
    return transformers.WhisperFeatureExtractor(
        feature_size=BINS, chunk_length=300, return_attention_mask=True
    )


def log_mel(wave: Wave) -> Mel:
    """Return log10 of the mel powers [BINS, n // HOP] of a wave at 16 kHz, not yet normalised."""
    filters = torch.from_numpy(np.asarray(extractor().mel_filters, np.float32))
    spectrum = torch.stft(torch.from_numpy(wave), WINDOW, HOP, window=_window(), return_complex=True)
    power = filters.T @ spectrum[:, :-1].abs() ** 2
    return power.clamp(min=1e-10).log10().numpy().astype(np.float16)


@cache
def _window() -> Tensor:
    return torch.hann_window(WINDOW)


def features(mel: NDArray[Any]) -> NDArray[np.float32]:
    """Turn powers into the extractor's features: clamped to 80 dB below the loudest, and scaled."""
    loud = mel.astype(np.float32)
    return np.asarray((np.maximum(loud, loud.max() - 8.0) + 4.0) / 4.0, np.float32)


def overlaid(bed: NDArray[Any], sound: NDArray[Any], first: int) -> None:
    """Add the powers of `sound` to those of `bed`, in place, from frame `first` on."""
    last = min(first + sound.shape[1], bed.shape[1])
    part = sound[:, : last - first].astype(np.float32)
    bed[:, first:last] = np.log10(10.0 ** bed[:, first:last].astype(np.float32) + 10.0**part)
