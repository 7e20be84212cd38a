"""Adapts Aero-1-Audio 1.5B, a Qwen2.5 that hears: https://huggingface.co/lmms-lab/Aero-1-Audio

Its code lies beside its weights and was written for transformers 4.48 to 4.52, but its parts are Qwen2-Audio's: that
encoder, one linear projector and a Qwen2 decoder. So the weights load into transformers' own Qwen2-Audio class under
other names, and no remote code runs. Sources of the layout: the authors' training code
(https://github.com/EvolvingLMMs-Lab/lmms-engine, models/aero) and their port to vLLM, which subclasses Qwen2-Audio
and renames the projector.

The authors split audio at 480,000 samples (30 s) and send the pieces as several clips of one user turn.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.model import ModelSettings
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.chat import ChatSettings
from marathon_eval.errors import MarathonError
from marathon_eval.models.qwen2_audio import Qwen2Audio

if TYPE_CHECKING:
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: The audio encoder of Aero-1; the authors' training code has another for later models, with another projector.
ENCODER = "qwen2_audio_encoder"
#: The placeholder's id where config.json names none: the default of the authors' config class.
AUDIO_TOKEN = 151648
#: Names of Aero's tensors (patterns) and of Qwen2-Audio's in transformers 5.
RENAMED = {
    r"^audio_modal_projector\.": "model.multi_modal_projector.",
    r"^audio_tower\.": "model.audio_tower.",
    r"^language_model\.model\.": "model.language_model.",
    r"^language_model\.lm_head\.": "lm_head.",
}
#: Qwen2.5-1.5B has one matrix for input and output, which is saved once; Qwen2-Audio's class expects two.
TIED = {"lm_head.weight": "model.language_model.embed_tokens.weight"}
#: The chat of the authors' processor, for a checkpoint whose own template has no place for audio.
TEMPLATE = """\
{%- if messages[0]['role'] != 'system' %}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for turn in messages %}
{{- '<|im_start|>' + turn['role'] + '\\n' }}
{%- for part in turn['content'] %}
{{- '<|AUDIO|>\\n' if part['type'] == 'audio' else part['text'] }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


class Aero1Settings(ChatSettings):
    """Holds the arguments of every chat model. The checkpoint's template adds its own system prompt."""

    pretrained: str = "lmms-lab/Aero-1-Audio"


class Aero1(Qwen2Audio):
    """Answers with Aero-1-Audio, loaded as Qwen2-Audio under other names.

    - Chat: the checkpoint's template, else that of the authors' processor; both add a system turn of their own. Audio
      comes before the question.
    - Audio: 25 tokens per second; longer clips are split into pieces of 30 s, all in one turn.
    - Presses: all pruning and eviction presses.
    - Source: https://huggingface.co/lmms-lab/Aero-1-Audio
    """

    Settings: ClassVar[type[ModelSettings]] = Aero1Settings
    version: ClassVar[int] = 1

    def check(self) -> None:
        super().check()
        folder = weights.local_folder(self.args.pretrained, self.flags.args)
        if folder is not None:
            self.translated(folder)

    def translated(self, folder: Path) -> dict[str, Any]:
        """Return the checkpoint's config in Qwen2-Audio's words.

        Raises MarathonError for a checkpoint of another model, or of an Aero with another audio encoder.
        """
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        where = f"{self.flags.args}: pretrained={self.args.pretrained}: config.json"
        kind = config.pop("model_type", None)
        if kind != "aero":
            raise MarathonError(f"{where} has model_type {kind}: {self.name()} loads aero")
        encoder = config.get("audio_config", {}).get("model_type", ENCODER)
        if encoder != ENCODER:
            raise MarathonError(
                f"{where} has audio_config.model_type {encoder}: {self.name()} loads {ENCODER}"
            )
        for remote in ("auto_map", "architectures"):
            config.pop(remote, None)
        # the authors' class ties by the language model's setting, whatever its own says
        tied = config.get("text_config", {}).get("tie_word_embeddings", False)
        return {"audio_token_index": AUDIO_TOKEN, **config, "tie_word_embeddings": tied}

    def load_weights(self, weights_class: Any, folder: Path, **options: Any) -> Any:
        tied: Any = type("AeroForConditionalGeneration", (weights_class,), {"_tied_weights_keys": TIED})
        config = weights_class.config_class.from_dict(self.translated(folder))
        return tied.from_pretrained(folder, config=config, key_mapping=RENAMED, **options)

    def chat_template(self, loaded: Loaded) -> str | None:
        template = loaded.chat_template
        return template if template is not None and "audio" in template else TEMPLATE
