"""Drops audio tokens inside the decoder by hooks, without copies of modeling files.

Layers 0 .. K-1 run on the whole prompt. At the input of layer K the press chooses the audio tokens that stay; hidden
states, rotary embeddings and the mask are cut to these tokens and all text, and kept tokens keep their positions.
From layer K on the caches are shorter, so the mask of layers K .. is built from layer K's cache length, in decoding
too. There may be several cuts; each works on the tokens that the previous one kept. A cut at layer 0 also shortens
the cache by which the model counts positions, so decoding steps pass their position explicitly.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.masking_utils import create_causal_mask

from marathon_eval.api.press import Decoder, PruningPress
from marathon_eval.backends.hf.engine.attention_tap import LastTokenAttention
from marathon_eval.backends.hf.engine.first_projections import first_projections
from marathon_eval.backends.hf.engine.lower_layers import LowerLayers
from marathon_eval.backends.hf.engine.prompt_facts import marked_questions, prunable_seconds
from marathon_eval.backends.hf.engine.prompt_pass import (
    Cut,
    KeptTokens,
    PromptPass,
    gathered_tokens,
    left_padded,
    spanned,
    synced,
)
from marathon_eval.backends.hf.engine.token_choice import CutLayer, TokenChoice
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.backends.hf.inputs import PromptFacts


@dataclass
class Pruning:
    """Prunes prompts while open: `with Pruning(decoder, press, seeds) as pruning: model.generate(...)`.

    Afterwards `pruning.kept` holds the numbers of kept tokens. `seeds` holds one seed per sample of the batch, in
    order; `loudness` likewise one tensor, for presses that need it. `early_exit=False` cuts even when no token is
    dropped, for tests. Raises MarathonError for a layer that the model lacks and for layers with windowed attention;
    ValueError for ways of generating that cannot be pruned (beams, static caches, prompts in pieces).
    """

    decoder: Decoder
    press: PruningPress
    seeds: Sequence[int]
    early_exit: bool = True
    loudness: Sequence[Tensor] | None = None
    #: Per sample which of its audio tokens stand for no sound, None where all do; they leave before any other.
    silent: Sequence[NDArray[np.bool_] | None] | None = None
    #: The stored layers below the first cut, which other presses reuse for the same prompt.
    lower: LowerLayers | None = None
    #: Record which audio tokens stay, in `kept.audio_numbers`.
    log_tokens: bool = False
    #: Per sample its question and the times of its audio tokens, for presses with `needs_question`.
    facts: Sequence[PromptFacts] | None = None
    kept: KeptTokens | None = None
    _pass: PromptPass | None = field(default=None, init=False)
    _prompt: tuple[Tensor, Tensor | None] | None = field(default=None, init=False)
    _taps: dict[int, LastTokenAttention] = field(default_factory=dict, init=False)
    _choice: TokenChoice = field(init=False)
    _undo: ExitStack = field(default_factory=ExitStack, init=False)

    def __post_init__(self) -> None:
        self._refuse()
        weights = first_projections(self.decoder, self.press) if self.press.needs_projections else None
        self._choice = TokenChoice(self.decoder, self.press, self.seeds, self._taps, weights)

    def _refuse(self) -> None:
        """Raise MarathonError for a press that this model does not support."""
        layers, last = len(self.decoder.layers), self.press.cuts[-1][0]
        if last >= layers:
            raise MarathonError(
                f"press={self.press.name()}: layer={last}: this model has {layers} layers, "
                f"layer must be 0 to {layers - 1}"
            )
        kinds = set(getattr(self._config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise MarathonError(
                f"press={self.press.name()}: this model has {', '.join(sorted(kinds - {'full_attention'}))} layers, "
                "where tokens can't be dropped"
            )

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._hook(undo, self.decoder.root, self._see_prompt)
            self._hook(undo, self.decoder.stack, self._begin)
            self._hook_layers(undo)
            self._undo = undo.pop_all()
        return self

    def _hook_layers(self, undo: ExitStack) -> None:
        for index in range(self.press.cuts[0][0], len(self.decoder.layers)):
            self._hook(undo, self.decoder.layers[index], partial(self._before_layer, index))
        for cut in self._tapped():
            attention = cast("torch.nn.Module", self.decoder.layers[cut - 1].self_attn)
            self._taps[cut] = undo.enter_context(LastTokenAttention(attention, self._config))
        if self.lower is not None:
            first = self.press.cuts[0][0]
            undo.enter_context(self.lower.once(self.decoder.layers, first, self._taps.get(first)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()
        self._pass = self._prompt = None
        self._taps.clear()

    def _tapped(self) -> list[int]:
        """Return the cuts before which attention is read: for this press, or for others with the same first cut."""
        cuts = [cut for cut, _ in self.press.cuts]
        if self.press.needs_attention:
            return cuts
        return cuts[:1] if self.lower is not None and self.lower.needs_attention(cuts[0]) else []

    def left(self) -> dict[int, Tensor]:
        """Map each cut layer to the prompt positions [B, n] that survive from that layer on.

        Valid only inside the context manager.
        """
        found: dict[int, Tensor] = {}
        for layer, cut in sorted(self._pass.cuts.items() if self._pass else ()):
            before = found[max(found)] if found else None
            found[layer] = cut.order if before is None else before.gather(1, cut.order)
        return found

    @property
    def _config(self) -> Any:
        return self.decoder.stack.config

    @property
    def _merges(self) -> bool:
        return type(self.press).merged is not PruningPress.merged

    @staticmethod
    def _hook(undo: ExitStack, module: torch.nn.Module, hook: Any) -> None:
        undo.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)

    # -- hooks, in the order in which a forward pass runs them ---------------------------------------------------

    def _see_prompt(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if ids is None:
            raise ValueError(
                "tokens can't be dropped from a prompt of embeddings alone: input_ids are needed"
            )
        self._prompt = ids, kwargs.get("attention_mask")

    def _begin(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        cache = kwargs.get("past_key_values")
        if self._prompt is None:
            raise ValueError("the decoder ran without its model")
        ids, mask = self._prompt
        if cache is not None and not isinstance(cache, DynamicCache):
            raise ValueError(
                f"tokens can't be dropped with a {type(cache).__name__}: only with a DynamicCache"
            )
        if cache is not None and cache.get_seq_length() > 0:
            if self._pass is None or ids.shape[1] != 1:
                raise ValueError("tokens can't be dropped from a prompt that arrives in pieces")
            return self._step(self._pass, args, kwargs)
        if len(ids) != len(self.seeds):
            raise ValueError(
                f"{len(ids)} sequences for {len(self.seeds)} samples: beams and several answers can't be pruned"
            )
        self._pass = self._started(ids, mask)
        for tap in self._taps.values():
            tap.valid = self._pass.valid
        self._pass.positions = kwargs.get("position_ids")
        self._pass.last = ids.shape[1] - 1
        self.kept = None
        return None

    def _started(self, ids: Tensor, mask: Tensor | None) -> PromptPass:
        audio = torch.isin(ids, torch.tensor(self.decoder.audio_token_ids, device=ids.device))
        valid = torch.ones_like(audio) if mask is None else left_padded(mask)
        audio &= valid
        # the released code treats silent audio tokens like others
        silent = None if self.press.compat else self._silent_places(audio)
        prunable = spanned(audio) & valid if self.press.compat else audio
        loudness = None if self.loudness is None else list(self.loudness)
        if silent is not None:
            prunable = audio & ~silent
            loudness = loudness and [
                each[prunable[row][audio[row]].cpu()] for row, each in enumerate(loudness)
            ]
        started = PromptPass(audio, prunable, valid, silent, prunable.sum(dim=1).tolist(), loudness)
        if self.facts is not None and self.press.needs_question:
            started.question = marked_questions(self.facts, valid)
            started.seconds = prunable_seconds(self.facts, audio, prunable)
        return started

    def _silent_places(self, audio: Tensor) -> Tensor | None:
        """Return where in the prompts [B, T] audio tokens stand for no sound; None if none does."""
        if self.silent is None or all(each is None for each in self.silent):
            return None
        places = torch.zeros_like(audio)
        for row, each in enumerate(self.silent):
            if each is not None:
                places[row, audio[row]] = torch.from_numpy(each).to(audio.device)
        return places

    def _step(
        self, current: PromptPass, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Prepare one decoding step.

        After a cut at layer 0, position_ids are passed explicitly: the cache length no longer equals the position.
        """
        current.prefill = False
        current.last += 1
        if 0 not in current.cuts:
            return None
        if current.positions is None:
            like = self._prompt[0] if self._prompt else torch.empty(1, 1)
            positions = torch.full((1, 1), current.last, device=like.device)
        else:
            positions = current.positions = current.positions[..., -1:] + 1
        return args, {**kwargs, "position_ids": positions, "attention_mask": None}

    def _before_layer(
        self, index: int, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        current = self._pass
        if current is None:
            raise ValueError("a layer ran without its decoder")
        hidden = args[0] if args else kwargs["hidden_states"]
        ratios = dict(self.press.cuts)
        if index in ratios:
            hidden = self._at_the_cut(current, index, ratios[index], hidden, kwargs)
        cut = current.cuts.get(max((layer for layer in current.cuts if layer <= index), default=-1))
        if cut is None:
            return None
        # no position_ids: flash attention takes gaps, which pruning leaves, for the start of a packed sequence
        changed = {**kwargs, "attention_mask": cut.mask, "position_ids": None}
        if current.prefill:
            changed["position_embeddings"] = cut.rotary
        if args:
            return (hidden, *args[1:]), changed
        return (), {**changed, "hidden_states": hidden}

    # -- the cut ------------------------------------------------------------------------------------------------

    def _at_the_cut(
        self, current: PromptPass, layer: int, ratio: float, hidden: Tensor, kwargs: dict[str, Any]
    ) -> Tensor:
        """Cut in the prefill, or append the new token in a decoding step; then build the mask."""
        cache = kwargs.get("past_key_values")
        if cache is None:
            raise ValueError("tokens can't be dropped without a KV cache (use_cache=False)")
        if current.prefill:
            hidden = self._cut(current, layer, ratio, hidden, cache, kwargs["position_embeddings"])
        elif layer in current.cuts:
            cut = current.cuts[layer]
            cut.valid = torch.cat([cut.valid, torch.ones_like(cut.valid[:, :1])], dim=1)
        if layer in current.cuts:
            current.cuts[layer].mask = create_causal_mask(
                config=self._config,
                inputs_embeds=hidden,
                attention_mask=current.cuts[layer].valid,
                past_key_values=cache,
                layer_idx=layer,
            )
        return hidden

    def _cut(
        self,
        current: PromptPass,
        layer: int,
        ratio: float,
        hidden: Tensor,
        cache: DynamicCache,
        rotary: tuple[Tensor, ...],
    ) -> Tensor:
        started = synced(hidden)
        # at ratio 0 nothing is dropped, not even silent tokens
        droppable = current.audio | current.prunable if ratio else current.prunable
        keep = current.valid & ~droppable
        chosen_from = CutLayer(layer, ratio, hidden, cache)
        hidden = hidden.clone() if self._merges else hidden
        for row in range(len(keep)):
            self._choice.choose(current, chosen_from, row, keep, hidden)
        # one transfer from the device for both
        lengths, before = torch.stack([keep.sum(dim=1), current.valid.sum(dim=1)]).tolist()
        attention_s = self._taps[layer].seconds if layer in self._taps and self.press.needs_attention else 0.0
        self._note(current, layer, keep, lengths, synced(hidden) - started + attention_s)
        # of a batch no row may drop a token: the longest may keep all of its own while others drop some
        if lengths == before and self.early_exit:
            return hidden
        total, longest = keep.shape[1], max(lengths)
        # a stable sort puts kept tokens at the end, in order, and dropped tokens and padding before them
        order = keep.int().argsort(dim=1, stable=True)[:, total - longest :]
        if current.cuts:
            rotary = current.cuts[max(current.cuts)].rotary
        cut = Cut(order, keep.gather(1, order), tuple(gathered_tokens(part, order) for part in rotary))
        current.cuts[layer] = cut
        for later, tap in self._taps.items():
            if later > layer:
                tap.valid = cut.valid
        current.valid = cut.valid
        current.ordinals = current.ordinals.gather(1, order)
        current.audio = current.audio.gather(1, order) & cut.valid
        current.prunable = current.prunable.gather(1, order) & cut.valid
        if current.silent is not None:
            current.silent = current.silent.gather(1, order) & cut.valid
        if current.question is not None:
            current.question = current.question.gather(1, order) & cut.valid
        return gathered_tokens(hidden, order)

    def _note(
        self, current: PromptPass, layer: int, keep: Tensor, lengths: list[int], seconds: float
    ) -> None:
        """Record this cut's numbers of kept tokens and its seconds in `kept`."""
        kept = (keep & current.audio).sum(dim=1).tolist()
        if self.kept is None:
            self.kept = KeptTokens(current.audio.sum(dim=1).tolist(), kept, lengths, 0.0)
        self.kept.kept, self.kept.prompt = kept, lengths
        self.kept.select_s += seconds
        self.kept.lengths[layer] = lengths
        if self.log_tokens:
            stay = keep & current.audio
            self.kept.audio_numbers = [current.ordinals[row][stay[row]] for row in range(len(stay))]
