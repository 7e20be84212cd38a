"""Tests that presses keep what their written rules say, against references of a few lines, ties and limits included."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from marathon_eval.api.press import EvictionPress, EvictionView, PruningPress, PruningView, budget
from marathon_eval.api.press_ranking import highest_scores
from marathon_eval.api.press_scores import kept_window
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError

HEADS, KEY_HEADS, SIZE = 4, 2, 8
RATIOS = [0.1, 0.5, 0.9, 0.99]


def eviction_press(name: str, **settings: Any) -> EvictionPress:
    press = Registry().press_class(name)(**settings)
    assert isinstance(press, EvictionPress)
    return press


def eviction_view(
    press: EvictionPress, length: int, keep: int, first: int = 3, seed: int = 0
) -> EvictionView:
    """Three text positions, then audio up to the end, as after `evict=context`."""
    random = torch.Generator().manual_seed(seed)
    queries = torch.randn(HEADS, min(max(press.window, 1), length), SIZE, generator=random)
    keys = torch.randn(KEY_HEADS, length, SIZE, generator=random)
    return EvictionView(
        0,
        2,
        keys,
        keys,
        queries,
        None,
        None,
        torch.arange(first, length),
        keep,
        random,  # type: ignore[arg-type]
    )


def pruning_view(states: torch.Tensor, attention: torch.Tensor | None, keep: int) -> PruningView:
    audio: Any = torch.arange(2, len(states) - 3)
    return PruningView(
        states,
        lambda x: x,
        states[None],
        attention,
        audio,
        keep,
        torch.Generator(),
        attention_loudness(audio),
    )


def attention_loudness(audio: torch.Tensor) -> torch.Tensor:
    return (audio % 5).float()


def attended(view: EvictionView, own: int) -> torch.Tensor:
    """Mean attention [heads, T - own] that the last max(own, 1) queries pay to the keys before the window."""
    assert view.queries is not None
    length, rows = view.keys.shape[1], max(own, 1)
    found = torch.zeros(HEADS, length)
    for head in range(HEADS):
        for row in range(rows):
            place = length - rows + row
            query = view.queries[head, len(view.queries[head]) - rows + row]
            logits = view.keys[head // (HEADS // KEY_HEADS), : place + 1] @ query / SIZE**0.5
            found[head, : place + 1] += logits.softmax(0) / rows
    return found[:, : length - own]


@pytest.mark.parametrize("ratio", RATIOS)
@pytest.mark.parametrize("length", [40, 400])
def test_snapkv_is_its_rule(ratio: float, length: int) -> None:
    press = eviction_press("snapkv", ratio=ratio)
    keep = budget(length - 3, ratio)
    view = eviction_view(press, length, keep)
    own = min(press.window, keep // 2)
    scores = attended(view, own)
    pooled = torch.stack(
        [
            torch.stack([scores[h, max(0, t - 2) : t + 3].sum() / 5 for t in range(scores.shape[1])])
            for h in range(HEADS)
        ]
    )
    pooled = pooled.unflatten(0, (KEY_HEADS, -1)).mean(1)[:, 3:]
    window = set(range(length - own, length))
    for head, kept in enumerate(press.select(view)):
        chosen = pooled[head].argsort(descending=True, stable=True)[: keep - own] + 3
        assert set(kept.tolist()) == window | set(chosen.tolist())


@pytest.mark.parametrize("name", ["snapkv", "pyramidkv"])
def test_at_most_half_of_the_budget_is_the_window_s(name: str) -> None:
    """A budget below the window kept the window alone, the same in every head."""
    press = eviction_press(name, ratio=0.99)
    view = eviction_view(press, 1003, 10)
    first, second = (set(head.tolist()) for head in press.select(view))
    last = set(range(998, 1003))
    assert last <= first
    assert last <= second
    assert first != second
    # another context leads to another choice
    other = press.select(eviction_view(press, 1003, 10, seed=1))
    assert set(other[0].tolist()) != first


@pytest.mark.parametrize(
    ("audio", "length", "window", "keep", "own"),
    [
        (range(10, 100), 100, 64, 200, 64),
        (range(10, 100), 100, 64, 20, 10),
        (range(10, 100), 100, 64, 1, 0),
        # the question is the window; no audio key is in it
        (range(10, 100), 200, 64, 2, 64),
        # ten audio keys lie in the window of a whole prompt
        (range(10, 100), 150, 60, 8, 54),
        (range(10, 100), 150, 60, 20, 60),
    ],
)
def test_the_window_is_shortened_by_its_audio_keys(
    audio: range, length: int, window: int, keep: int, own: int
) -> None:
    assert kept_window(list(audio), length, window, keep) == own


def test_of_equal_scores_the_first_stay() -> None:
    scores = torch.tensor([[1.0, 2, 2, 1, 2], [0, 0, 0, 0, 0]])
    assert highest_scores(scores, 2).tolist() == [[1, 2], [0, 1]]
    assert highest_scores(torch.zeros(5000), 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", ["fastv", "energy", "segment_topk"])
def test_ties_go_by_position(name: str) -> None:
    press = Registry().press_class(name)(ratio=0.5)
    assert isinstance(press, PruningPress)
    states = torch.ones(105, 4, dtype=torch.bfloat16)
    view = pruning_view(states, torch.zeros(105), 10)
    known = {
        "fastv": list(range(2, 12)),
        "segment_topk": list(range(2, 102, 10)),
        "energy": list(range(4, 54, 5)),
    }
    assert sorted(press.select(view).tolist()) == known[name]


@pytest.mark.parametrize("keep", [1, 2, 7, 40])
@pytest.mark.parametrize("length", [60, 700])
def test_divprune_is_the_released_greedy_rule(keep: int, length: int) -> None:
    """By the definition, with all distances: the first is the one whose nearest other is farthest."""
    states = torch.randn(length + 5, 16, generator=torch.Generator().manual_seed(3))
    press = Registry().press_class("divprune")(ratio=0.5)
    assert isinstance(press, PruningPress)
    unit = torch.nn.functional.normalize(states[2:-3], dim=-1)
    distance = 1 - unit @ unit.T
    chosen = [int(distance.topk(2, dim=0, largest=False).values[1].argmax())]
    while len(chosen) < keep:
        nearest = distance[chosen].min(dim=0).values
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    assert (press.select(pruning_view(states, None, keep)) - 2).tolist() == chosen


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("snapkv", {"kernel": 0}),
        ("snapkv", {"window": 0}),
        ("pyramidkv", {"kernel": 0}),
        ("pyramidkv", {"window": -1}),
        ("chunkkv", {"kernel": -3}),
        ("chunkkv", {"window": 0}),
        ("chunkkv", {"chunk": 0}),
        ("streaming_llm", {"sinks": -1}),
        ("expected_attention", {"sinks": -1}),
        ("expected_attention", {"future": 0}),
        ("segment_topk", {"segments": 0}),
        ("dart", {"audio_pivots": 0}),
        ("dart", {"text_pivots": -1}),
    ],
)
def test_impossible_settings_are_refused_when_the_press_is_built(name: str, settings: dict[str, int]) -> None:
    ((argument, value),) = settings.items()
    with pytest.raises(MarathonError, match=f"press={name}: {argument}={value}: must be at least"):
        Registry().press_class(name)(ratio=0.5, **settings)
