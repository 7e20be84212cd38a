"""Runs the layers below a cut once per prompt, and reuses their results for every press and ratio that cuts there.

A pruning press drops tokens at the input of its layer K, so layers 0 .. K-1 see the whole prompt, whatever the press
and the ratio. Their keys and values and the input of layer K are stored for the current prompt, and returned again
when the first layer's inputs are equal, bit by bit. For a deeper cut, only the layers between the two cuts run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from marathon_eval.api.press import Press, PruningPress
from marathon_eval.backends.hf.engine.same_inputs import same
from marathon_eval.backends.hf.engine.usage import now


@dataclass
class LowerLayerPrompt:
    """Holds the results of one prompt in the layers below its cuts."""

    inputs: list[Any]
    #: Keys and values [B, key heads, T, d] by layer, from layer 0 on.
    stored: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    #: By cut: the input of its layer, the last token's attention in the layer before, and the seconds up to the cut.
    states: dict[int, Any] = field(default_factory=dict)
    rows: dict[int, Tensor | None] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    #: By cut: the seconds that reading that attention took.
    attention_seconds: dict[int, float] = field(default_factory=dict)


@dataclass
class LowerLayers:
    """Stores the lower layers of one prompt for `presses`, all presses of the sweep."""

    presses: Sequence[Press]
    #: Called with the prefill seconds that the current prompt saved.
    add_saved_seconds: Callable[[float], None]
    _prompt: LowerLayerPrompt | None = None
    #: In the current pass: the first layer that is computed, and when it started.
    _first_computed: int = 0
    _started: float = 0.0

    def forget(self) -> None:
        """Free the stored prompt's memory."""
        self._prompt = None

    def holds(self) -> bool:
        """Return whether a prompt is stored."""
        return self._prompt is not None

    def is_reused(self, press: PruningPress) -> bool:
        """Return whether this press and another one cut above layer 0, so that the layers below can be reused."""
        cutting_above_0 = [
            other for other in self.presses if isinstance(other, PruningPress) and other.cuts[0][0] > 0
        ]
        return press.cuts[0][0] > 0 and len(cutting_above_0) > 1

    def needs_attention(self, cut: int) -> bool:
        """Return whether any press that cuts at layer `cut` needs the attention of the layer before."""
        pruning = [press for press in self.presses if isinstance(press, PruningPress)]
        return any(press.needs_attention and press.cuts[0][0] == cut for press in pruning)

    @contextmanager
    def once(self, layers: Sequence[torch.nn.Module], cut: int, tap: Any) -> Iterator[None]:
        """While open, the layers below `cut` return their stored results.

        `tap`, if any, reads the attention of layer `cut` - 1.
        """
        with ExitStack() as undo:
            for index in range(cut):
                self._replace(undo, layers[index], index, cut, tap)
            yield

    def _replace(self, undo: ExitStack, layer: torch.nn.Module, index: int, cut: int, tap: Any) -> None:
        forward = layer.forward
        instance_forward = {name: vars(layer)[name] for name in ("forward",) if name in vars(layer)}

        def remembered(*args: Any, **kwargs: Any) -> Any:
            cache = kwargs.get("past_key_values")
            if cache is None or cache.get_seq_length(index) > 0:  # a decoding step
                return forward(*args, **kwargs)
            if index == 0:
                self._begin(args, kwargs, cut)
            if index < self._first_computed:
                return self._restored(index, cut, cache, tap)
            output = forward(*args, **kwargs)
            self._store(index, cut, cache, output, tap)
            return output

        vars(layer)["forward"] = remembered
        # accelerate sets a forward on the instance when the layers lie on several devices
        undo.callback(vars(layer).update, instance_forward)
        undo.callback(vars(layer).pop, "forward")

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any], cut: int) -> None:
        """Find the deepest stored cut of this prompt, or start a new prompt."""
        names = sorted(kwargs.keys() - {"past_key_values"})
        inputs = [*args, *(item for name in names for item in (name, kwargs[name]))]
        if self._prompt is None or not same(self._prompt.inputs, inputs):
            self._prompt = None  # frees the old prompt's memory first
            self._prompt = LowerLayerPrompt(inputs)
        stored_cuts = [stored_cut for stored_cut in self._prompt.states if stored_cut <= cut]
        self._first_computed = max(stored_cuts, default=0)
        device = next(item.device for item in inputs if isinstance(item, Tensor))
        self.add_saved_seconds(self._prompt.seconds.get(self._first_computed, 0.0))
        self._started = now(device)

    def _restored(self, index: int, cut: int, cache: Any, tap: Any) -> Any:
        """Put a layer's keys and values into the cache; only the output of the last restored layer is read."""
        assert self._prompt is not None
        # the cache concatenates into new memory, so the stored keys and values do not change
        cache.update(*self._prompt.stored[index], index)
        if tap is not None and index + 1 == cut:
            tap.row, tap.seconds = self._prompt.rows[cut], self._prompt.attention_seconds[cut]
        return self._prompt.states[self._first_computed]

    def _store(self, index: int, cut: int, cache: Any, output: Any, tap: Any) -> None:
        prompt = self._prompt
        assert prompt is not None
        layer_cache = cache.layers[index]
        if index == len(prompt.stored):
            prompt.stored.append((layer_cache.keys, layer_cache.values))
        if index + 1 < cut:
            return
        prompt.states[cut] = output
        prompt.rows[cut] = None if tap is None else tap.row
        prompt.attention_seconds[cut] = 0.0 if tap is None else tap.seconds
        reused = prompt.seconds.get(self._first_computed, 0.0)
        prompt.seconds[cut] = reused + now(layer_cache.keys.device) - self._started
