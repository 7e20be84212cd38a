"""Computes log-mel features with Whisper's feature extractor: padded to its window, or as long as the clip.

Imports torch inside functions only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from marathon_eval.backends.hf.inputs import RATE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


def audio_tokens(frames: int) -> int:
    """Count the tokens that a Whisper-like encoder with pooling makes of `frames` mel frames (two halvings)."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1 if frames > 1 else 0


def windows(extractor: Any, clips: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Return features [N, mel, frames] of clips padded to the extractor's window, and the mask [N, frames].

    The extractor cuts clips that are longer than the window; the mask marks the real frames, by
    which callers detect the cut.
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
    """Compute log-mel features [mel, ceil(n / hop)] of a clip, equal to those of the clip padded to 300 s.

    The clip is padded with two frames of silence, whose features are dropped. The windows of the last frames then
    contain zeros, as in the padded clip, instead of a mirror image of the clip's end, and the maximum that scales all
    frames is taken over the same frames.
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
    """Pad features with zeros to [N, mel, longest], and return them with the mask [N, longest] of real frames."""
    import torch

    longest = max(mel.shape[1] for mel in features)
    padded = torch.zeros(len(features), features[0].shape[0], longest)
    mask = torch.zeros(len(features), longest, dtype=torch.long)
    for row, mel in enumerate(features):
        padded[row, :, : mel.shape[1]] = torch.from_numpy(mel)
        mask[row, : mel.shape[1]] = 1
    return padded, mask


def whole_clip(extractor: Any, wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute log-mel features [mel, frames] of a clip of any length, neither padded nor cut."""
    out = extractor(wave, sampling_rate=RATE, padding=False, truncation=False, return_tensors="np")
    mel: NDArray[np.float32] = out["input_features"][0]
    return mel
