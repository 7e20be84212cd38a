"""Tests what must hold for every press in the folder, on a tiny real model."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from helpers import tiny_checkpoints
from helpers.tiny_press_run import CutAt, Run, Tiny, recomputed
from marathon_eval.api.press import PruningPress, PruningView, budget, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.inputs import Inputs
from marathon_eval.errors import MarathonError, RowError

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(path.stem for path in (ROOT / "presses").glob("*.py") if path.stem != "__init__")
PRUNING = [name for name in NAMES if issubclass(Registry().press_class(name), PruningPress)]
#: The layers of those that work at one alone.
FIXED = {
    name: layer
    for name in PRUNING
    if (layer := Registry().press_class(name).only_layer) is not None  # type: ignore[attr-defined]  # pruning
}
#: Those that can cut before any layer has paid attention, and those that can cut more than once.
AT_ZERO = [n for n in PRUNING if not Registry().press_class(n).needs_attention]  # type: ignore[attr-defined]  # pruning
STAGED = [name for name in PRUNING if name != "pool" and name not in FIXED]
CLOSE: Any = {"atol": 1e-5, "rtol": 0.0}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def sdpa(checkpoint: Path) -> Tiny:
    return Tiny.load(checkpoint)


@pytest.fixture(scope="module", params=["sdpa", "eager"])
def model(request: pytest.FixtureRequest, checkpoint: Path, sdpa: Tiny) -> Tiny:
    return sdpa if request.param == "sdpa" else Tiny.load(checkpoint, request.param)


#: Each test with `chosen` asks for all of them.
class_of = cache(Registry().press_class)


def pruning_press(name: str, **settings: Any) -> PruningPress:
    press = class_of(name)(**settings)
    assert isinstance(press, PruningPress)
    return press


class Choices(list[torch.Tensor]):
    """What presses chose, in order, and what they were shown."""

    def __init__(self) -> None:
        super().__init__()
        self.views: list[PruningView] = []


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Choices:
    """What the presses choose while the test runs, in order."""
    seen = Choices()

    def recording(press_class: type[PruningPress]) -> None:
        original = press_class.select

        def select(self: PruningPress, view: PruningView) -> torch.LongTensor:
            answer = original(self, view)
            seen.append(answer)
            seen.views.append(view)
            return answer

        monkeypatch.setattr(press_class, "select", select)

    for name in PRUNING:
        recording(type(pruning_press(name, ratio=0.5)))
    return seen


def test_the_four_of_the_first_wave_are_there() -> None:
    assert {"random", "frame", "fastv", "dart"} <= set(PRUNING)


@pytest.mark.parametrize("name", PRUNING)
@pytest.mark.parametrize("early_exit", [True, False], ids=["early exit", "all machinery"])
def test_ratio_zero_changes_no_bit(model: Tiny, name: str, early_exit: bool) -> None:
    for seconds in ((10.0,), (10.0, 6.0)):
        base = model.plain(*seconds)
        pressed = model.run(model.inputs(*seconds), pruning_press(name, ratio=0), early_exit)
        assert torch.equal(base.logits, pressed.logits)
        assert base.cached == pressed.cached


@pytest.mark.parametrize("name", PRUNING)
def test_decoding_equals_a_recompute_without_cache(model: Tiny, name: str, chosen: Choices) -> None:
    inputs = model.inputs(12.0, 7.5)
    layer = FIXED.get(name, 2)
    press = pruning_press(name, ratio=0.5, layer=layer)
    run = model.run(inputs, press)
    assert len(chosen) == 2
    base = model.plain(12.0, 7.5)
    for row, kept in enumerate(list(chosen)):
        merged = press.merged(chosen.views[row], cast("torch.LongTensor", kept))
        expected = recomputed(model, inputs, run.sequences, row, [CutAt(layer, kept, merged)])
        torch.testing.assert_close(run.logits[row], expected, **CLOSE)
        whole = recomputed(model, inputs, base.sequences, row)
        torch.testing.assert_close(base.logits[row], whole, **CLOSE)
    assert (run.logits[:, 0] - base.logits[:, 0]).abs().max() > 1e-3, (
        "dropping half of the audio changed nothing"
    )


@pytest.mark.parametrize("name", AT_ZERO)
def test_a_cut_before_the_first_layer_is_right_too(model: Tiny, name: str, chosen: Choices) -> None:
    inputs = model.inputs(12.0, 7.5)
    zero = model.run(inputs, pruning_press(name, ratio=0, layer=0), early_exit=False)
    assert torch.equal(zero.logits, model.plain(12.0, 7.5).logits)
    chosen.clear()
    chosen.views.clear()
    press = pruning_press(name, ratio=0.5, layer=0)
    run = model.run(inputs, press)
    for row, kept in enumerate(list(chosen)):
        merged = press.merged(chosen.views[row], cast("torch.LongTensor", kept))
        expected = recomputed(model, inputs, run.sequences, row, [CutAt(0, kept, merged)])
        torch.testing.assert_close(run.logits[row], expected, **CLOSE)
    assert len(set(run.cached)) == 1


@pytest.mark.parametrize("name", STAGED)
@pytest.mark.parametrize(("layer", "ratio"), [("1+3", "0.3+0.7"), ("2+3", "0+0.9"), ("1+2+3", "0.2+0.5+0.8")])
def test_each_stage_is_right(model: Tiny, name: str, layer: str, ratio: str, chosen: Choices) -> None:
    press = staged(name, layer, ratio)
    inputs = model.inputs(9.0, 5.5)
    run = model.run(inputs, press)
    assert run.kept is not None
    for row, audio in enumerate(inputs.audio_tokens):
        mine = list(chosen)[row :: len(inputs.audio_tokens)]
        assert [len(kept) for kept in mine] == [budget(audio, gone) for _, gone in press.cuts]
        cuts = [CutAt(at, kept) for (at, _), kept in zip(press.cuts, mine, strict=True)]
        expected = recomputed(model, inputs, run.sequences, row, cuts)
        torch.testing.assert_close(run.logits[row], expected, **CLOSE)
        prompt = int(inputs.tensors["attention_mask"][row].sum())
        expected_tokens = [prompt] * press.cuts[0][0]
        for at, gone in press.cuts:
            expected_tokens[at:] = [prompt - audio + budget(audio, gone)] * (tiny_checkpoints.LAYERS - at)
        assert run.kept.tokens(row, prompt, tiny_checkpoints.LAYERS) == expected_tokens


def staged(name: str, layer: str, ratio: str) -> PruningPress:
    press = press_from_args(class_of(name), {"layer": layer, "ratio": ratio})
    assert isinstance(press, PruningPress)
    return press


@pytest.mark.parametrize("name", STAGED)
def test_stages_in_a_batch_are_stages_alone(model: Tiny, name: str) -> None:
    press, both = staged(name, "1+3", "0.4+0.8"), model.inputs(9.0, 5.0)
    together = model.run(both, press, seeds=(5, 6))
    for row in range(2):
        alone = model.run(only(both, row), press, seeds=(5 + row,))
        torch.testing.assert_close(together.logits[row], alone.logits[0], **CLOSE)


@pytest.mark.parametrize("name", ["random", "frame", "fastv", "dart"])
@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5, 0.9])
def test_the_released_rules_prune_markers_too(model: Tiny, name: str, ratio: float, chosen: Choices) -> None:
    press, inputs = pruning_press(name, ratio=ratio, compat="audiomarathon"), model.inputs(9.0, 5.5)
    run = model.run(inputs, press)
    for row, audio in enumerate(inputs.audio_tokens):
        span, kept = chosen.views[row].audio, chosen[row]
        assert len(span) == audio + 2, "the audio, its begin and its end"
        share = int(len(span) * (1 - ratio))
        assert len(kept) == (4 + 8 * (share // 8) if name == "dart" and ratio else share)
        expected = recomputed(model, inputs, run.sequences, row, [CutAt(2, kept)], markers=1)
        torch.testing.assert_close(run.logits[row], expected, **CLOSE)


@pytest.mark.parametrize("name", PRUNING)
@pytest.mark.parametrize("layer", [0, 1, 3])
def test_a_batch_of_two_is_two_batches_of_one(model: Tiny, name: str, layer: int) -> None:
    if layer != FIXED.get(name, layer):
        with pytest.raises(
            MarathonError, match=f"layer={layer}: must be {FIXED[name]}, the one layer at which"
        ):
            pruning_press(name, ratio=0.7, layer=layer)
        return
    if layer == 0 and name not in AT_ZERO:
        with pytest.raises(MarathonError, match="must be at least 1, for the rule reads the attention"):
            pruning_press(name, ratio=0.7, layer=0)
        return
    press = pruning_press(name, ratio=0.7, layer=layer)
    both = model.inputs(9.0, 5.0)
    together = model.run(both, press, seeds=(5, 6))
    for row in range(2):
        alone = model.run(only(both, row), press, seeds=(5 + row,))
        torch.testing.assert_close(together.logits[row], alone.logits[0], **CLOSE)
        assert kept_counts(together, row) == kept_counts(alone, 0)


def only(both: Inputs, row: int) -> Inputs:
    """One sample of a batch as a batch of its own, padding cut away."""
    start = int((both.tensors["attention_mask"][row] == 0).sum())
    frames = int(both.tensors["feature_attention_mask"][row].sum())
    cut = {
        "input_ids": both.tensors["input_ids"][row : row + 1, start:],
        "attention_mask": both.tensors["attention_mask"][row : row + 1, start:],
        "input_features": both.tensors["input_features"][row : row + 1, :, :frames],
        "feature_attention_mask": both.tensors["feature_attention_mask"][row : row + 1, :frames],
    }
    heard = None if both.loudness is None else [both.loudness[row]]
    facts = None if both.facts is None else [both.facts[row]]
    return Inputs(cut, [both.heard_seconds[row]], [both.audio_tokens[row]], heard, facts=facts)


def kept_counts(run: Run, row: int) -> tuple[int, int, int]:
    assert run.kept is not None
    return run.kept.audio[row], run.kept.kept[row], run.kept.prompt[row]


@pytest.mark.parametrize("name", PRUNING)
@pytest.mark.parametrize("ratio", [0.1, 0.3, 0.5, 0.9, 0.99])
def test_the_budget_is_exact(sdpa: Tiny, name: str, ratio: float) -> None:
    for seconds in (0.2, 3.33, 10.0):
        inputs = sdpa.inputs(seconds)
        audio = inputs.audio_tokens[0]
        layer = FIXED.get(name, 2)
        run = sdpa.run(inputs, pruning_press(name, ratio=ratio, layer=layer))
        prompt = inputs.tensors["input_ids"].shape[1]
        expected = budget(audio, ratio)
        assert kept_counts(run, 0) == (audio, expected, prompt - audio + expected)
        answered = run.logits.shape[1] - 1
        rest = [prompt - audio + expected + answered] * (tiny_checkpoints.LAYERS - layer)
        assert run.cached == [prompt + answered] * layer + rest


@pytest.mark.parametrize("name", PRUNING)
def test_nothing_stays_behind_after_an_exception(
    model: Tiny, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks, kernels = model.hooks(), dict(ALL_ATTENTION_FUNCTIONS)
    inputs = model.inputs(4.0)
    before = model.run(inputs)
    press = pruning_press(name, ratio=0.5)
    with monkeypatch.context() as patch:
        patch.setattr(type(press), "select", lambda self, view: 1 / 0)
        with pytest.raises(RowError, match="ZeroDivisionError: division by zero"):
            model.run(inputs, press)
    assert model.hooks() == hooks
    assert dict(ALL_ATTENTION_FUNCTIONS) == kernels
    assert torch.equal(model.run(inputs).logits, before.logits)


@pytest.mark.parametrize("name", PRUNING)
def test_two_samples_in_a_row_are_each_alone(model: Tiny, name: str) -> None:
    from marathon_eval.backends.hf.engine.pruning import Pruning

    press = pruning_press(name, ratio=0.6)
    first, second = model.inputs(8.0), model.inputs(3.0)
    alone = [model.run(first, press).logits, model.run(second, press).logits]
    if press.needs_loudness or press.needs_question:
        # handed over per batch: here the second sample must not see the first one's facts, nor the other way round
        in_a_row = [model.run(inputs, press).logits for inputs in (first, second, first)]
        assert torch.equal(in_a_row[0], in_a_row[2])
        assert all(torch.equal(one, other) for one, other in zip(alone, in_a_row[:2], strict=True))
        return
    with Pruning(model.decoder, press, (11,)):
        in_a_row = [model.run(first).logits, model.run(second).logits]
    for one, other in zip(alone, in_a_row, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", PRUNING)
def test_the_choice_depends_on_nothing_but_the_view(sdpa: Tiny, name: str, chosen: Choices) -> None:
    inputs = sdpa.inputs(6.0)
    for seed in (1, 1, 2):
        torch.manual_seed(len(chosen))
        sdpa.run(inputs, pruning_press(name, ratio=0.5), seeds=(seed,))
    first, again, other = (set(choice.tolist()) for choice in chosen)
    assert first == again
    assert (first == other) == (name not in ("random", "jitter"))


def test_fastv_sees_the_same_attention_under_every_kernel(checkpoint: Path, chosen: Choices) -> None:
    press = pruning_press("fastv", ratio=0.8)
    for kernel in ("sdpa", "eager"):
        model = Tiny.load(checkpoint, kernel)
        model.run(model.inputs(8.0, 5.0), press)
    sdpa, eager = chosen[:2], chosen[2:]
    for one, other in zip(sdpa, eager, strict=True):
        assert set(one.tolist()) == set(other.tolist())


def test_dart_spreads_what_does_not_divide() -> None:
    from marathon_eval.presses.dart import _shares

    assert _shares(7, 3) == [3, 2, 2]
    assert _shares(0, 4) == [0, 0, 0, 0]


def test_frame_keeps_even_spacing() -> None:
    view = PruningView(
        hidden=torch.zeros(30, 4),
        norm=lambda states: states,
        keys=torch.zeros(1, 30, 4),
        attention=None,
        audio=torch.arange(10, 20),  # type: ignore[arg-type]  # torch's stubs: a Tensor
        keep=4,
        generator=torch.Generator(),
    )
    assert pruning_press("frame", ratio=0.6).select(view).tolist() == [10, 12, 15, 17]
