"""Tests the seconds that audio tokens stand for, and that tokens which stand for none leave before a press chooses."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from helpers.press_reference import after_eviction, generated
from helpers.tiny_model_cases import MODELS, TORCHVISION, Bench, Benches, answers
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.press import EvictionPress, Press, PruningPress, budget
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.masked_pass import chosen_by, masked_logits
from marathon_eval.backends.hf.engine.request_inputs import token_loudness
from marathon_eval.backends.hf.inputs import RATE, Inputs
from marathon_eval.backends.hf.token_times import at_rate, evenly, is_silent, joined
from marathon_eval.scoring.usage import sounding_tokens

CLOSE: Any = {"atol": 1e-4, "rtol": 0.0}


def press_of(name: str, **settings: Any) -> Press:
    return Registry().press_class(name)(**settings)


def inputs_of(there: Bench, *seconds: float, loud: tuple[float, float] | None = None) -> Inputs:
    """One prompt with clips of noise, quiet but for the seconds `loud` of the joined clips."""
    waves = [noise(length, number) * np.float32(0.1) for number, length in enumerate(seconds)]
    if loud is not None:
        sound = np.concatenate(waves)
        sound[int(loud[0] * RATE) : int(loud[1] * RATE)] *= 50
        waves = np.split(sound, np.cumsum([len(wave) for wave in waves])[:-1])
    request = Request("What is heard?", tuple(Audio(f"{number}.wav") for number in range(len(waves))))
    inputs = there.adapter().prepare(there.loaded, [request], [waves])
    assert inputs.token_times is not None
    heard = token_loudness(waves, inputs.audio_tokens[0], inputs.token_times[0])
    return replace(inputs, loudness=[heard])


@pytest.mark.parametrize("model", sorted(MODELS))
@pytest.mark.parametrize("seconds", [0.9, 3.37])
def test_every_adapter_s_tokens_stand_for_the_whole_clip_in_order(
    model: str, seconds: float, bench: Benches
) -> None:
    inputs = inputs_of(bench(model), seconds)
    assert inputs.token_times is not None
    (times,), (tokens,) = inputs.token_times, inputs.audio_tokens
    assert times.shape == (tokens, 2)
    sounding = times[~is_silent(times)]
    assert sounding[0, 0] == 0
    # less than a token's length may be left at the end, which no token was made of
    longest = (sounding[:, 1] - sounding[:, 0]).max()
    assert seconds - longest < sounding[-1, 1] <= seconds
    # without holes, and in the order of time
    assert (sounding[1:, 0] <= sounding[:-1, 1] + 1e-9).all()
    assert (np.diff(sounding, axis=0) >= 0).all()
    # silent tokens come after all sound
    assert is_silent(times)[len(sounding) :].all()


@pytest.mark.parametrize(
    ("model", "seconds", "sounding"),
    [("voxtral", (6.0,), [75]), ("voxtral", (31.0, 6.02), [388, 76])],
)
def test_padding_is_what_the_window_adds(
    model: str, seconds: tuple[float, ...], sounding: list[int], bench: Benches
) -> None:
    inputs = inputs_of(bench(model), *seconds)
    silent = inputs.silent(0)
    assert silent is not None
    windows = [375 * math.ceil(length / 30) for length in seconds]
    parts = np.split(silent, np.cumsum(windows)[:-1])
    for part, count in zip(parts, sounding, strict=True):
        assert not part[:count].any()
        assert part[count:].all()
    assert inputs.silent_record(0) == {"padding_tokens": sum(windows) - sum(sounding)}


@pytest.mark.parametrize("model", ["qwen_omni", "qwen3_omni", "granite_speech"])
def test_without_a_fixed_window_nothing_is_silent(model: str, bench: Benches) -> None:
    inputs = inputs_of(bench(model), 3.37)
    assert inputs.silent(0) is None
    assert inputs.silent_record(0) == {}


def test_a_token_of_qwen3_omni_reads_the_frames_that_it_stands_for(bench: Benches) -> None:
    """The 13th token of each second is made of its last four frames, the others of eight."""
    inputs = inputs_of(bench("qwen3_omni"), 2.5)
    assert inputs.token_times is not None
    times = inputs.token_times[0]
    np.testing.assert_allclose(times[:2], [[0, 0.08], [0.08, 0.16]])
    np.testing.assert_allclose(times[12:14], [[0.96, 1.0], [1.0, 1.08]])
    np.testing.assert_allclose(times[-1], [2.48, 2.5])


def test_a_window_of_granite_is_shared_by_its_tokens(bench: Benches) -> None:
    inputs = inputs_of(bench("granite_speech"), 0.5)
    assert inputs.token_times is not None
    np.testing.assert_allclose(inputs.token_times[0], [[0, 0.3]] * 3 + [[0.3, 0.5]] * 3)


def test_pieces_and_clips_follow_each_other() -> None:
    times = joined(
        [[at_rate(3, 1.0, 2.5), evenly(2, 0.1)], [at_rate(2, 1.0, 0.5)]],
        [[2.5, 0.1], [0.5]],
        [2.55, 0.5],  # the second piece of 0.05 s was padded to 0.1 s
    )
    expected = [[0, 1], [1, 2], [2, 2.5], [2.5, 2.55], [2.55, 2.55], [2.55, 3.05], [3.05, 3.05]]
    np.testing.assert_allclose(times, expected)


@pytest.mark.parametrize("seconds", [(6.0,), (6.0, 31.0)])
def test_energy_keeps_the_loud_second_where_a_window_is_padded(
    seconds: tuple[float, ...], bench: Benches
) -> None:
    """Divided evenly, the 375 tokens of the window would put the loud second into the silent ones."""
    there = bench("voxtral")
    at = 4.0 if len(seconds) == 1 else 30.0
    inputs = inputs_of(there, *seconds, loud=(at, at + 1))
    sounding = int((~is_silent(inputs.token_times[0])).sum())  # type: ignore[index]
    ratio = 1 - 12 / sounding
    press = press_of("energy", ratio=ratio, layer=1)
    with chosen_by(press) as choices:
        done = generated(there, inputs, press, silent=True)  # type: ignore[arg-type]
    assert done.kept is not None
    assert done.kept.kept == [budget(sounding, ratio)] == [12]
    ids = inputs.tensors["input_ids"][0]
    places = torch.isin(ids, torch.tensor(there.decoder.audio_token_ids)).nonzero().squeeze(1)
    kept = torch.searchsorted(places, choices.selected[0].sort().values)
    times = inputs.token_times[0][kept]  # type: ignore[index]
    assert (times[:, 0] >= at - 0.08).all()
    assert (times[:, 1] <= at + 1.08).all()


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        *(("dart", (4.0, 3.0)), ("frame", (6.0,)), ("truncate", (4.0, 3.0))),
        *(("snapkv", (6.0,)), ("keydiff", (4.0, 3.0)), ("expected_attention", (6.0,))),
    ],
)
def test_padding_leaves_first_and_counts_in_no_ratio(
    name: str, seconds: tuple[float, ...], bench: Benches
) -> None:
    """The answer is that of a pass in which all silent tokens and what the press removed are masked."""
    there, inputs = bench("voxtral"), inputs_of(bench("voxtral"), *seconds)
    silent = inputs.silent(0)
    assert silent is not None
    sounding, prompt = int((~silent).sum()), inputs.tensors["input_ids"].shape[1]
    pruning = issubclass(Registry().press_class(name), PruningPress)
    press = press_of(
        name, ratio=0.6, **({"layer": 1} if pruning else {"window": 16} if name == "snapkv" else {})
    )
    with chosen_by(press) as choices:
        if isinstance(press, EvictionPress):
            done = after_eviction(there, inputs, press, silent=True)
        else:
            done = generated(there, inputs, press, silent=True)  # type: ignore[arg-type]
    left = budget(sounding, 0.6)
    if pruning:
        assert done.kept is not None
        assert done.kept.kept == [left]
    else:
        assert done.cached == [done.length - len(silent) + left] * len(done.cached)
    ids = inputs.tensors["input_ids"][0]
    audio = torch.isin(ids, torch.tensor(there.decoder.audio_token_ids)).nonzero().squeeze(1)
    for candidates in choices.candidates:
        assert sorted(candidates.tolist()) == audio.tolist()
    for selected in choices.selected:
        assert torch.isin(selected, audio[torch.from_numpy(~silent)]).all()
    tokens = [*done.tokens[0].tolist(), 0][: done.logits.shape[1]]
    length = prompt if pruning else done.length
    expected = masked_logits(there.decoder, inputs.tensors, tokens, press, choices, length)
    torch.testing.assert_close(done.logits[0].float(), expected, **CLOSE)


@pytest.mark.parametrize("name", ["frame", "knorm"])
def test_at_ratio_zero_padding_stays(name: str, bench: Benches) -> None:
    there, inputs = bench("voxtral"), inputs_of(bench("voxtral"), 6.0)
    press, base = press_of(name, ratio=0.0), generated(there, inputs)
    if isinstance(press, EvictionPress):
        done = after_eviction(there, inputs, press, silent=True)
        assert done.cached == [done.length] * len(done.cached)
    else:
        done = generated(there, inputs, press, early_exit=False, silent=True)  # type: ignore[arg-type]
        assert done.cached == base.cached
    torch.testing.assert_close(done.logits, base.logits, **CLOSE)


@pytest.mark.parametrize("name", ["truncate", "random_kv"])
def test_usage_counts_padding_apart(name: str, bench: Benches, tmp_path: Any) -> None:
    import soundfile

    file = tmp_path / "clip.wav"
    soundfile.write(file, noise(6.0), RATE)
    request = Request("What is heard?", (Audio(str(file)),), Generation(max_new_tokens=2))
    there = bench("voxtral")
    (plain,), (pressed,) = (
        answers(there.adapter(press), [request]) for press in (None, press_of(name, ratio=0.6))
    )
    assert (plain.usage.audio_tokens, plain.usage.kept_tokens) == (375, 375)
    assert (pressed.usage.audio_tokens, pressed.usage.kept_tokens) == (375, 30)
    assert plain.usage.details["padding_tokens"] == pressed.usage.details["padding_tokens"] == 300
    assert sounding_tokens(asdict(plain.usage)) == (75, 75)
    assert sounding_tokens(asdict(pressed.usage)) == (75, 30)


def test_answers_under_a_press_are_told_from_those_that_counted_padding(bench: Benches) -> None:
    there = bench("voxtral")
    plain, pressed = there.adapter(), there.adapter(press_of("frame", ratio=0.5))
    assert plain.fingerprint["adapter_version"] == 1
    assert pressed.fingerprint["adapter_version"] == 2


if TORCHVISION:  # else the slow test below starts a process that has it

    @pytest.mark.parametrize("seconds", [0.9, 7.3, 30.0])
    def test_gemma_3n_pads_with_one_embedding(seconds: float, bench: Benches) -> None:
        """What the map calls silent is where the model writes the embedding of padding, and nowhere else."""
        there = bench("gemma3n")
        inputs = inputs_of(there, seconds)
        model, seen = there.loaded.model, []
        with torch.inference_mode():
            hook = there.decoder.stack.register_forward_pre_hook(
                lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"]), with_kwargs=True
            )
            model(**inputs.tensors)
            hook.remove()
        places = torch.isin(inputs.tensors["input_ids"][0], torch.tensor(there.decoder.audio_token_ids))
        embedded = seen[0][0][places]
        as_silent = (embedded == embedded[-1]).all(dim=1).numpy()
        silent = inputs.silent(0)
        if silent is None:
            assert not as_silent[:-1].any()
        else:
            assert (silent == as_silent).all()


@pytest.mark.slow
def test_gemma_3n_s_padding_is_told_beside_torchvision() -> None:
    if TORCHVISION:
        return  # all of it was collected here
    script = Path(__file__).resolve().parents[2] / "helpers" / "with_torchvision.py"
    command = [sys.executable, str(script), __file__, "-q", "-p", "no:xdist", "-k", "gemma and not beside"]
    out = subprocess.run(command, capture_output=True, text=True, check=False, cwd=script.parent.parent)
    assert out.returncode == 0, out.stdout[-4000:]
    assert "9 passed" in out.stdout
