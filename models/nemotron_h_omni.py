"""Adapts Nemotron 3 Nano Omni 30B-A3B: https://huggingface.co/nvidia/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-BF16

A Parakeet encoder and a projector stand before a decoder of Mamba-2, mixture-of-experts and attention layers. Its
attention has no positions: the order of tokens is known to the Mamba layers alone. The official processor needs
torchvision for its images; the inputs here come from the tokenizer and Parakeet's feature extractor. The chat is laid
out as in NVIDIA's example (https://github.com/NVIDIA-NeMo/Megatron-Bridge, examples/models/nemotron): the clip, a line
break, the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marathon_eval.api.model import ModelSettings, Request, Response
from marathon_eval.api.press import Decoder, Press, PruningPress
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.config_files import read_json
from marathon_eval.backends.hf.inputs import ALL_KERNELS, RATE
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    from torch import Tensor

    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: The stride-2 convolutions of the encoder.
HALVINGS = 3
#: The fewest samples with two mel frames; one frame has no standard deviation, by which the features are divided.
SHORTEST = 320
#: The argument of the chat template that lets the model think, and the token that ends a thought.
SWITCH, THOUGHT_ENDS = "enable_thinking", "</think>"


class NemotronHOmniSettings(ChatSettings):
    """Holds the arguments of every chat model, and how long the model may think."""

    pretrained: str = "nvidia/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-BF16"
    #: Let the model think, and give it this many tokens beside the answer's own; 0 switches thinking off.
    thinking_tokens: int = Field(0, ge=0)


class NemotronHOmni(ChatModel):
    """Answers with Nemotron 3 Nano Omni; what it thinks (`thinking_tokens=`) is counted, and is no part of the answer.

    - Chat: the checkpoint's template with turns of plain text, audio and a line break before the question.
    - Audio: 12.5 tokens per second; its length is limited only by the model's positions.
    - Presses: pruning presses at `layer=0` that read neither attention nor the first layer's weights.
    - Source: https://huggingface.co/nvidia/Nemotron-3-Nano-Omni-30B-A3B-Reasoning-BF16
    """

    Settings: ClassVar[type[ModelSettings]] = NemotronHOmniSettings
    settings: NemotronHOmniSettings
    weights_class = "NemotronH_Omni_Reasoning_V3"
    token_rate = 12.5
    parts = False
    end_tokens = ("<|im_end|>",)
    cut_at_input = True
    windows: ClassVar[str] = (
        "has Mamba layers, which keep a state of all that they read and can forget no token of it"
    )
    #: The audio encoder adds positions to its scores, which flash attention can't.
    part_kernels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "text_config": ALL_KERNELS,
        "vision_config": ("sdpa", "eager"),
        "audio_config": ("sdpa", "eager"),
    }

    def __init__(self, settings: ModelSettings, press: Press | None = None) -> None:
        super().__init__(settings, press)
        if self.settings.thinking_tokens:
            self.answer_begins = THOUGHT_ENDS

    @property
    def thinking_room(self) -> int:
        return self.settings.thinking_tokens

    @classmethod
    def unfit_press(cls, press: type[Press]) -> str | None:
        if issubclass(press, PruningPress) and press.needs_projections:
            return (
                "the rule reads the first layer's query and key weights, and this model's first layer is a Mamba layer, "
                "which has none"
            )
        return super().unfit_press(press)

    # -- loading ------------------------------------------------------------------------------------------------

    def load_weights(self, weights_class: Any, folder: Path, **options: Any) -> Any:
        # transformers does not know the type "parakeet", which the released config gives its encoder
        config, _ = weights_class.config_class.get_config_dict(folder)
        for name in ("sound_config", "audio_config"):
            if isinstance(config.get(name), dict):
                config[name] = {**config[name], "model_type": "parakeet_encoder"}
        return weights_class.from_pretrained(
            folder, config=weights_class.config_class.from_dict(config), **options
        )

    def extractor(self, folder: Path) -> Any:
        """Build Parakeet's feature extractor for the encoder's config; the checkpoint's own files are for images."""
        from marathon_eval.api.torchvision import hide_broken_torchvision

        hide_broken_torchvision()
        import transformers

        config = read_json(folder / "config.json")
        sound = config.get("sound_config") or config.get("audio_config")
        if not isinstance(sound, dict) or "num_mel_bins" not in sound:
            raise MarathonError(
                f"{self.flags.args}: pretrained={self.args.pretrained}: its config.json has no sound_config with "
                "num_mel_bins, so it hears nothing"
            )
        return transformers.ParakeetFeatureExtractor(feature_size=sound["num_mel_bins"])

    def after_load(self, model: Any, folder: Path) -> None:
        # transformers finds no head on this class, whose head belongs to its language model
        model.get_output_embeddings = model.language_model.get_output_embeddings
        # in a batch, a token that the encoder masks would depend on the longest clip: its attention is a mean of all frames
        model.audio_tower.forward = partial(one_by_one, model.audio_tower.forward)

    def decoder(self, model: Any) -> Decoder:
        stack = model.language_model.model
        return Decoder(
            root=model,
            stack=stack,
            layers=stack.layers,
            norm=stack.norm_f,
            audio_token_ids=(self.audio_token_id(model),),
            encode_audio=self.encoder(model),
            cut_at_input=self.cut_at_input,
        )

    # -- inputs -------------------------------------------------------------------------------------------------

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        for clip in clips:
            if len(clip) < SHORTEST:
                raise RowError(
                    f"a clip of {len(clip) / RATE:g} s: {self.name()} hears clips of {SHORTEST / RATE:g} s and longer"
                )
        out = loaded.features(list(clips), sampling_rate=RATE, return_tensors="pt")
        mask = out["attention_mask"]
        frames = mask.sum(dim=1).tolist()
        return ClipFeatures(
            {"input_features": out["input_features"], "input_features_mask": mask},
            [halved(count + 1) for count in frames],
            [len(clip) / RATE for clip in clips],
            # the model counts one frame more than the mask: where that makes a token more, the encoder masks it
            sounding=[halved(count) for count in frames],
        )

    def turns(self, request: Request, sounds: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """Return the turns as `ChatModel.turns` does, with a line break after each clip that something follows."""
        return [
            {**turn, "content": broken_after_audio(turn["content"])}
            for turn in super().turns(request, sounds)
        ]

    def placeholder(self, loaded: Any) -> str:
        return "<so_embedding>"

    def spelled(self, loaded: Loaded, count: int) -> str:
        return f"<so_start>{super().spelled(loaded, count)}<so_end>"

    # -- thinking -----------------------------------------------------------------------------------------------

    def template_args(self, loaded: Loaded) -> Mapping[str, Any]:
        """Return the switch of thinking. Raises MarathonError where thinking is asked for and the checkpoint can't be told."""
        thinks = bool(self.settings.thinking_tokens)
        named = loaded.tokenizer.convert_tokens_to_ids(THOUGHT_ENDS) not in (
            None,
            loaded.tokenizer.unk_token_id,
        )
        if thinks and not (named and SWITCH in (self.chat_template(loaded) or "")):
            raise MarathonError(
                f"{self.flags.args}: thinking_tokens={self.settings.thinking_tokens}: pretrained={self.args.pretrained}: "
                f"needs a chat template with {SWITCH} and a token {THOUGHT_ENDS}; leave thinking_tokens= out"
            )
        return {SWITCH: thinks}

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Answer as `HFAudio.generate` does, with the tokens for thinking added to each request's limit."""
        asked: dict[Request, list[Request]] = {}
        for request in requests:
            asked.setdefault(self._longer(request), []).append(request)
        for longer, response in super().generate(list(asked)):
            yield from ((request, response) for request in asked[longer])

    def _longer(self, request: Request) -> Request:
        limit = request.generation.max_new_tokens + self.thinking_room
        return replace(request, generation=replace(request.generation, max_new_tokens=limit))


def one_by_one(encode: Any, input_features: Tensor, attention_mask: Tensor, **options: Any) -> Any:
    """Encode mel features [N, frames, mels] clip by clip, each as long as the extractor makes it when it is alone.

    Returns the encoder's output for all clips, padded to the longest, with no more than its `last_hidden_state`.
    """
    from torch.nn.utils.rnn import pad_sequence

    # the extractor makes one frame more than it marks
    lengths = [int(count) + 1 for count in attention_mask.sum(dim=1)]
    made = [
        encode(input_features=features[None, :length], attention_mask=mask[None, :length], **options)
        for features, mask, length in zip(input_features, attention_mask, lengths, strict=True)
    ]
    states = [each.last_hidden_state[0] for each in made]
    return type(made[0])(last_hidden_state=pad_sequence(states, batch_first=True))


def broken_after_audio(content: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Add a line break after each audio part of a turn's content, except after the last part."""
    parts = [
        (part, {"type": "text", "text": "\n"}) if part["type"] == "audio" else (part,) for part in content
    ]
    flat = [one for part in parts for one in part]
    return flat[:-1] if content and content[-1]["type"] == "audio" else flat


def halved(frames: int) -> int:
    """Count the tokens that the encoder's convolutions make of `frames` mel frames."""
    for _ in range(HALVINGS):
        frames = (frames - 1) // 2 + 1
    return frames
