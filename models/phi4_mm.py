"""Adapts Phi-4-Multimodal: https://huggingface.co/microsoft/Phi-4-multimodal-instruct

It loads the layout of transformers' own class; the hub's main branch holds remote code for old releases. Without its
speech adapter (`speech-lora/`) the model answers badly and gives no warning, so a checkpoint without it is refused.
Clips are encoded one at a time, because in a batch of unequal clips the encoder mixes padding into the shorter ones
and fails above 40 s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf import lora, weights
from marathon_eval.backends.hf.chat import ChatModel, ChatSettings, ClipFeatures
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.backends.hf.chat import Wave
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: The folder of the speech adapter in a checkpoint, and its files.
LORA = "speech-lora"
LORA_FILES = ("adapter_config.json", "adapter_model.safetensors")


class Phi4MMSettings(ChatSettings):
    """Holds the arguments of every chat model."""

    pretrained: str = "microsoft/Phi-4-multimodal-instruct"


class Phi4MM(ChatModel):
    """Answers with Phi-4-Multimodal and its speech adapter, one request at a time.

    - Chat: the checkpoint's template with turns of plain text, audio before the question, one clip per question.
    - Audio: 12.5 tokens per second; its length is limited only by the model's positions.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/microsoft/Phi-4-multimodal-instruct
    """

    Settings: ClassVar[type[ModelSettings]] = Phi4MMSettings
    version: ClassVar[int] = 2
    weights_class = "Phi4MultimodalForCausalLM"
    #: The revision on the hub that holds the layout of transformers' own class.
    pinned: ClassVar[Mapping[str, str]] = {"microsoft/Phi-4-multimodal-instruct": "refs/pr/70"}
    token_rate = 12.5
    parts = False
    batches = False
    clips_per_question = 1
    end_tokens = ("<|end|>", "<|endoftext|>")
    needs: ClassVar[Mapping[str, str]] = {"peft": "phi4"}
    #: The audio encoder needs a mask of its own, which flash attention does not take.
    part_kernels: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "audio_config": ("sdpa", "eager"),
        "vision_config": ("sdpa", "eager"),
    }

    def identity(self) -> dict[str, Any]:
        """Add the speech adapter's hashes for a folder; on the hub the commit identifies the adapter too."""
        folder = weights.local_folder(self.args.pretrained, self.flags.args)
        identity = super().identity()
        if folder is None:
            return identity
        return identity | {LORA: [weights.file_hash(file) for file in _lora(folder, self.flags.args)]}

    def check(self) -> None:
        super().check()
        folder = weights.local_folder(self.args.pretrained, self.flags.args)
        if folder is not None:
            _lora(folder, self.flags.args)

    def folder(self) -> Path:
        folder = super().folder()
        complete = all((folder / LORA / name).is_file() for name in LORA_FILES)
        if weights.local_folder(self.args.pretrained, self.flags.args) is None and not complete:
            from huggingface_hub import snapshot_download

            snapshot_download(self.args.pretrained, revision=self.commit, allow_patterns=[f"{LORA}/*"])
        return folder

    def after_load(self, model: Any, folder: Path) -> None:
        _lora(folder, self.flags.args)
        where = {"subfolder": LORA}
        info = model.load_adapter(
            str(folder), adapter_name="speech", adapter_kwargs=where, ignore_mismatched_sizes=True
        )
        model.set_adapter("speech")
        # transformers counts each weight with "speech" in its name to the adapter of that name
        missing = [name for name in info.missing_keys if ".speech." in name]
        lora.refuse_unapplied(
            {**vars(info), "missing_keys": missing},
            f"{self.flags.args}: pretrained={self.args.pretrained}: {LORA}",
        )

    def hear(self, loaded: Loaded, clips: Sequence[Wave]) -> ClipFeatures:
        extractor = loaded.features
        out = extractor(list(clips), sampling_rate=RATE, return_attention_mask=False, return_tensors="pt")
        frames = out["audio_input_features"].shape[1]
        seconds = ((frames - 1) * extractor.hop_length + extractor.win_length) / RATE
        tensors = {name: out[name] for name in ("audio_input_features", "audio_embed_sizes")}
        return ClipFeatures(tensors, out["audio_embed_sizes"].tolist(), [seconds])

    def audio_token_id(self, model: Any) -> int:
        return int(model.config.audio_config.audio_token_id)

    def encoder(self, model: Any) -> Any:
        return model.model.embed_tokens_extend.audio_embed.encoder


def _lora(folder: Path, flag: str) -> list[Path]:
    """Return the speech adapter's files. Raises MarathonError when one is missing."""
    files = [folder / LORA / name for name in LORA_FILES]
    for file in files:
        if not file.is_file():
            raise MarathonError(
                f"{flag}: pretrained={folder}: has no {LORA}/{file.name}: without its speech adapter "
                "this model answers badly"
            )
    return files
