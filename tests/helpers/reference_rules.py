"""Writes down every press's rule once more in a few lines, on whole tensors in double precision.

A pruning rule takes what `Pruned` holds, and an eviction rule what `Evicted` holds. Each returns the tokens that stay,
best first, as numbers among the audio tokens (`decode` rules: among all tokens).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

WINDOW, KERNEL, CHUNK, SINKS, FUTURE = 64, 5, 20, 4, 512


def best(scores: Tensor, count: int) -> Tensor:
    """Return the places of the `count` highest scores; of equal ones the first."""
    return scores.sort(dim=-1, descending=True, stable=True).indices[..., :count]


# -- pruning ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pruned:
    """Holds what a pruning rule may read: T tokens, L of them audio, in double precision."""

    audio: Tensor
    keep: int
    states: Tensor
    """[T, h]."""
    normed: Tensor
    """[T, h] after the final norm."""
    keys: Tensor
    """[key heads, T, d] of the layer before; at layer 0 the states, as one head."""
    attention: Tensor
    """[T] that the last token pays in the layer before, mean over heads."""
    loudness: Tensor
    seed: int


def noisy(seen: Any, seed: int, size: float) -> Any:
    """Return what a rule may read (Pruned or Evicted) with noise of a relative size on every number."""
    generator = torch.Generator().manual_seed(seed)
    changed = {}
    for part in fields(seen):
        value = getattr(seen, part.name)
        if isinstance(value, Tensor) and value.dtype == torch.float64:
            noise = torch.randn(value.shape, generator=generator, dtype=value.dtype)
            changed[part.name] = value * (1 + size * noise)
    return replace(seen, **changed)


def random(seen: Pruned) -> Tensor:
    return torch.randperm(len(seen.audio), generator=torch.Generator().manual_seed(seen.seed))[: seen.keep]


def jitter(seen: Pruned) -> Tensor:
    draws = torch.rand(seen.keep, generator=torch.Generator().manual_seed(seen.seed))
    edges = [number * len(seen.audio) // seen.keep for number in range(seen.keep + 1)]
    bins = zip(edges, edges[1:], draws, strict=False)
    return torch.tensor([first + int(draw * (last - first)) for first, last, draw in bins])


def frame(seen: Pruned) -> Tensor:
    return torch.tensor([number * len(seen.audio) // seen.keep for number in range(seen.keep)])


def truncate(seen: Pruned) -> Tensor:
    return torch.arange(seen.keep)


def energy(seen: Pruned) -> Tensor:
    return best(seen.loudness, seen.keep)


def fastv(seen: Pruned) -> Tensor:
    return best(seen.attention[seen.audio], seen.keep)


def segment_topk(seen: Pruned) -> Tensor:
    scores, parts, length, kept = seen.attention[seen.audio], min(10, seen.keep), len(seen.audio), []
    for part in range(parts):
        first, last = (edge * length // parts for edge in (part, part + 1))
        share = seen.keep * last // length - seen.keep * first // length
        kept.append(first + best(scores[first:last], share))
    return torch.cat(kept)


def dart(seen: Pruned) -> Tensor:
    norms = seen.keys.abs().sum(dim=(0, 2))
    pivots = best(norms[seen.audio], min(4, seen.keep)).tolist()
    after = int(seen.audio[-1]) + 1
    places = [int(seen.audio[pivot]) for pivot in pivots]
    places += (after + best(norms[after:], 4)).tolist()
    unit = torch.nn.functional.normalize(seen.normed, dim=-1)
    kept, share, more = list(pivots), *divmod(seen.keep - len(pivots), len(places))
    for number, place in enumerate(places):
        unlike = -(unit[seen.audio] @ unit[place])
        unlike[kept] = -torch.inf
        kept += best(unlike, share + (number < more)).tolist()
    return torch.tensor(kept)


def divprune(seen: Pruned) -> Tensor:
    unit = torch.nn.functional.normalize(seen.states[seen.audio].float(), dim=-1)
    nearest = torch.cat([part @ unit.T for part in unit.split(1000)]).fill_diagonal_(-1).max(dim=1).values
    kept, like = [int(nearest.argmin())], torch.full((len(unit),), -torch.inf)
    while len(kept) < seen.keep:
        like = torch.maximum(like, unit @ unit[kept[-1]])
        like[kept[-1]] = torch.inf
        kept.append(int(like.argmin()))
    return torch.tensor(kept)


def pool(seen: Pruned) -> Tensor:
    edges = [number * len(seen.audio) // seen.keep for number in range(seen.keep + 1)]
    return torch.tensor([(first + last - 1) // 2 for first, last in pairwise(edges)])


PRUNING: dict[str, Callable[[Pruned], Tensor]] = {
    rule.__name__: rule
    for rule in (random, jitter, frame, truncate, energy, fastv, segment_topk, dart, divprune, pool)
}


# -- eviction -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Evicted:
    """Holds what an eviction rule may read of one layer's cache: T tokens, L of them audio, in double precision."""

    audio: Tensor
    keep: int
    keys: Tensor
    """[key heads, T, d]."""
    values: Tensor
    queries: Tensor
    """[heads, T, d]."""
    unrotated: Tensor
    """[heads, T, d] before rotation."""
    turn: Tensor
    """[d, d] mean rotation of the 512 positions after the context."""
    received: Tensor | None
    """[key heads, T] attention received in sum, mean over a key head's query heads."""
    seed: int

    @property
    def length(self) -> int:
        return self.keys.shape[1]

    def attention(self, rows: int) -> Tensor:
        """Return the attention [heads, rows, T] of the last queries."""
        return attention(self.queries[:, self.length - rows :], self.keys)

    def by_key_head(self, scores: Tensor) -> Tensor:
        """Average scores [heads, ...] over the query heads of each key head."""
        return scores.unflatten(0, (len(self.keys), -1)).mean(dim=1)


def attention(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the attention [heads, q, T] of the last q queries, each to the keys up to its own place."""
    rows, length = queries.shape[1], keys.shape[1]
    grouped = queries.unflatten(0, (len(keys), -1))
    logits = (grouped @ keys[:, None].transpose(-1, -2)).flatten(0, 1) / queries.shape[-1] ** 0.5
    later = torch.arange(length) > torch.arange(length - rows, length)[:, None]
    return logits.masked_fill(later, -torch.inf).softmax(dim=-1)


def received(queries: Tensor, keys: Tensor) -> Tensor:
    """Return the attention [key heads, T] that keys receive in sum, mean over a key head's query heads."""
    found = torch.zeros(len(queries), keys.shape[1], dtype=queries.dtype)
    for end in range(500, queries.shape[1] + 500, 500):
        end = min(end, queries.shape[1])
        first = (end - 1) // 500 * 500
        found[:, :end] += attention(queries[:, first:end], keys[:, :end]).sum(dim=1)
    return found.unflatten(0, (len(keys), -1)).mean(dim=1)


def among_audio(seen: Evicted, scores: Tensor) -> Tensor:
    return best(scores.expand(len(seen.keys), -1)[:, seen.audio], seen.keep)


def random_kv(seen: Evicted) -> Tensor:
    return among_audio(seen, torch.rand(seen.length, generator=torch.Generator().manual_seed(seen.seed)))


def frame_kv(seen: Evicted) -> Tensor:
    places = [number * len(seen.audio) // seen.keep for number in range(seen.keep)]
    return torch.tensor(places).expand(len(seen.keys), -1)


def streaming_llm(seen: Evicted) -> Tensor:
    sinks, length = min(SINKS, seen.keep), len(seen.audio)
    places = [*range(sinks), *range(length - (seen.keep - sinks), length)]
    return torch.tensor(places).expand(len(seen.keys), -1)


def knorm(seen: Evicted) -> Tensor:
    return among_audio(seen, -seen.keys.norm(dim=-1))


def keydiff(seen: Evicted) -> Tensor:
    unit = torch.nn.functional.normalize(seen.keys, dim=-1)
    anchor = torch.nn.functional.normalize(unit.mean(dim=1, keepdim=True), dim=-1)
    return among_audio(seen, -(unit * anchor).sum(dim=-1))


def tova(seen: Evicted) -> Tensor:
    scores = seen.attention(1)[:, 0].mean(dim=0)
    scores[-1] = torch.inf
    return among_audio(seen, scores)


def h2o(seen: Evicted) -> Tensor:
    assert seen.received is not None
    scores, recent = seen.received.clone(), seen.keep // 2
    scores[:, seen.audio[len(seen.audio) - recent :]] = torch.inf
    return among_audio(seen, scores)


def snapkv_scores(seen: Evicted) -> Tensor:
    """Return SnapKV's scores [key heads, T]; the window's keys have a score of one more than the highest."""
    own = max(
        width
        for width in range(min(WINDOW, seen.length) + 1)
        if int((seen.audio >= seen.length - width).sum()) <= seen.keep // 2
    )
    before = seen.length - own
    scores = seen.attention(max(own, 1))[:, :, :before].mean(dim=1)
    reach = KERNEL // 2
    wide = torch.nn.functional.pad(scores, (reach, reach))
    pooled = seen.by_key_head(sum(wide[:, shift : shift + before] for shift in range(KERNEL)) / KERNEL)  # type: ignore[arg-type]  # a sum of tensors
    return torch.cat([pooled, (pooled.max() + 1).expand(len(pooled), own)], dim=1)


def snapkv(seen: Evicted) -> Tensor:
    return among_audio(seen, snapkv_scores(seen))


def chunkkv(seen: Evicted) -> Tensor:
    scores = snapkv_scores(seen).mean(dim=0)[seen.audio]
    chunks = list(torch.arange(len(scores)).split(CHUNK))
    means = torch.stack([scores[chunk].mean() for chunk in chunks])
    kept: list[int] = []
    for number in best(means, len(chunks)).tolist():
        left = min(seen.keep - len(kept), len(chunks[number]))
        kept += chunks[number][best(scores[chunks[number]], left)].tolist()
    return torch.tensor(kept).expand(len(seen.keys), -1)


def expected_attention(seen: Evicted) -> Tensor:
    groups, size = len(seen.queries) // len(seen.keys), seen.keys.shape[-1]
    scores = torch.full(seen.keys.shape[:2], torch.inf, dtype=seen.keys.dtype)
    for head in range(len(seen.keys)):
        keys, total = seen.keys[head, SINKS:], torch.zeros(())
        for queries in seen.unrotated[head * groups : (head + 1) * groups, SINKS:]:
            mean = seen.turn @ queries.mean(dim=0)
            covariance = seen.turn @ queries.T.cov(correction=0) @ seen.turn.T
            logits = keys @ mean / size**0.5 + ((keys @ covariance) * keys).sum(dim=1) / (2 * size)
            total = total + logits.softmax(dim=0)
        scores[head, SINKS:] = total / groups * seen.values[head, SINKS:].norm(dim=-1)
    return among_audio(seen, scores)


EVICTION: dict[str, Callable[[Evicted], Tensor]] = {
    "random_kv": random_kv,
    "frame_kv": frame_kv,
    "streaming_llm": streaming_llm,
    "knorm": knorm,
    "keydiff": keydiff,
    "tova": tova,
    "h2o": h2o,
    "snapkv": snapkv,
    "pyramidkv": snapkv,
    "chunkkv": chunkkv,
    "expected_attention": expected_attention,
}


def pyramid(mean: int, length: int, layers: int, beta: float = 20.0) -> list[float]:
    """Return PyramidKV's line of budgets: from 2 - 1/beta of the mean to 1/beta of it, flatter where keys run out."""
    last = max(mean / beta, 2 * mean - length, 1)
    first = 2 * mean - last
    return [first + (last - first) * layer / (layers - 1) for layer in range(layers)]


def tova_step(seen: Evicted) -> Tensor:
    return best(seen.attention(1)[:, 0].mean(dim=0), seen.keep).expand(len(seen.keys), -1)


def h2o_step(seen: Evicted) -> Tensor:
    assert seen.received is not None
    recent = seen.keep // 2
    scores = seen.received.clone()
    scores[:, seen.length - recent :] = torch.inf
    return best(scores, seen.keep)
