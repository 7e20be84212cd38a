"""Defines the arguments of local models, the inputs of a batch, and the interface of adapters to the engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

from pydantic import Field

from marathon_eval.api.model import ModelSettings, Request, Response
from marathon_eval.api.press import Press
from marathon_eval.backends.hf.batching import Batching, BatchSize
from marathon_eval.backends.hf.config_files import read_json
from marathon_eval.backends.hf.token_times import is_silent
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from marathon_eval.api.press import Decoder
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: The attention kernels of transformers.
Kernel = Literal["eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"]
ALL_KERNELS: tuple[str, ...] = get_args(Kernel)

#: The sample rate in Hz at which every local model hears audio.
RATE = 16000


class HFSettings(ModelSettings):
    """Holds the arguments that every local model takes."""

    pretrained: str
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    attn_implementation: Kernel = "sdpa"
    device: str = "auto"
    device_map: str | None = None
    batch_size: BatchSize = 1
    #: The token budget of a batch (prompt, answer, padding). Without `batch_size`, the budget alone decides.
    max_batch_tokens: int | None = Field(default=None, ge=1)
    #: The most requests in a batch whose size `auto` or a token budget decides.
    max_batch_size: int | None = Field(default=None, ge=1)
    trust_remote_code: bool = False
    #: An adapter of peft (LoRA) that is applied to the weights: a folder or a name on the hub.
    peft: str | None = None
    #: Decode and encode a clip once for all questions on it; false switches this off, to measure what it saves.
    sharing: bool = True
    #: Write into each sample which audio tokens the press kept. Cached responses have it only if they were made with it.
    log_tokens: bool = False
    #: A folder for the audio encoder's outputs, and its limit in GB; the files read longest ago are deleted first.
    encoder_cache: str | None = None
    encoder_cache_gb: float = Field(default=20.0, gt=0)


@dataclass(frozen=True)
class PromptFacts:
    """Holds a prompt's question and the times of its audio.

    Positions exclude left padding but include silent audio tokens, those that stand for no sound.
    """

    question: Tensor
    """[Q] positions of the question's tokens, ascending."""
    seconds: Tensor | None
    """[audio tokens] second of the joined clips at which each begins; None where the adapter does not say."""


@dataclass(frozen=True)
class Inputs:
    """Holds a batch's tensors, and per request the seconds heard, and the number, loudness and times of audio tokens."""

    tensors: dict[str, Tensor]
    heard_seconds: list[float]
    audio_tokens: list[int]
    loudness: list[Tensor] | None = None
    details: dict[str, Any] = field(default_factory=dict)
    token_times: list[NDArray[np.float64]] | None = None
    """Per request [audio tokens, 2], the seconds of the joined clips that each token stands for (token_times.py).

    None where an adapter does not say; then the tokens divide the sound evenly, and none is silent.
    """

    facts: list[PromptFacts] | None = None
    """Per request its question and the times of its audio tokens, for presses with `needs_question`."""

    alone: list[Inputs] | None = None
    """Where a batch's requests are read one by one: the inputs of each as a batch of one; `tensors` holds their lengths."""

    def silent(self, row: int) -> NDArray[np.bool_] | None:
        """Return which of a request's audio tokens [audio tokens] are silent, that is stand for no sound; None if none is."""
        if self.token_times is None:
            return None
        silent = is_silent(self.token_times[row])
        return silent if silent.any() else None

    def silent_record(self, row: int) -> dict[str, int]:
        """Return the usage entry that counts a request's silent tokens; empty if there are none."""
        silent = self.silent(row)
        return {} if silent is None else {"padding_tokens": int(silent.sum())}


class LocalModel(Protocol):
    """Declares what the engine calls on an adapter; `backends.hf.adapter.HFAudio` implements it."""

    #: The classes of press that the model can carry.
    carries: ClassVar[tuple[type[Press], ...]]

    @classmethod
    def name(cls) -> str:
        """Return the model's name on the command line."""

    @property
    def args(self) -> HFSettings:
        """Return the arguments of `--model_args`."""

    @property
    def press(self) -> Press | None:
        """Return the press, if one was asked for."""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Return everything about the model that can change a response."""

    def identity(self) -> dict[str, Any]:
        """Return what identifies the weights."""

    @property
    def cells(self) -> Sequence[LocalModel]:
        """Return the adapters that share the loaded weights, one per cell of a sweep."""

    @property
    def batching(self) -> Batching:
        """Return the limits of a batch, shared by all cells."""

    @property
    def has_decoder(self) -> bool:
        """Return whether `decoder` is implemented, so that the audio encoder's output can be reused."""

    @property
    def weights_class(self) -> str:
        """Return the name of the transformers class that loads the weights."""

    @property
    def weights_prefix(self) -> str | None:
        """Return the prefix of the tensors that are needed; None loads all."""

    @property
    def token_rate(self) -> float | None:
        """Return the audio tokens per second; None when audio is not in the token stream."""

    @property
    def end_tokens(self) -> tuple[str, ...]:
        """Return further tokens that end an answer."""

    @property
    def answer_begins(self) -> str | None:
        """Return the token that ends a thought, after which the answer begins; None unless the model thinks."""

    def folder(self) -> Path:
        """Return the folder that holds the checkpoint, after downloading it if necessary."""

    def kernels(self) -> str | dict[str, str]:
        """Return the value of transformers' `attn_implementation`: a name, or a name per part of the model."""

    def load_weights(self, weights_class: Any, folder: Path, **options: Any) -> Any:
        """Load the weights in `folder`; `options` are the arguments of transformers' `from_pretrained`."""

    def extractor(self, folder: Path) -> Any:
        """Load the feature extractor that lies in `folder`."""

    def lora(self) -> Path | None:
        """Return the folder of the adapter that `peft=` names, after downloading it if necessary; None without one."""

    def after_load(self, model: Any, folder: Path) -> None:
        """Complete the loaded model before the first request."""

    def begin(self, loaded: Loaded) -> None:
        """Prepare the adapter for a loaded checkpoint."""

    def prepare(
        self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[NDArray[np.float32]]]
    ) -> Inputs:
        """Build the inputs of a batch from its requests and their decoded clips (`waves`)."""

    def answer(self, loaded: Loaded, requests: Sequence[Request], inputs: Inputs) -> list[Response]:
        """Answer a prepared batch, one response per request."""

    def decoder(self, model: Any) -> Decoder:
        """Return the parts of the loaded model that a press works on."""

    def seed_of(self, request: Request) -> int:
        """Return the seed with which a press draws at random for this request."""

    def hashes(self, requests: Sequence[Request]) -> list[str]:
        """Return the SHA-256 of each clip's content."""

    def know_lengths(self, requests: Sequence[Request]) -> None:
        """Look up the clips' lengths before `tokens_of` is called for each request."""

    def tokens_of(self, request: Request) -> int:
        """Return the estimated length of a request in tokens, its answer included."""

    def requests_at_once(self) -> int:
        """Return the limit of requests in one batch."""

    def take(self, waiting: deque[Request]) -> list[Request]:
        """Take the next batch off the queue `waiting`."""


def chat_template(folder: Path) -> str | None:
    """Read a checkpoint's chat template from its processor's or tokenizer's files; None if they contain none."""
    plain = folder / "chat_template.jinja"
    if plain.is_file():
        return plain.read_text(encoding="utf-8")
    for name in ("chat_template.json", "tokenizer_config.json"):
        file = folder / name
        if file.is_file():
            template = default_template(read_json(file).get("chat_template"), str(file))
            if template is not None:
                return template
    return None


def default_template(templates: Any, where: str) -> str | None:
    """Return the template for ordinary chats: the only one, or of several named ones that which is named "default".

    Several are a mapping of names, or a list of `name` and `template` as files have it. None: there is no template.
    Raises MarathonError for several of which none is the default one; `where` says where they stand.
    """
    if isinstance(templates, list):
        templates = {each.get("name"): each.get("template") for each in templates if isinstance(each, dict)}
    if isinstance(templates, dict) and templates:
        if not isinstance(templates.get("default"), str):
            names = ", ".join(sorted(map(str, templates)))
            raise MarathonError(f"{where}: has the chat templates {names}, and none is named default")
        return str(templates["default"])
    return templates if isinstance(templates, str) else None
