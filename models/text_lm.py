"""A local text model behind transformers: no ears, for judging (--judge_model) and for reading in a cascade.

Any checkpoint of `AutoModelForCausalLM`; its own chat template is used where it has one, else the prompt as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marathon_eval.api.model import ModelSettings, Request, Response, Usage
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.inputs import HFSettings, Inputs, chat_template
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.backends.hf.engine.loaded import Loaded


class TextLMSettings(HFSettings):
    """`chat_args` go to the chat template, such as {"enable_thinking": false}."""

    chat_args: dict[str, Any] = Field(default_factory=dict)


class TextLM(HFAudio):
    """One prompt at a time; sampled answers depend on their own seed alone."""

    Settings: ClassVar[type[ModelSettings]] = TextLMSettings
    settings: TextLMSettings
    weights_class = "AutoModelForCausalLM"
    _model: Any = None
    _tokenizer: Any = None
    _template: str | None = None

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """As promised by `Model`. Raises MarathonError when the weights cannot be had or loaded."""
        if self._model is None:
            self._load()
        for request in requests:
            try:
                yield request, self._answered(request)
            except RowError as error:
                yield request, Response.failed(str(error))

    def close(self) -> None:
        self._model = self._tokenizer = None

    def prepare(
        self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[NDArray[np.float32]]]
    ) -> Inputs:
        raise RowError(f"--model {self.name()} reads text and hears nothing")

    def _load(self) -> None:
        self.check()
        folder = self.folder()
        # first of all: it hides a torchvision that would break the import of transformers
        from marathon_eval.backends.hf.engine.load import chosen_device, quiet  # isort: split

        import transformers

        trusted = {"trust_remote_code": self.args.trust_remote_code}
        try:
            with quiet():
                model = transformers.AutoModelForCausalLM.from_pretrained(
                    folder,
                    dtype=self.args.dtype,
                    attn_implementation=self.args.attn_implementation,
                    device_map=self.args.device_map,
                    **trusted,
                )
                self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trusted)
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise MarathonError(
                f"--model {self.name()}: cannot load {self.args.pretrained}: {reason}"
            ) from None
        if self.args.device_map is None:
            model.to(chosen_device(self.args.device))
        self._template = chat_template(folder) or self._tokenizer.chat_template
        self._model = model.eval()

    def _answered(self, request: Request) -> Response:
        """Raises RowError for audio, and for a prompt that does not fit."""
        import torch
        from transformers import GenerationConfig

        if request.audios:
            raise RowError(f"--model {self.name()} reads text and hears nothing; the request holds audio")
        encoded = self._tokenizer(
            self._chat(request), return_tensors="pt", add_special_tokens=self._template is None
        )
        ids = encoded["input_ids"].to(self._model.device)
        wanted = request.generation
        limit = getattr(self._model.config, "max_position_embeddings", None)
        if limit is not None and ids.shape[1] + wanted.max_new_tokens > limit:
            raise RowError(
                f"prompt and answer take {ids.shape[1] + wanted.max_new_tokens} tokens, the model has {limit}"
            )
        config = GenerationConfig(
            max_new_tokens=wanted.max_new_tokens,
            do_sample=wanted.temperature > 0,
            eos_token_id=self._ends(),
            pad_token_id=self._ends()[0] if self._ends() else None,
            **self._sampling(wanted.temperature, wanted.top_p),
        )
        if wanted.seed is not None:
            torch.manual_seed(wanted.seed)
        with torch.inference_mode():
            out = self._model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=config)[0]
        spoken = out[ids.shape[1] :].tolist()
        text = self._tokenizer.decode(spoken, skip_special_tokens=True)
        cut = min((text.index(stop) for stop in wanted.stop if stop in text), default=len(text))
        ended = cut < len(text) or bool(spoken and spoken[-1] in self._ends())
        usage = Usage(input_tokens=ids.shape[1], output_tokens=len(spoken), heard_seconds=0.0)
        return Response(text[:cut], "stop" if ended else "length", usage=usage)

    def _chat(self, request: Request) -> str:
        if self._template is None:
            return request.prompt if request.system is None else f"{request.system}\n\n{request.prompt}"
        turns = [] if request.system is None else [{"role": "system", "content": request.system}]
        chat: str = self._tokenizer.apply_chat_template(
            [*turns, {"role": "user", "content": request.prompt}],
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=True,
            **self.settings.chat_args,
        )
        return chat

    def _ends(self) -> list[int]:
        """Every token that ends an answer."""
        named = (self._model.generation_config.eos_token_id, self._tokenizer.eos_token_id)
        listed = [one for ids in named for one in (ids if isinstance(ids, list) else [ids])]
        return list(dict.fromkeys(one for one in listed if one is not None))

    @staticmethod
    def _sampling(temperature: float, top_p: float) -> Mapping[str, Any]:
        """What a checkpoint suggests for sampling never leaks into an answer."""
        return {"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature > 0 else {}
