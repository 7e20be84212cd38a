"""Adapts Voxtral Mini 4B Realtime: https://huggingface.co/mistralai/Voxtral-Mini-4B-Realtime-2602

The model hears and writes in step: at each 80 ms it adds the audio of that moment to its last token, and writes the next
one, which stands for a word's end, its letters, or nothing. Here it transcribes whole files (transformers' offline mode)
with the delay between sound and text that the checkpoint names. The official processor builds the inputs; it cuts nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.model import ModelSettings, Request, Response, Usage
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.chat import refuse_missing_packages
from marathon_eval.backends.hf.inputs import RATE, HFSettings, Inputs
from marathon_eval.errors import RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.backends.hf.engine.loaded import Loaded


class VoxtralRealtimeSettings(HFSettings):
    """Holds the arguments of every local model; requests are answered one by one."""

    pretrained: str = "mistralai/Voxtral-Mini-4B-Realtime-2602"


class VoxtralRealtime(HFAudio):
    """Transcribes with Voxtral Realtime, greedily; a task's limit of tokens does not apply, for silence is written too.

    - Chat: none; the prompt is ignored.
    - Audio: one clip per request, 12.5 tokens per second; its length is limited only by the model's positions.
    - Presses: none, because each position is both a token of audio and one of text.
    - Source: https://huggingface.co/mistralai/Voxtral-Mini-4B-Realtime-2602
    """

    Settings: ClassVar[type[ModelSettings]] = VoxtralRealtimeSettings
    weights_class = "VoxtralRealtimeForConditionalGeneration"
    token_rate = 12.5
    needs: ClassVar[Mapping[str, str]] = {"mistral_common": "voxtral"}

    def check(self) -> None:
        refuse_missing_packages(self)
        super().check()

    def requests_at_once(self) -> int:
        return 1

    def extractor(self, folder: Path) -> Any:
        """Load the whole processor, which also pads clips and writes the tokens before them."""
        from marathon_eval.api.torchvision import hide_broken_torchvision

        hide_broken_torchvision()
        import transformers

        return transformers.VoxtralRealtimeProcessor.from_pretrained(folder)

    def prepare(
        self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[NDArray[np.float32]]]
    ) -> Inputs:
        """Build `input_ids` [1, T] for the silence before the clip, and `input_features` [1, mel, frames] of both."""
        import torch

        (request,), (clips,) = requests, waves
        if len(clips) != 1:
            raise RowError(f"{self.name()} hears one clip: this request has {len(clips) or 'none'}")
        if request.generation.temperature > 0:
            raise RowError(f"{self.name()} decodes greedily here: temperature must be 0")
        processor = loaded.features
        made = processor(clips[0], return_tensors="pt")
        frames = made["input_features"].shape[-1]
        heard = (frames * processor.feature_extractor.hop_length - _silence(processor)) / RATE
        names = ("input_ids", "attention_mask", "input_features")
        return Inputs(
            tensors={
                **{name: made[name] for name in names},
                "num_delay_tokens": torch.tensor(processor.num_delay_tokens),
            },
            heard_seconds=[min(len(clips[0]) / RATE, heard)],
            audio_tokens=[-(-frames // loaded.model.config.audio_length_per_tok)],
            details={"delay_tokens": int(processor.num_delay_tokens)},
        )

    def answer(self, loaded: Loaded, requests: Sequence[Request], inputs: Inputs) -> list[Response]:
        """Return the transcript. Raises RowError where the text ends before the clip does."""
        import torch
        from transformers import LogitsProcessorList

        from marathon_eval.backends.hf.engine.finite_logits import FinitePasses, broken_logits
        from marathon_eval.backends.hf.engine.load import quiet

        started = time.perf_counter()
        model, processor = loaded.model, loaded.features
        tensors = {name: each.to(loaded.device) for name, each in inputs.tensors.items()}
        tensors["input_features"] = tensors["input_features"].to(model.dtype)
        logits = FinitePasses(loaded.tokenizer.eos_token_id)
        prompt = tensors["input_ids"].shape[1]
        with quiet(), torch.inference_mode():
            out = model.generate(
                **tensors,
                do_sample=False,
                max_new_tokens=inputs.audio_tokens[0] - prompt,
                logits_processor=LogitsProcessorList([logits]),
            )
        if (broken := logits.broken_at()) is not None:
            raise RowError(broken_logits(broken))
        steps = out.shape[1]
        if steps < inputs.audio_tokens[0] - processor.num_right_pad_tokens:
            reached = steps * processor.raw_audio_length_per_tok - _silence(processor)
            raise RowError(
                f"the text ended after {max(0.0, reached / RATE):.2f} s of {inputs.heard_seconds[0]:.2f} s of audio; "
                "the rest was not heard"
            )
        usage = Usage(
            heard_seconds=round(inputs.heard_seconds[0], 3),
            audio_tokens=inputs.audio_tokens[0],
            input_tokens=prompt,
            output_tokens=steps - prompt,
            details={**inputs.details, "transcribe_s": round(time.perf_counter() - started, 3)},
        )
        text = loaded.tokenizer.decode(out[0, prompt:], skip_special_tokens=True)
        return [Response(text.strip(), finish_reason="stop", usage=usage)]


def _silence(processor: Any) -> int:
    """Return the samples of silence that the processor puts before a clip."""
    config = processor.mistral_common_audio_config
    return int(config.n_left_pad_tokens) * int(processor.raw_audio_length_per_tok)
