"""Keeps decoded audio, features and prepared inputs of the last two batches, so that questions and cells reuse them.

Two batches, because the runner decodes the next batch's audio in advance. Everything here lies in the CPU's memory.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

#: The number of batches kept: the one that runs, and the one whose audio is decoded in advance.
BATCHES = 2


class Recent:
    """Keeps the last two values by key; drops the older one before it makes the next, to bound memory."""

    def __init__(self) -> None:
        self._values: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the key's value; calls `make` if it is not kept."""
        if key not in self._values:
            while len(self._values) >= BATCHES:
                self._values.popitem(last=False)
            self._values[key] = make()
        return self._values[key]

    def clear(self) -> None:
        """Drop both values."""
        self._values.clear()


@dataclass
class ClipInputs:
    """Keeps what was made of the clips of the last two batches; with `on` False it keeps nothing."""

    on: bool = True
    sounds: dict[Hashable, Any] = field(default_factory=dict)
    #: The feature extractor's results by the id of their samples, which are stored too so that the id stays theirs.
    features: dict[tuple[Any, ...], tuple[Any, Any]] = field(default_factory=dict)
    inputs: Recent = field(default_factory=Recent)
    _batches: tuple[frozenset[Hashable], frozenset[Hashable]] = (frozenset(), frozenset())

    def expect(self, keys: Iterable[Hashable]) -> None:
        """Announce the clips of the batch to be prepared; drops sounds and features that neither batch uses."""
        clips = frozenset(keys)
        if not any(clips <= batch for batch in self._batches):
            self._batches = (self._batches[1], clips)
        used = frozenset().union(*self._batches)
        self.sounds = {key: sound for key, sound in self.sounds.items() if key in used}
        alive = {id(sound) for sound in self.sounds.values()}
        self.features = {key: entry for key, entry in self.features.items() if key[0] in alive}

    def sound(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the samples of a clip that `expect` announced; calls `make` to decode them if they are not kept."""
        if not self.on:
            return make()
        if key not in self.sounds:
            self.sounds[key] = make()
        return self.sounds[key]

    def prepared(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return a batch's inputs, which are equal for all presses; calls `make` if they are not kept."""
        return self.inputs.get(key, make) if self.on else make()

    def forget(self) -> None:
        """Free the memory of sounds, features and inputs."""
        self.sounds.clear()
        self.features.clear()
        self.inputs.clear()


class SharedFeatures:
    """Wraps a feature extractor and returns its stored result for the same array of samples and the same settings."""

    def __init__(self, extractor: Any, clips: ClipInputs) -> None:
        self._extractor, self._clips = extractor, clips

    def __getattr__(self, name: str) -> Any:
        return getattr(self._extractor, name)

    def __call__(self, samples: Any, **settings: Any) -> Any:
        # lists and slices of an array are made anew for every call, so storing their results would be useless
        if not self._clips.on or getattr(samples, "base", samples) is not None:
            return self._extractor(samples, **settings)
        stored = self._clips.features
        key = (id(samples), *sorted((name, repr(value)) for name, value in settings.items()))
        if key not in stored:
            stored[key] = (samples, self._extractor(samples, **settings))
        return stored[key][1]
