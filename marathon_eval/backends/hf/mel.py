"""Clips as log-mel features, the two ways that models with Whisper's feature extractor want them. No torch at the top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from marathon_eval.backends.hf.inputs import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def audio_tokens(frames: int) -> int:
    """Tokens that an encoder of Whisper's kind with pooling makes of `frames` mel frames: two halvings."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1 if frames > 1 else 0


def windows(extractor: Any, clips: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """[N, mel, frames] features of clips padded to the extractor's window, and the mask [N, frames] of real frames.

    What is longer than the window is cut by the extractor: the mask then tells.
    """
    out = extractor(
        list(clips),
        sampling_rate=RATE,
        padding="max_length",
        return_attention_mask=True,
        return_tensors="pt",
    )
    return out["input_features"], out["attention_mask"]


def mel_frames(extractor: Any, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel features [mel, ceil(n / hop)] of a clip, equal to those of the clip padded to 300 s.

    Two frames of silence more than the clip has are computed and dropped: the window of its last frames then meets
    zeros, as it does in the padded clip, instead of a mirror image of its end, and the loudest frame, which scales
    all others, is found among the same frames.
    """
    hop = int(extractor.hop_length)
    frames = -(-len(wave) // hop)
    out = extractor(
        wave,
        sampling_rate=RATE,
        padding="max_length",
        max_length=(frames + 2) * hop,
        truncation=False,
        return_tensors="np",
    )
    mel: NDArray[np.float32] = out["input_features"][0, :, :frames]
    return mel


def stacked(features: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Features [N, mel, longest] padded with zeros, and the mask [N, longest] of real frames."""
    import torch

    longest = max(mel.shape[1] for mel in features)
    padded = torch.zeros(len(features), features[0].shape[0], longest)
    mask = torch.zeros(len(features), longest, dtype=torch.long)
    for row, mel in enumerate(features):
        padded[row, :, : mel.shape[1]] = torch.from_numpy(mel)
        mask[row, : mel.shape[1]] = 1
    return padded, mask


def whole_clip(extractor: Any, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Log-mel features [mel, frames] of a clip of any length, neither padded nor cut."""
    out = extractor(wave, sampling_rate=RATE, padding=False, truncation=False, return_tensors="np")
    mel: NDArray[np.float32] = out["input_features"][0]
    return mel
