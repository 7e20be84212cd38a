"""The layers below a cut, run once for every pruning press and ratio that cuts there.

What a press drops at layer K is dropped at that layer's input: layers 0 .. K-1 see the whole prompt, whatever the press
and the ratio. Their keys and values, and what layer K reads, are kept of the prompt in hand and given out again where
the first layer's inputs are equal, bit by bit. Of a deeper cut, the layers between the two are all that is run.
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
    """One prompt below its cuts."""

    inputs: list[Any]
    #: Keys and values [B, key heads, T, d] by layer, from layer 0 on.
    stored: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    #: By cut: what its layer reads, the last token's attention in the layer before, and the seconds up to there.
    states: dict[int, Any] = field(default_factory=dict)
    rows: dict[int, Tensor | None] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    #: By cut: the seconds that looking at that attention took.
    looks: dict[int, float] = field(default_factory=dict)


@dataclass
class LowerLayers:
    """Keeps one prompt; `presses` are all that may ask for it."""

    presses: Sequence[Press]
    #: Is told the seconds that the prompt in hand was spared.
    spare: Callable[[float], None]
    _prompt: LowerLayerPrompt | None = None
    #: Of the pass in hand: the cut from which layers run, and when they began.
    _from: int = 0
    _started: float = 0.0

    def forget(self) -> None:
        """Give the memory back."""
        self._prompt = None

    def holds(self) -> bool:
        """Whether a prompt is kept."""
        return self._prompt is not None

    def pays(self, press: PruningPress) -> bool:
        """Whether another press cuts above layer 0 too, so that there is something to keep for it."""
        others = [one for one in self.presses if isinstance(one, PruningPress) and one.cuts[0][0] > 0]
        return press.cuts[0][0] > 0 and len(others) > 1

    def watched(self, cut: int) -> bool:
        """Whether any press that cuts there asks for the attention of the layer before."""
        pruning = [press for press in self.presses if isinstance(press, PruningPress)]
        return any(press.needs_attention and press.cuts[0][0] == cut for press in pruning)

    @contextmanager
    def once(self, layers: Sequence[torch.nn.Module], cut: int, tap: Any) -> Iterator[None]:
        """Let the layers below `cut` give again what they gave. `tap`, if any, has the `row` of layer `cut` - 1."""
        with ExitStack() as undo:
            for index in range(cut):
                self._replace(undo, layers[index], index, cut, tap)
            yield

    def _replace(self, undo: ExitStack, layer: torch.nn.Module, index: int, cut: int, tap: Any) -> None:
        forward, own = (
            layer.forward,
            {name: vars(layer)[name] for name in ("forward",) if name in vars(layer)},
        )

        def remembered(*args: Any, **kwargs: Any) -> Any:
            cache = kwargs.get("past_key_values")
            if cache is None or cache.get_seq_length(index) > 0:  # a decoding step
                return forward(*args, **kwargs)
            if index == 0:
                self._begin(args, kwargs, cut)
            if index < self._from:
                return self._given(index, cut, cache, tap)
            output = forward(*args, **kwargs)
            self._keep(index, cut, cache, output, tap)
            return output

        vars(layer)["forward"] = remembered
        # what may have stood there before is accelerate's, where the layers lie on several devices
        undo.callback(vars(layer).update, own)
        undo.callback(vars(layer).pop, "forward")

    def _begin(self, args: tuple[Any, ...], kwargs: dict[str, Any], cut: int) -> None:
        """Find how deep the prompt is known, or start on a new one."""

        names = sorted(kwargs.keys() - {"past_key_values"})
        inputs = [*args, *(item for name in names for item in (name, kwargs[name]))]
        if self._prompt is None or not same(self._prompt.inputs, inputs):
            self._prompt = None  # the old one's memory first
            self._prompt = LowerLayerPrompt(inputs)
        known = [depth for depth in self._prompt.states if depth <= cut]
        self._from = max(known, default=0)
        device = next(item.device for item in inputs if isinstance(item, Tensor))
        self.spare(self._prompt.seconds.get(self._from, 0.0))
        self._started = now(device)

    def _given(self, index: int, cut: int, cache: Any, tap: Any) -> Any:
        """A layer's part of the cache. What it returns is read by the last one's follower only."""
        assert self._prompt is not None
        # a cache joins what it gets to what it has in new memory: the kept keys and values stay as they are
        cache.update(*self._prompt.stored[index], index)
        if tap is not None and index + 1 == cut:
            tap.row, tap.seconds = self._prompt.rows[cut], self._prompt.looks[cut]
        return self._prompt.states[self._from]

    def _keep(self, index: int, cut: int, cache: Any, output: Any, tap: Any) -> None:
        prompt = self._prompt
        assert prompt is not None
        held = cache.layers[index]
        if index == len(prompt.stored):
            prompt.stored.append((held.keys, held.values))
        if index + 1 < cut:
            return
        prompt.states[cut] = output
        prompt.rows[cut] = None if tap is None else tap.row
        prompt.looks[cut] = 0.0 if tap is None else tap.seconds
        before = prompt.seconds.get(self._from, 0.0)
        prompt.seconds[cut] = before + now(held.keys.device) - self._started
