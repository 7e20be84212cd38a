"""Tests what Nemotron 3 Nano Omni is sent, its answers and its presses, on a tiny checkpoint in the released layout."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from helpers.press_reference import by_definition, generated, inputs_of, shortened
from helpers.tiny_model_cases import PRESSES, Bench, Benches, Clips, answers, asked, built
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.press import PruningPress
from marathon_eval.backends.hf.engine.first_projections import first_projections
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.errors import MarathonError
from marathon_eval.models.nemotron_h_omni import halved

NAME = "nemotron_h_omni"
CLOSE: Any = {"atol": 1e-4, "rtol": 0.0}


@pytest.fixture
def there(bench: Benches) -> Bench:
    return bench(NAME)


def pruning(name: str, **settings: Any) -> PruningPress:
    press = PRESSES[name](**settings)
    assert isinstance(press, PruningPress)
    return press


def edited(there: Bench, folder: Path, **changes: Any) -> Path:
    """Copy the checkpoint with other fields in its config.json; None takes a field away."""
    shutil.copytree(there.folder, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8")) | changes
    written = {name: value for name, value in config.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(written), encoding="utf-8")
    return folder


# -- the released layout ----------------------------------------------------------------------------------------------


def test_the_released_config_is_refused_by_transformers_and_loaded_here(there: Bench, tmp_path: Path) -> None:
    written = json.loads((there.folder / "config.json").read_text(encoding="utf-8"))
    assert written["sound_config"]["model_type"] == "parakeet"
    assert "llm_config" in written
    with pytest.raises(ValueError, match="parakeet"):
        transformers.NemotronH_Omni_Reasoning_V3.from_pretrained(there.folder)
    encoder = there.loaded.model.config.audio_config
    assert encoder.model_type == "parakeet_encoder"
    # the released weights were trained without either, and their config does not say so
    assert (encoder.attention_bias, encoder.scale_input) == (False, False)
    assert there.adapter().positions == 32768


def test_a_config_in_transformers_own_words_loads_too(there: Bench, tmp_path: Path) -> None:
    folder = edited(there, tmp_path / "saved")
    there.loaded.model.config.save_pretrained(folder)
    assert "audio_config" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    other = replace(there, folder=folder, loaded=load(built(there.case, folder)), known={})
    assert torch.equal(
        generated(other, inputs_of(other, 2.0)).logits, generated(there, inputs_of(there, 2.0)).logits
    )


def test_a_checkpoint_without_an_encoder_of_sound_is_refused(there: Bench, tmp_path: Path) -> None:
    folder = edited(there, tmp_path / "deaf", sound_config=None)
    with pytest.raises(MarathonError, match="config.json has no sound_config with num_mel_bins, so it hears"):
        load(built(there.case, folder))


# -- inputs -----------------------------------------------------------------------------------------------------------


def chat(there: Bench, clips: int = 1, **args: Any) -> str:
    return there.adapter(**args).chat(there.loaded, asked(Audio("unread.wav")), clips)


def test_a_line_break_stands_between_clip_and_question(there: Bench) -> None:
    assert chat(there) == (
        "<|im_start|>user\n<so_embedding>\nWhat is heard?<|im_end|>\n<|im_start|>assistant\n<think></think>"
    )
    assert "user\nWhat is heard?<so_embedding><|im_end|>" in chat(there, audio_first=False)
    assert "user\n<so_embedding>\n<so_embedding>\nWhat" in chat(there, clips=2)
    assert chat(there, system_prompt="Be brief.").startswith("<|im_start|>system\nBe brief.<|im_end|>\n")


@pytest.mark.parametrize(("frames", "tokens"), [(2, 1), (8, 1), (9, 2), (16, 2), (17, 3), (3001, 376)])
def test_eight_frames_begun_make_a_token(frames: int, tokens: int) -> None:
    assert halved(frames) == tokens


@pytest.mark.parametrize("seconds", [0.02, 0.57, 8.0, 8.005])
def test_the_encoder_makes_the_counted_tokens(there: Bench, seconds: float, clip: Clips) -> None:
    (response,) = answers(there.adapter(), [asked(clip(seconds))])
    assert response.error is None
    assert response.usage.audio_tokens == there.case.tokens(seconds)


def test_a_token_that_the_encoder_masks_is_silent(there: Bench) -> None:
    """8 s are 800 frames, of which 100 tokens are made; the model counts a frame more, and with it a token more."""
    adapter = there.adapter()
    silent = adapter.prepare(there.loaded, [asked(Audio("unread.wav"))], [[noise(8.0)]]).silent(0)
    assert silent is not None
    assert silent.tolist() == [False] * 100 + [True]


def test_no_token_depends_on_the_clips_beside_it(there: Bench) -> None:
    """Clips of 4 and 6 s end in a token that the encoder masks: a mean of all frames, so of the padding in a batch."""
    adapter, model = there.adapter(), there.loaded.model
    waves = [noise(seconds, number) for number, seconds in enumerate((4.0, 6.0, 2.5))]

    def encoded(*clips: Any) -> torch.Tensor:
        features = adapter.hear(there.loaded, clips).tensors
        heard: torch.Tensor = model.get_audio_features(**features).pooler_output
        return heard

    with torch.inference_mode():
        together, alone = encoded(*waves), [encoded(wave) for wave in waves]
        original = type(model.audio_tower).forward
        features = adapter.hear(there.loaded, waves[:1]).tensors
        official = original(model.audio_tower, features["input_features"], features["input_features_mask"])
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=0)
    torch.testing.assert_close(alone[0], model.embed_audio(official.last_hidden_state)[0], atol=0, rtol=0)


def test_a_clip_with_a_single_frame_is_an_error_row_and_its_batch_is_answered(
    there: Bench, clip: Clips
) -> None:
    requests = [asked(clip(0.015)), asked(clip(2.0))]
    short, whole = answers(there.adapter(batch_size=2), requests)
    assert short.error == "a clip of 0.015 s: nemotron_h_omni hears clips of 0.02 s and longer"
    assert whole.error is None


# -- presses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dart", "pool"])
def test_a_batch_under_a_press_equals_prompts_without_the_dropped_tokens(there: Bench, name: str) -> None:
    """The shorter prompt is padded on the left, before and after the cut."""
    press = pruning(name, ratio=0.5, layer=0)
    both = inputs_of(there, 6.0, 4.0)
    assert not both.tensors["attention_mask"].bool().all()
    together = generated(there, both, press)
    assert len(together.chosen) == 2
    for row, seconds in enumerate((6.0, 4.0)):
        one = inputs_of(there, seconds, first=row)
        done = generated(there, one, press, seeds=(11 + row,))
        by_rows = replace(done, tokens=together.tokens[row : row + 1])
        torch.testing.assert_close(together.logits[row], by_definition(there, one, by_rows, press), **CLOSE)


def test_the_definition_is_the_prompt_as_if_the_tokens_had_never_been(there: Bench) -> None:
    """Checked without a press: half of the audio tokens left out of the embeddings by hand."""
    inputs, model = inputs_of(there, 3.0), there.loaded.model
    ids, decoder = inputs.tensors["input_ids"], there.decoder
    audio = torch.isin(ids[0], torch.tensor(decoder.audio_token_ids))
    stays = audio.nonzero().squeeze(1)[::2]
    with torch.inference_mode():
        with shortened(there, audio, stays):
            found = model(**inputs.tensors, use_cache=False).logits[0, -1]
        heard = model.get_audio_features(
            inputs.tensors["input_features"], inputs.tensors["input_features_mask"]
        ).pooler_output
        embeddings = model.get_input_embeddings()(ids)[0]
        embeddings[audio] = heard
        left = embeddings[~audio | torch.isin(torch.arange(len(audio)), stays)]
        expected = model.language_model(inputs_embeds=left[None]).logits[0, -1]
    torch.testing.assert_close(found, expected, **CLOSE)
    assert (expected - generated(there, inputs).logits[0, 0]).abs().max() > 1e-3


@pytest.mark.parametrize("args", [{}, {"attn_implementation": "eager"}])
def test_only_layers_with_keys_are_in_the_cache_s_figures(
    there: Bench, clip: Clips, args: dict[str, Any]
) -> None:
    press = pruning("frame", ratio=0.75, layer=0)
    with_kernel = Bench(there.case, there.folder, load(built(there.case, there.folder, **args)))
    (plain,) = answers(with_kernel.adapter(**args), [asked(clip(8.01))])
    (pressed,) = answers(with_kernel.adapter(press, **args), [asked(clip(8.01))])
    assert plain.usage.input_tokens is not None
    # the last of 101 tokens stands for no sound, and leaves before all others
    left = plain.usage.input_tokens - 76
    assert (pressed.usage.audio_tokens, pressed.usage.kept_tokens) == (101, 25)
    # the attention layers are the third and the last of six
    assert plain.usage.details["kv_tokens"] == dict.fromkeys(("2-2", "5-5"), plain.usage.input_tokens)
    assert pressed.usage.details["kv_tokens"] == dict.fromkeys(("2-2", "5-5"), left)
    per_token = 2 * 2 * 2 * 8 * 4  # layers, keys and values, heads, size, bytes
    assert (plain.usage.kv_bytes, pressed.usage.kv_bytes) == (
        per_token * plain.usage.input_tokens,
        per_token * left,
    )
    assert "theoretical_speedup" not in pressed.usage.details, "no FLOP model knows Mamba layers and experts"


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_a_rounded_cache_is_refused(there: Bench, bits: int) -> None:
    with pytest.raises(MarathonError, match=rf"kv_bits={bits}: nemotron_h_omni has Mamba layers, which keep"):
        built(there.case, there.folder, kv_bits=bits)


def test_a_rule_that_reads_the_first_layer_s_weights_is_refused(there: Bench) -> None:
    press = pruning("speechprune", ratio=0.5, layer=0)
    with pytest.raises(
        MarathonError, match="press=speechprune: .* first layer is a Mamba layer, which has none"
    ):
        built(there.case, there.folder, press)
    with pytest.raises(MarathonError, match=r"first layer \(NemotronHBlock\) has no attention; presses that"):
        first_projections(there.decoder, press)


# -- answers ----------------------------------------------------------------------------------------------------------


def test_two_questions_on_a_clip_are_answered_as_each_alone(there: Bench, clip: Clips) -> None:
    first, second = asked(clip(3.0)), asked(clip(3.0), "And what else?")
    together = answers(there.adapter(), [first, second])
    alone = [answers(there.adapter(sharing=False), [each])[0] for each in (first, second)]
    assert [response.text for response in together] == [response.text for response in alone]
    assert [response.error for response in together] == [None, None]


def test_a_batch_of_three_is_three_batches_of_one(there: Bench, clip: Clips) -> None:
    requests = [asked(clip(3.0)), asked(clip(0.5), "Is it loud?"), asked(clip(5.3), "Who speaks, and where?")]
    for press in (None, pruning("dart", ratio=0.5, layer=0)):
        together = answers(there.adapter(press, batch_size=3), requests)
        alone = answers(there.adapter(press), requests)
        assert [response.usage.details["batch"] for response in together] == [3] * 3
        assert [response.text for response in together] == [response.text for response in alone]
        assert [r.usage.kept_tokens for r in together] == [r.usage.kept_tokens for r in alone]


@pytest.mark.parametrize("size", [1, 2])
def test_stored_outputs_of_the_encoder_give_the_same_answers(
    there: Bench, clip: Clips, tmp_path: Path, size: int
) -> None:
    requests = [asked(clip(4.0)), asked(clip(6.0), "Is it loud?"), asked(clip(4.0), "Who speaks?")]
    fresh = answers(there.adapter(batch_size=size), requests)
    for _ in range(2):
        stored = answers(there.adapter(batch_size=size, encoder_cache=str(tmp_path / "encoded")), requests)
        assert [response.text for response in stored] == [response.text for response in fresh]
    assert any((tmp_path / "encoded").rglob("*.*"))
