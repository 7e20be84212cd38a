"""What questions on one clip, and the cells of a sweep, have in common: weights, and of the clip in hand its sound,
features, encoding and prefilled context.

Nothing here changes an answer: a stored piece is given out only where the inputs that it was made from are equal, bit
by bit. At most the last two batches of sound, one encoding, one context and the lower layers of one prompt
(lower_layers.py) are in memory; encodings may lie on disk too (encoder_files.py). An answer that was spared a stage is
charged its measured time all the same, so that its usage says what it would have cost alone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from marathon_eval.api.press import Decoder, EvictionPress, Press, PruningPress
from marathon_eval.backends.hf.engine.encoder_cache import EncoderFiles
from marathon_eval.backends.hf.engine.eviction import prefill_context
from marathon_eval.backends.hf.engine.eviction_context import Context
from marathon_eval.backends.hf.engine.lower_layers import LowerLayers
from marathon_eval.backends.hf.engine.observers import looking_s, observed_part, watching
from marathon_eval.backends.hf.engine.same_inputs import same
from marathon_eval.backends.hf.engine.usage import now

if TYPE_CHECKING:
    from marathon_eval.api.model import Request, Response
    from marathon_eval.backends.hf.engine.loaded import Loaded

#: Two batches: the one that is asked, and the one that is decoded meanwhile.
BATCHES = 2


class Recent:
    """The last two values by key; the older one goes before the next is made."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """The value, made where it is not held."""
        if key not in self._held:
            while len(self._held) >= BATCHES:
                self._held.popitem(last=False)
            self._held[key] = make()
        return self._held[key]

    def clear(self) -> None:
        self._held.clear()


@dataclass
class Owed:
    """Seconds of stages that the batch in hand was spared."""

    encode: float = 0.0
    prefill: float = 0.0


@dataclass
class Encoding:
    """The audio encoder's last inputs and output."""

    inputs: list[Any]
    output: Any
    seconds: float
    #: False for one that was read from disk.
    fresh: bool = True


@dataclass
class Prefilled:
    """The last context, what it was made from, and the seconds of its encoding and of the rest."""

    tensors: dict[str, Tensor]
    context: Context
    encode_s: float
    prefill_s: float


@dataclass
class Shared:
    """One for all adapters that differ by their press alone; `presses` are theirs. `on` False shares weights only."""

    presses: Sequence[Press] = ()
    on: bool = True
    #: Where encodings are kept on disk, if anywhere.
    files: EncoderFiles | None = None
    loaded: Loaded | None = None
    #: Whether the first batch since loading is over.
    warm: bool = False
    #: Whether the request in hand is one of several on its clip.
    several: bool = False
    owed: Owed = field(default_factory=Owed)
    sounds: dict[Hashable, Any] = field(default_factory=dict)
    #: What the feature extractor made of a sound, by the sound's id, held with it so that no other array has the id.
    features: dict[tuple[Any, ...], tuple[Any, Any]] = field(default_factory=dict)
    inputs: Recent = field(default_factory=Recent)
    _encoding: Encoding | None = None
    _prefilled: Prefilled | None = None
    _batches: tuple[frozenset[Hashable], frozenset[Hashable]] = (frozenset(), frozenset())
    _lower: LowerLayers = field(init=False)

    def __post_init__(self) -> None:
        self._lower = LowerLayers(self.presses, self._spare_prefill)

    def _spare_prefill(self, seconds: float) -> None:
        self.owed.prefill += seconds

    def begin(self) -> None:
        """A new batch owes nothing."""
        self.owed = Owed()

    def expect(self, keys: Iterable[Hashable]) -> None:
        """A batch on these stretches is prepared next: of the sounds before, only the last batch's stay."""
        wanted = frozenset(keys)
        if not any(wanted <= batch for batch in self._batches):
            self._batches = (self._batches[1], wanted)
        kept = frozenset().union(*self._batches)
        self.sounds = {key: sound for key, sound in self.sounds.items() if key in kept}
        alive = {id(sound) for sound in self.sounds.values()}
        self.features = {key: held for key, held in self.features.items() if key[0] in alive}

    def sound(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Samples of one stretch of audio, which `expect` was told of."""
        if not self.on:
            return make()
        if key not in self.sounds:
            self.sounds[key] = make()
        return self.sounds[key]

    def prepared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """A batch's inputs, which no press changes."""
        return self.inputs.get(key, make) if self.on else make()

    def holds(self) -> bool:
        """Whether anything is kept that takes a model's memory."""
        return self._encoding is not None or self._prefilled is not None or self._lower.holds()

    def forget(self) -> None:
        """Give back what is kept of the clip."""
        self._encoding = self._prefilled = None
        self._lower.forget()
        self.sounds.clear()
        self.features.clear()
        self.inputs.clear()

    def release(self) -> None:
        """Forget all, weights included."""
        self.loaded = None
        self.forget()

    # -- encoder ------------------------------------------------------------------------------------------------

    @contextmanager
    def encoding_once(
        self, encoder: torch.nn.Module, device: torch.device, audio: Callable[[], list[str]] = list
    ) -> Iterator[None]:
        """Let the encoder give its last output again where its inputs are those of the last time.

        `audio`: gives the content hashes of the batch's clips, for encodings on disk.
        """
        if not self.on:
            yield
            return
        forward, own = encoder.forward, vars(encoder).get("forward")

        def remembered(*args: Any, **kwargs: Any) -> Any:
            given = [*args, *(item for name in sorted(kwargs) for item in (name, kwargs[name]))]
            held = self._encoding
            if held is not None and same(held.inputs, given):
                self.owed.encode += held.seconds
                return held.output
            # another clip: the old one's memory first
            del held
            self._encoding = self._prefilled = None
            self._lower.forget()
            encode, place = partial(forward, *args, **kwargs), next(encoder.parameters()).device
            output, seconds, fresh = self._encoded(encode, given, device, audio, place)
            self.owed.encode += 0.0 if fresh else seconds
            self._encoding = Encoding(given, output, seconds, fresh)
            return output

        vars(encoder)["forward"] = remembered
        try:
            yield
        finally:
            del vars(encoder)["forward"]
            if own is not None:  # accelerate's, where the layers lie on several devices
                vars(encoder)["forward"] = own

    def _encoded(
        self,
        encode: Callable[[], Any],
        given: list[Any],
        device: torch.device,
        audio: Callable[[], list[str]],
        place: torch.device,
    ) -> tuple[Any, float, bool]:
        """The encoder's output, its seconds, and whether they were spent now: it may lie on disk."""
        path = None if self.files is None else self.files.path(audio(), given)
        if self.files is not None and path is not None:
            found = self.files.read(path, place)
            if found is not None:
                return *found, False
        started = now(device)
        output = encode()
        seconds = now(device) - started
        if self.files is not None and path is not None:
            self.files.write(path, output, seconds)
        return output, seconds, True

    # -- layers below a cut -------------------------------------------------------------------------------------

    def lower_layers(self, press: PruningPress) -> LowerLayers | None:
        """Where the layers below the press's first cut are kept; None where no one else would ask for them."""
        return self._lower if self.on and self._lower.pays(press) else None

    # -- context ------------------------------------------------------------------------------------------------

    def context(
        self, decoder: Decoder, tensors: Mapping[str, Tensor], length: int, press: EvictionPress
    ) -> Context:
        """`prefill_context`, or the last one where the prefix is the same; shows the press no more than it asks for.

        The one pass notes what any of the presses wants to see: watching changes nothing that is computed.
        """
        if not self.on or press.needs_module:
            return prefill_context(decoder, tensors, length, press)
        self._lower.forget()  # the next to be pruned is another prompt
        given = prefix(tensors, length)
        held = self._prefilled
        if held is None or not same([held.tensors], [given]):
            del held
            self._prefilled = None
            held = self._prefilled = self._prefill(decoder, tensors, length, press, given)
        else:
            self.owed.encode += held.encode_s
            self.owed.prefill += held.prefill_s
        found = observed_part(held.context, press)
        # what was noted for other presses is none of this one's time
        self.owed.prefill -= looking_s(held.context) - looking_s(found)
        return found

    def _prefill(
        self,
        decoder: Decoder,
        tensors: Mapping[str, Tensor],
        length: int,
        press: EvictionPress,
        given: dict[str, Tensor],
    ) -> Prefilled:
        device = given["input_ids"].device
        owed, started = self.owed.encode, now(device)
        encoded = self._encoding
        context = prefill_context(decoder, tensors, length, watching(press, self.presses))
        seconds = now(device) - started
        made = None if self._encoding is encoded else self._encoding
        inside = made.seconds if made is not None and made.fresh else 0.0
        return Prefilled(given, context, max(inside, self.owed.encode - owed), seconds - inside)

    def serves_whole(self, decoder: Decoder, request: Request, audio_tokens: Sequence[int]) -> bool:
        """Whether an uncompressed answer is to go on from the context, as evicted ones do.

        It pays where others go on from it too. One greedy request at a time, and full attention only, are what the
        decoding loop there knows.
        """
        kinds = set(getattr(decoder.stack.config, "layer_types", None) or ["full_attention"])
        others = self.several or any(isinstance(press, EvictionPress) for press in self.presses)
        one = len(audio_tokens) == 1 and audio_tokens[0] > 0 and request.generation.temperature == 0
        return self.on and others and one and kinds == {"full_attention"}

    # -- honest times -------------------------------------------------------------------------------------------

    def charged(self, responses: list[Response]) -> list[Response]:
        """The batch's answers with the seconds of what they were spared, divided as all seconds of a batch are."""
        spared = [name for name in ("encode", "prefill") if getattr(self.owed, name)]
        return [self._charged(one, len(responses), spared) for one in responses] if spared else responses

    def _charged(self, response: Response, size: int, spared: list[str]) -> Response:
        usage = response.usage
        return replace(
            response,
            usage=replace(
                usage,
                encode_s=round((usage.encode_s or 0.0) + self.owed.encode / size, 6),
                prefill_s=round((usage.prefill_s or 0.0) + self.owed.prefill / size, 6),
                details={**usage.details, "shared": spared},
            ),
        )


class SharedFeatures:
    """A feature extractor that gives its last results again for the same array of samples, asked for alike."""

    def __init__(self, extractor: Any, shared: Shared) -> None:
        self._extractor, self._shared = extractor, shared

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extractor, name)

    def __call__(self, samples: Any, **settings: Any) -> Any:
        # a list or a part of an array is made anew for every call, and would never be met again
        if not self._shared.on or getattr(samples, "base", samples) is not None:
            return self._extractor(samples, **settings)
        held = self._shared.features
        key = (id(samples), *sorted((name, repr(value)) for name, value in settings.items()))
        if key not in held:
            held[key] = (samples, self._extractor(samples, **settings))
        return held[key][1]


def prefix(tensors: Mapping[str, Tensor], length: int) -> dict[str, Tensor]:
    """All that a context of `length` tokens is computed from."""
    cut = {name: tensors[name][:, :length] for name in ("input_ids", "attention_mask")}
    return {**tensors, **cut}
