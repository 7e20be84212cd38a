"""Draws the distractors of a position probe, and lays them beside the event so that no two sounds overlap."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from marathon_eval.api.sound import frames_at
from marathon_eval.corpus.build.recipe import Needle, Recipe
from marathon_eval.corpus.build.source import SourceClip
from marathon_eval.errors import MarathonError


@dataclass(frozen=True)
class Distractors:
    """Holds one event's distractors with their lengths in output frames; `draw` names the seed of their places."""

    clips: Sequence[SourceClip]
    frames: Sequence[int]
    rate: int
    draw: str

    @classmethod
    def drawn(
        cls, recipe: Recipe, rule: Needle, event: SourceClip, candidates: Sequence[SourceClip], rate: int
    ) -> Distractors:
        """Draw clips of labels other than the event's, of different labels as far as there are any.

        The draw depends on the recipe's seed and the event. Raises MarathonError when there are too few clips.
        """
        draw = f"{recipe.seed}:distractors:{event.path}"
        label = event.fields.get(rule.label)
        others = [clip for clip in candidates if clip is not event and clip.fields.get(rule.label) != label]
        if len(others) < rule.distractors:
            raise MarathonError(
                f"{recipe.recipe}: {event.path}: {rule.distractors} distractors are wanted, and {len(others)} clips have "
                f"the role '{rule.distractor}' and another label"
            )
        random.Random(draw).shuffle(others)
        seen: dict[object, int] = {}
        rounds = []
        for place, clip in enumerate(others):
            name = clip.fields.get(rule.label)
            seen[name] = seen.get(name, -1) + 1
            rounds.append((seen[name], place))
        chosen = [others[place] for _, place in sorted(rounds)[: rule.distractors]]
        return cls(chosen, [frames_at(c.stop - c.start, c.rate, rate) for c in chosen], rate, draw)

    def around(self, start: int, stop: int, frames: int) -> list[tuple[SourceClip, int]]:
        """Return each clip with the frame at which it starts, in a file whose event lies at [start, stop).

        Clips and random numbers are the same at every position of the event. Raises MarathonError when a clip fits
        neither before nor after the event.
        """
        rng = random.Random(f"{self.draw}:{frames}")
        draws = [(rng.random(), rng.random()) for _ in self.clips]
        free = [start, frames - stop]
        sides: list[list[int]] = [[], []]
        for number, length in enumerate(self.frames):
            room = [max(0, space - length + 1) for space in free]
            side = int(draws[number][0] * sum(room) >= room[0])
            if not room[side]:
                raise MarathonError(self._too_long(number, frames))
            free[side] -= length
            sides[side].append(number)
        return [
            *self._spread(sides[0], 0, free[0], draws),
            *self._spread(sides[1], stop, free[1], draws),
        ]

    def _spread(
        self, numbers: Sequence[int], first: int, free: int, draws: Sequence[tuple[float, float]]
    ) -> list[tuple[SourceClip, int]]:
        """Lay clips in their order from frame `first` on, with `free` frames of bed divided at random around them."""
        gaps = sorted(draws[number][1] for number in numbers)
        places, used = [], 0
        for number, gap in zip(numbers, gaps, strict=True):
            places.append((self.clips[number], first + used + round(gap * free)))
            used += self.frames[number]
        return places

    def _too_long(self, number: int, frames: int) -> str:
        return (
            f"{self.clips[number].path}: {self.frames[number] / self.rate:.1f} s of a distractor do not fit into "
            f"{frames / self.rate:g} s beside the event and the distractors before it: give shorter sounds, fewer "
            "distractors or greater lengths"
        )
