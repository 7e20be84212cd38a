"""Adapts Granite Speech 3.x: https://huggingface.co/ibm-granite/granite-speech-3.3-8b

Its feature extractor needs torchaudio, whose releases lag behind torch's; this file computes the same features with
torch alone. If a checkpoint has a speech LoRA, transformers switches it on when there is audio.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf import lora, weights
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.config_files import read_json
from marathon_eval.backends.hf.inputs import ALL_KERNELS, RATE
from marathon_eval.backends.hf.token_times import by_frames
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded


class GraniteSpeechSettings(ChatSettings):
    """Holds the arguments of every chat model."""

    pretrained: str = "ibm-granite/granite-speech-3.3-8b"


class GraniteSpeech(ChatModel):
    """Answers with Granite Speech, one request at a time.

    The encoder attends in blocks and has no mask for padding. In a batch with a longer clip, the last block of a
    shorter clip would contain silence, which moves its logits by some thousandths.

    - Chat: the checkpoint's template with turns of plain text, audio before the question, one clip per question.
    - Audio: 10 tokens per second (3 per 0.3 s begun); its length is limited only by the model's positions.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/ibm-granite/granite-speech-3.3-8b
    """

    Settings: ClassVar[type[ModelSettings]] = GraniteSpeechSettings
    version: ClassVar[int] = 2
    weights_class = "GraniteSpeechForConditionalGeneration"
    token_rate = 10.0
    padded_to = 0.3
    parts = False
    batches = False
    clips_per_question = 1
    end_tokens = ("<|end_of_text|>",)
    #: The projector's queries are one row for all blocks of audio, which flash attention refuses.
    part_kernels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text_config": ALL_KERNELS,
        "encoder_config": ALL_KERNELS,
        "projector_config": ("sdpa", "eager"),
    }

    def optional_packages(self, folder: Path | None) -> dict[str, Any]:
        """Add peft's release where the checkpoint has a speech LoRA, which all on the hub are taken to have.

        Raises MarathonError for a config.json that is no JSON.
        """
        if folder is not None and not _has_lora(folder):
            return super().optional_packages(folder)
        return weights.peft_release()

    def check(self) -> None:
        super().check()
        folder = weights.local_folder(self.args.pretrained, self.flags.args)
        if folder is not None and _has_lora(folder):
            lora.refuse_incomplete(folder, f"{self.flags.args}: pretrained={self.args.pretrained}")

    def after_load(self, model: Any, folder: Path) -> None:
        if _has_lora(folder):
            lora.refuse_incomplete(folder, f"{self.flags.args}: pretrained={self.args.pretrained}")

    def extractor(self, folder: Path) -> LogMel:
        """Build the features from the checkpoint's settings. Raises MarathonError when their file is missing."""
        for name, section in (
            ("preprocessor_config.json", None),
            ("processor_config.json", "audio_processor"),
        ):
            file = folder / name
            if file.is_file():
                config = json.loads(file.read_text(encoding="utf-8"))
                return LogMel.of(config.get(section, {}) if section else config)
        raise MarathonError(f"--model_args: pretrained={folder}: has no preprocessor_config.json")

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        import torch

        mel: LogMel = loaded.features
        features = mel(torch.stack([torch.from_numpy(clip) for clip in clips]))
        tokens = [mel.tokens(len(clip)) for clip in clips]
        mask = torch.arange(max(tokens))[None] < torch.tensor(tokens)[:, None]
        heard = [min(len(clip), 2 * features.shape[1] * mel.hop_length) / RATE for clip in clips]
        return ClipFeatures({"input_features": features, "input_features_mask": mask}, tokens, heard)

    def token_times(self, loaded: Loaded, tokens: int, seconds: float) -> NDArray[np.float64]:
        """Return the times [tokens, 2]: each token reads a whole window of frames, so those of one window share it."""
        import numpy as np

        mel: LogMel = loaded.features
        starts = np.arange(tokens) // mel.tokens_per_window * mel.projector_window_size
        # two mel frames are stacked into one
        rate = mel.sampling_rate / (2 * mel.hop_length)
        return by_frames(starts, starts + mel.projector_window_size, rate, seconds)

    def encoder(self, model: Any) -> Any:
        return model.model.encoder if hasattr(model.model, "encoder") else model.encoder


def _has_lora(folder: Path) -> bool:
    return bool(read_json(folder / "config.json").get("has_lora_adapter"))


@dataclass(frozen=True)
class LogMel:
    """Computes log-mel features, two frames stacked into one, scaled by the loudest value of each clip."""

    sampling_rate: int = RATE
    n_fft: int = 512
    win_length: int = 400
    hop_length: int = 160
    n_mels: int = 80
    projector_window_size: int = 15
    projector_downsample_rate: int = 5

    @classmethod
    def of(cls, config: dict[str, Any]) -> LogMel:
        """Build from a feature extractor's config, which holds the spectrogram's settings under `melspec_kwargs`."""
        flat = {**config, **config.get("melspec_kwargs", {})}
        flat["sampling_rate"] = flat.get("sample_rate", flat.get("sampling_rate", RATE))
        return cls(**{name: flat[name] for name in cls.__dataclass_fields__ if name in flat})

    def __call__(self, waves: Tensor) -> Tensor:
        """Compute features [N, frames / 2, 2 * mel] of clips [N, samples]."""
        import torch
        import transformers

        import marathon_eval.backends.hf.engine  # noqa: F401 - before transformers: hides a broken torchvision

        spectrum = torch.stft(
            waves,
            self.n_fft,
            self.hop_length,
            self.win_length,
            window=torch.hann_window(self.win_length),
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        bank = transformers.audio_utils.mel_filter_bank(
            num_frequency_bins=self.n_fft // 2 + 1,
            num_mel_filters=self.n_mels,
            min_frequency=0.0,
            max_frequency=self.sampling_rate / 2,
            sampling_rate=self.sampling_rate,
            norm=None,
            mel_scale="htk",
        )
        mel = spectrum.abs().square().transpose(1, 2) @ torch.from_numpy(bank).float()
        log = mel.clamp(min=1e-10).log10()
        log = torch.maximum(log, log.amax(dim=(1, 2), keepdim=True) - 8.0) / 4 + 1
        return log[:, : log.shape[1] // 2 * 2].reshape(len(log), -1, 2 * self.n_mels)

    def tokens(self, samples: int) -> int:
        """Count the audio tokens of a clip: the projector makes the same number of every window of frames begun."""
        frames = (samples // self.hop_length + 1) // 2
        return math.ceil(frames / self.projector_window_size) * self.tokens_per_window

    @property
    def tokens_per_window(self) -> int:
        """Return the audio tokens that the projector makes of a window."""
        return self.projector_window_size // self.projector_downsample_rate
