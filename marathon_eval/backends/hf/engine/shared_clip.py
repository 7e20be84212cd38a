"""Reuses the work on one clip for its other questions and for the cells of a sweep: encoding, context, lower layers.

Reuse changes a response at most by rounding (docs/sweep.md): a stored result is returned only for inputs that are equal, bit by bit, to those that
it was made from. In memory are the sounds of at most two batches (clip_inputs.py), one encoding, one context and the
lower layers of one prompt (lower_layers.py); encodings may lie on disk too (encoder_cache.py). The measured seconds
of reused work are added to the responses that reuse it (saved_seconds.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from marathon_eval.api.press import Decoder, EvictionPress, Press, PruningPress
from marathon_eval.backends.hf.engine.clip_inputs import ClipInputs
from marathon_eval.backends.hf.engine.encoder_cache import EncoderFiles
from marathon_eval.backends.hf.engine.eviction import prefill_context
from marathon_eval.backends.hf.engine.eviction_context import Context
from marathon_eval.backends.hf.engine.lower_layers import LowerLayers
from marathon_eval.backends.hf.engine.observers import looking_s, observed_part, watching
from marathon_eval.backends.hf.engine.same_inputs import same
from marathon_eval.backends.hf.engine.saved_seconds import SavedSeconds
from marathon_eval.backends.hf.engine.usage import now

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.model import Request
    from marathon_eval.backends.hf.engine.loaded import Loaded


@dataclass
class Encoding:
    """Holds the audio encoder's last inputs, its output and the seconds that it took."""

    inputs: list[Any]
    output: Any
    seconds: float
    #: False if the output was read from disk.
    fresh: bool = True


@dataclass
class Prefilled:
    """Holds the last context, the inputs that it was made from, and the seconds of encoder and prefill."""

    tensors: dict[str, Tensor]
    context: Context
    encode_s: float
    prefill_s: float


@dataclass
class Shared:
    """Holds the loaded weights and reusable results of adapters that differ only in their press.

    `presses` are the presses of all these adapters. With `on` False they share the weights only.
    """

    presses: Sequence[Press] = ()
    on: bool = True
    #: The folder of encodings on disk, if there is one.
    files: EncoderFiles | None = None
    loaded: Loaded | None = None
    #: Names one loading of the weights: only seconds with the same name were measured alike.
    session: str = ""
    #: True after the first batch since loading.
    warm: bool = False
    #: True if the current request is one of several on its clip.
    several: bool = False
    saved: SavedSeconds = field(default_factory=SavedSeconds)
    clips: ClipInputs = field(init=False)
    _encoding: Encoding | None = None
    _prefilled: Prefilled | None = None
    _lower: LowerLayers = field(init=False)

    def __post_init__(self) -> None:
        self.clips = ClipInputs(self.on)
        self._lower = LowerLayers(self.presses, self._add_saved_prefill)

    def _add_saved_prefill(self, seconds: float) -> None:
        self.saved.prefill += seconds

    def begin(self) -> None:
        """Reset the saved seconds for a new batch."""
        self.saved = SavedSeconds()

    def holds(self) -> bool:
        """Return whether an encoding, a context or lower layers take up the model's memory."""
        return self._encoding is not None or self._prefilled is not None or self._lower.holds()

    def forget(self) -> None:
        """Free the memory of everything that was made of the clip."""
        self._encoding = self._prefilled = None
        self._lower.forget()
        self.clips.forget()

    def release(self) -> None:
        """Free everything, the weights included."""
        self.loaded = None
        self.forget()

    # -- encoder ------------------------------------------------------------------------------------------------

    @contextmanager
    def encoding_once(
        self, encoder: torch.nn.Module, device: torch.device, audio: Callable[[], list[str]] = list
    ) -> Iterator[None]:
        """While open, the encoder returns its last output again when its inputs equal those of the last call.

        `audio` returns the content hashes of the batch's clips, for encodings on disk.
        """
        if not self.on:
            yield
            return
        forward, instance_forward = encoder.forward, vars(encoder).get("forward")

        def remembered(*args: Any, **kwargs: Any) -> Any:
            inputs = [*args, *(item for name in sorted(kwargs) for item in (name, kwargs[name]))]
            last = self._encoding
            if last is not None and same(last.inputs, inputs):
                self.saved.encode += last.seconds
                return last.output
            # another clip: free the old one's memory first
            del last
            self._encoding = self._prefilled = None
            self._lower.forget()
            encode, place = partial(forward, *args, **kwargs), next(encoder.parameters()).device
            output, seconds, fresh = self._encoded(encode, inputs, device, audio, place)
            self.saved.encode += 0.0 if fresh else seconds
            self._encoding = Encoding(inputs, output, seconds, fresh)
            return output

        vars(encoder)["forward"] = remembered
        try:
            yield
        finally:
            del vars(encoder)["forward"]
            if instance_forward is not None:  # set by accelerate when the layers lie on several devices
                vars(encoder)["forward"] = instance_forward

    def _encoded(
        self,
        encode: Callable[[], Any],
        inputs: list[Any],
        device: torch.device,
        audio: Callable[[], list[str]],
        place: torch.device,
    ) -> tuple[Any, float, bool]:
        """Return the encoder's output, its seconds, and whether it was computed now (True) or read from disk."""
        path = None if self.files is None else self.files.path(audio(), inputs)
        if self.files is not None and path is not None:
            stored = self.files.read(path, place)
            if stored is not None:
                return *stored, False
        started = now(device)
        output = encode()
        seconds = now(device) - started
        if self.files is not None and path is not None:
            self.files.write(path, output, seconds)
        return output, seconds, True

    # -- layers below a cut -------------------------------------------------------------------------------------

    def lower_layers(self, press: PruningPress) -> LowerLayers | None:
        """Return the store of the layers below the press's first cut; None if no other press would reuse them."""
        return self._lower if self.on and self._lower.is_reused(press) else None

    # -- context ------------------------------------------------------------------------------------------------

    def context(
        self,
        decoder: Decoder,
        tensors: Mapping[str, Tensor],
        length: int,
        press: EvictionPress,
        silent: NDArray[np.bool_] | None = None,
    ) -> Context:
        """Return the result of `prefill_context`, reused if the prefix is the same, with what this press observes.

        One prefill records what every press needs to observe; observing does not change what is computed.
        """
        if not self.on or press.needs_module:
            return prefill_context(decoder, tensors, length, press, silent)
        self._lower.forget()  # the lower layers belong to another prompt
        inputs = prefix(tensors, length)
        # clips of different length can have identical padded features, so silent tokens are part of the comparison
        if silent is not None:
            inputs["silent"] = torch.from_numpy(silent)
        last = self._prefilled
        if last is None or not same([last.tensors], [inputs]):
            del last
            self._prefilled = None
            last = self._prefilled = self._prefill(decoder, tensors, length, press, inputs, silent)
        else:
            self.saved.encode += last.encode_s
            self.saved.prefill += last.prefill_s
        context = observed_part(last.context, press)
        # time spent observing for other presses does not count for this one
        self.saved.prefill -= looking_s(last.context) - looking_s(context)
        return context

    def _prefill(
        self,
        decoder: Decoder,
        tensors: Mapping[str, Tensor],
        length: int,
        press: EvictionPress,
        inputs: dict[str, Tensor],
        silent: NDArray[np.bool_] | None,
    ) -> Prefilled:
        """Prefill the context for all presses, and measure encoder and prefill separately."""
        device = inputs["input_ids"].device
        saved_before, started = self.saved.encode, now(device)
        encoding_before = self._encoding
        context = prefill_context(decoder, tensors, length, watching(press, self.presses), silent)
        seconds = now(device) - started
        encoding = None if self._encoding is encoding_before else self._encoding
        encode_s = encoding.seconds if encoding is not None and encoding.fresh else 0.0
        return Prefilled(inputs, context, max(encode_s, self.saved.encode - saved_before), seconds - encode_s)

    def serves_whole(self, decoder: Decoder, request: Request, audio_tokens: Sequence[int]) -> bool:
        """Return whether an uncompressed response should continue from the prefilled context, as evicted ones do.

        This saves time only if other responses continue from it too. The decoding loop there supports one greedy
        request at a time, and only full attention.
        """
        kinds = set(getattr(decoder.stack.config, "layer_types", None) or ["full_attention"])
        reused = self.several or any(isinstance(press, EvictionPress) for press in self.presses)
        supported = len(audio_tokens) == 1 and audio_tokens[0] > 0 and request.generation.temperature == 0
        return self.on and reused and supported and kinds == {"full_attention"}


def prefix(tensors: Mapping[str, Tensor], length: int) -> dict[str, Tensor]:
    """Return all inputs that a context of `length` tokens is computed from."""
    cut = {name: tensors[name][:, :length] for name in ("input_ids", "attention_mask")}
    return {**tensors, **cut}
