"""Runs a local text model with transformers, as a judge (--judge_model) or as the reader of a cascade.

Any checkpoint of `AutoModelForCausalLM` works; audio does not. The prompt is put into the checkpoint's own chat
template, or used as it is if there is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from marathon_eval.api.model import Generation, ModelSettings, Request, Response, Usage
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.inputs import HFSettings, Inputs, chat_template, default_template
from marathon_eval.backends.hf.template_date import with_fixed_date
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.scoring.thought_marks import mark_beginnings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from marathon_eval.backends.hf.engine.finite_logits import FiniteLogits
    from marathon_eval.backends.hf.engine.loaded import Loaded


class TextLMSettings(HFSettings):
    """Holds the arguments of every local model, and those of the chat template."""

    #: Passed to the chat template, such as {"enable_thinking": false}.
    chat_args: dict[str, Any] = Field(default_factory=dict)


class TextLM(HFAudio):
    """Answers text prompts one at a time; a sampled response depends only on the request's seed.

    - Chat: the checkpoint's template with an optional system turn; without a template, the prompt as it is.
    - Audio: none; a request with audio becomes an error row.
    - Presses: none.
    - Source: https://huggingface.co/docs/transformers/model_doc/auto (AutoModelForCausalLM)
    """

    Settings: ClassVar[type[ModelSettings]] = TextLMSettings
    settings: TextLMSettings
    version: ClassVar[int] = 2
    weights_class = "AutoModelForCausalLM"
    takes_turns: ClassVar[bool] = True
    _model: Any = None
    _tokenizer: Any = None
    _template: str | None = None
    _marks: Mapping[int, str] = MappingProxyType({})

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Answer as `Model.generate` does. Raises MarathonError when the weights cannot be downloaded or loaded."""
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
        # imported first, because it hides a torchvision that would break the import of transformers
        from marathon_eval.backends.hf.engine.load import (  # isort: split
            apply_lora,
            chosen_device,
            device_map,
            quiet,
            refuse_base_alone,
            refuse_missing_weights,
        )

        import transformers

        device = chosen_device(self.args.device)
        trust = {"trust_remote_code": self.args.trust_remote_code}
        try:
            with quiet():
                model, info = transformers.AutoModelForCausalLM.from_pretrained(
                    folder,
                    dtype=self.args.dtype,
                    attn_implementation=self.args.attn_implementation,
                    device_map=device_map(self.args.device_map, device),
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are refused below, by name
                    **trust,
                )
                self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **trust)
                refuse_base_alone(model, folder, info)
                apply_lora(model, self)
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise MarathonError(
                f"--model {self.name()}: cannot load {self.args.pretrained}: {reason}"
            ) from None
        refuse_missing_weights(info, f"--model {self.name()}: {self.args.pretrained}", type(model).__name__)
        if device_map(self.args.device_map, device) is None:
            model.to(device)
        self._template = chat_template(folder) or default_template(self._tokenizer.chat_template, str(folder))
        self._marks = self._thought_tokens()
        # the checkpoint's sampling settings (a penalty of repeats, say) would change greedy answers too
        ends = model.generation_config.eos_token_id
        model.generation_config = transformers.GenerationConfig(eos_token_id=ends)
        self._model = model.eval()

    def _answered(self, request: Request) -> Response:
        """Answer one request. Raises RowError for audio, and for a prompt longer than the model's positions."""
        from marathon_eval.backends.hf.engine.finite_logits import broken_logits
        from marathon_eval.backends.hf.engine.long_scale import generated_in_one_scale

        if request.audios:
            raise RowError(f"--model {self.name()} reads text and hears nothing; the request holds audio")
        encoded = self._tokenizer(
            self._chat(request), return_tensors="pt", add_special_tokens=self._template is None
        )
        ids = encoded["input_ids"].to(self._model.device)
        generation = request.generation
        limit = getattr(self._model.config, "max_position_embeddings", None)
        if limit is not None and ids.shape[1] + generation.max_new_tokens > limit:
            raise RowError(
                f"prompt and answer take {ids.shape[1] + generation.max_new_tokens} tokens, the model has {limit}"
            )
        generated, logits = generated_in_one_scale(
            self._model, ids.shape[1], lambda: self._generated(ids, generation), lambda found: len(found[0])
        )
        broken = logits.broken_at(0, len(generated))
        if broken is not None:
            raise RowError(broken_logits(broken))
        text = self._decoded(generated)
        cut = min((text.index(stop) for stop in generation.stop if stop in text), default=len(text))
        ended = cut < len(text) or bool(generated and generated[-1] in self._ends())
        usage = Usage(input_tokens=ids.shape[1], output_tokens=len(generated), heard_seconds=0.0)
        return Response(text[:cut], "stop" if ended else "length", usage=usage)

    def _generated(self, ids: Tensor, generation: Generation) -> tuple[list[int], FiniteLogits]:
        """Return the tokens that follow the prompt `ids` [1, T], and the watch over their logits."""
        import torch
        from transformers import GenerationConfig, LogitsProcessorList

        from marathon_eval.backends.hf.engine.finite_logits import FiniteLogits

        config = GenerationConfig(
            max_new_tokens=generation.max_new_tokens,
            do_sample=generation.temperature > 0,
            eos_token_id=self._ends(),
            pad_token_id=self._ends()[0] if self._ends() else None,
            **self._sampling(generation.temperature, generation.top_p),
        )
        if generation.seed is not None:
            torch.manual_seed(generation.seed)
        logits = FiniteLogits(sampling=generation.temperature > 0)
        with torch.inference_mode():
            out = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                logits_processor=LogitsProcessorList([logits]),
            )[0]
        return out[ids.shape[1] :].tolist(), logits

    def _chat(self, request: Request) -> str:
        if self._template is None:
            if request.earlier:
                raise RowError(f"{self.args.pretrained} has no chat template, which a dialogue needs")
            return request.prompt if request.system is None else f"{request.system}\n\n{request.prompt}"
        turns = [] if request.system is None else [{"role": "system", "content": request.system}]
        chat: str = self._tokenizer.apply_chat_template(
            [
                *turns,
                *({"role": turn.role, "content": turn.text} for turn in request.earlier),
                {"role": "user", "content": request.prompt},
            ],
            chat_template=with_fixed_date(self._template),
            tokenize=False,
            add_generation_prompt=True,
            **self.settings.chat_args,
        )
        return chat

    def _thought_tokens(self) -> dict[int, str]:
        """Return the special tokens that begin or end a thought, such as Magistral's `[THINK]`, by their ids."""
        vocabulary = self._tokenizer.get_vocab()
        found = {vocabulary[text]: text for text in mark_beginnings() if text in vocabulary}
        return {
            token: text
            for token, text in found.items()
            if not self._tokenizer.decode([token], skip_special_tokens=True)
        }

    def _decoded(self, tokens: Sequence[int]) -> str:
        """Decode without special tokens, except those of thoughts, which would else run into the answer."""
        text, start = "", 0
        for place, token in enumerate(tokens):
            if token in self._marks:
                text += self._tokenizer.decode(tokens[start:place], skip_special_tokens=True)
                text, start = text + self._marks[token], place + 1
        return text + str(self._tokenizer.decode(tokens[start:], skip_special_tokens=True))

    def _ends(self) -> list[int]:
        """Return the ids of all tokens that end an answer."""
        settings = (self._model.generation_config.eos_token_id, self._tokenizer.eos_token_id)
        ids = [
            token for setting in settings for token in (setting if isinstance(setting, list) else [setting])
        ]
        return list(dict.fromkeys(token for token in ids if token is not None))

    @staticmethod
    def _sampling(temperature: float, top_p: float) -> Mapping[str, Any]:
        """Return the sampling settings in full, so that those which the checkpoint suggests are not used."""
        return {"temperature": temperature, "top_p": top_p, "top_k": 0} if temperature > 0 else {}
