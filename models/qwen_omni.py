"""Qwen2.5-Omni 3B and 7B, by the thinker alone: https://huggingface.co/Qwen/Qwen2.5-Omni-7B

Inputs are built from tokenizer and feature extractor, so that hearing needs neither torchvision nor Pillow, and the
features cover the clip's real length where the official processor computes 300 s for every clip (and cuts what is
longer). A test holds ids and features against that processor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.errors import MarathonError, RowError
from marathon_eval.hf_audio import RATE, HFAudio, HFSettings, Inputs
from marathon_eval.model import ModelSettings, Request
from marathon_eval.press import Decoder, EvictionPress, Press, PruningPress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.hf.loading import Loaded

#: The system sentence that the model card asks for and the official processor warns about when it differs.
SYSTEM = (
    "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, "
    "capable of perceiving auditory and visual inputs, as well as generating text and speech."
)


class QwenOmniSettings(HFSettings):
    """`system_prompt=` (empty: no system turn) and `audio_first=` beside what every local model takes."""

    pretrained: str = "Qwen/Qwen2.5-Omni-7B"
    system_prompt: str = SYSTEM
    audio_first: bool = True


class QwenOmni(HFAudio):
    """25 audio tokens per second; no limit on length but the model's positions."""

    Settings: ClassVar[type[ModelSettings]] = QwenOmniSettings
    version: ClassVar[int] = 1
    weights_class = "Qwen2_5OmniThinkerForConditionalGeneration"
    weights_prefix = "thinker."
    pinned: ClassVar[Mapping[str, str]] = {
        "Qwen/Qwen2.5-Omni-7B": "ae9e1690543ffd5c0221dc27f79834d0294cba00",
        "Qwen/Qwen2.5-Omni-3B": "f75b40e3da2003cdd6e1829b1f420ca70797c34e",
    }
    token_rate = 25.0
    end_tokens = ("<|im_end|>", "<|endoftext|>")
    carries: ClassVar[tuple[type[Press], ...]] = (PruningPress, EvictionPress)

    def prepare(
        self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[NDArray[np.float32]]]
    ) -> Inputs:
        """`input_ids`, `attention_mask` [B, T] left-padded; `input_features` [N, mel, frames] and their mask."""
        features = [mel_frames(loaded.features, wave) for sample in waves for wave in sample]
        counts = [[audio_tokens(-(-len(wave) // _hop(loaded))) for wave in sample] for sample in waves]
        placeholder = loaded.tokenizer.convert_ids_to_tokens(loaded.model.config.audio_token_id)
        texts = [
            _expanded(self._chat(loaded, request), placeholder, sample)
            for request, sample in zip(requests, counts, strict=True)
        ]
        encoded = loaded.tokenizer(texts, padding=True, padding_side="left", return_tensors="pt")
        tensors = {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}
        if features:
            tensors |= _stacked(features)
        frames = [sum(-(-len(wave) // _hop(loaded)) for wave in sample) for sample in waves]
        return Inputs(
            tensors=tensors,
            heard_seconds=[count * _hop(loaded) / RATE for count in frames],
            audio_tokens=[sum(sample) for sample in counts],
        )

    def decoder(self, model: Any) -> Decoder:
        stack = model.get_decoder()
        return Decoder(
            root=model,
            stack=stack,
            layers=stack.layers,
            norm=stack.norm,
            audio_token_ids=(model.config.audio_token_id,),
            encode_audio=model.get_encoder(modality="audio"),
        )

    def _chat(self, loaded: Loaded, request: Request) -> str:
        """The checkpoint's own chat template, with one audio placeholder per clip."""
        if loaded.chat_template is None:
            raise MarathonError(f"--model_args: pretrained={self.args.pretrained}: has no chat template")
        sounds = [{"type": "audio"} for _ in request.audios]
        words = [{"type": "text", "text": request.prompt}]
        settings = self.settings.model_dump()
        system = request.system if request.system is not None else settings["system_prompt"]
        turns: list[dict[str, Any]] = []
        if system:
            turns.append({"role": "system", "content": [{"type": "text", "text": system}]})
        content = [*sounds, *words] if settings["audio_first"] else [*words, *sounds]
        turns.append({"role": "user", "content": content})
        chat: str = loaded.tokenizer.apply_chat_template(
            turns, chat_template=loaded.chat_template, tokenize=False, add_generation_prompt=True
        )
        return chat


def audio_tokens(frames: int) -> int:
    """Tokens that the encoder makes of `frames` mel frames: two halvings, as the official processor counts."""
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1 if frames > 1 else 0


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


def _hop(loaded: Loaded) -> int:
    return int(loaded.features.hop_length)


def _expanded(chat: str, placeholder: str, counts: Sequence[int]) -> str:
    """The chat with each placeholder repeated once per audio token. Raises RowError when their numbers differ."""
    parts = chat.split(placeholder)
    if len(parts) != len(counts) + 1:
        raise RowError(
            f"the chat holds {placeholder} {len(parts) - 1} times for {len(counts)} audio clips: "
            "the prompt must not contain it"
        )
    runs = [placeholder * count for count in counts]
    return "".join(text + run for text, run in zip(parts, [*runs, ""], strict=True))


def _stacked(features: Sequence[NDArray[np.float32]]) -> dict[str, Any]:
    """Features [N, mel, longest] padded with zeros, and the mask [N, longest] of real frames."""
    import torch

    longest = max(mel.shape[1] for mel in features)
    stacked = torch.zeros(len(features), features[0].shape[0], longest)
    mask = torch.zeros(len(features), longest, dtype=torch.long)
    for row, mel in enumerate(features):
        stacked[row, :, : mel.shape[1]] = torch.from_numpy(mel)
        mask[row, : mel.shape[1]] = 1
    return {"input_features": stacked, "feature_attention_mask": mask}
