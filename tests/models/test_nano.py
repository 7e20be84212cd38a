"""Tests the demonstration model: what ships, and that its training computes what the engine computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]

from helpers.tiny_press_run import Tiny
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.mel import mel_frames
from marathon_eval.models.qwen_omni import SYSTEM
from nano import mels, pieces, training
from nano.batches import Questions, batch
from nano.command import SEED
from nano.losses import Learner
from nano.network import encoded, read, thinker
from nano.questions import LABELS
from nano.stages import Stage, reading, strange

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def nano() -> Tiny:
    folder = weights.local_folder("nano")
    assert folder is not None
    return Tiny.load(folder)


def test_it_is_small_and_holds_no_pickle(nano: Tiny) -> None:
    files = sorted((weights.SHIPPED / "nano").iterdir())
    assert sum(parameter.numel() for parameter in nano.loaded.model.parameters()) <= 5_500_000
    assert sum(file.stat().st_size for file in files) <= 12 * MEGABYTE
    assert {file.suffix for file in files} == {".json", ".jinja", ".safetensors"}


def test_a_folder_of_the_same_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert weights.local_folder("nano") == weights.SHIPPED / "nano"
    (tmp_path / "nano").mkdir()
    monkeypatch.chdir(tmp_path)
    assert weights.local_folder("nano") == Path("nano")


def test_it_is_trained_on_the_features_that_it_is_given(nano: Tiny) -> None:
    wave = pieces.music(np.random.default_rng(0), "jazz", 4.0)
    given, trained = mel_frames(nano.loaded.features, wave), mels.features(mels.log_mel(wave))
    assert given.shape == trained.shape
    # the last frames look past the end, where training clips go on; powers were kept in half precision
    np.testing.assert_allclose(trained[:, 3:-3], given[:, 3:-3], atol=2e-3)


def test_mixed_powers_are_the_powers_of_the_mix() -> None:
    random = np.random.default_rng(0)
    bed, sound = pieces.room(random, 2.0), pieces.event(random, "Cat")
    mixed = bed.copy()
    mixed[: len(sound)] += sound
    laid = mels.log_mel(bed).astype(np.float32)
    mels.overlaid(laid, mels.log_mel(sound), 0)
    assert np.abs(laid - mels.log_mel(mixed)).mean() < 0.1


def test_windows_in_a_batch_are_encoded_as_one_by_one(nano: Tiny) -> None:
    tower = nano.loaded.model.get_encoder(modality="audio")
    mel = torch.randn(mels.BINS, 3 * mels.PER_CHUNK, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        alone = tower(mel, feature_lens=torch.tensor([mel.shape[1]])).last_hidden_state
        together = encoded(tower, mel.unflatten(1, (3, mels.PER_CHUNK)).transpose(0, 1)).flatten(0, 1)
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)


def test_no_test_voice_is_trained_on() -> None:
    heard = {name for names in pieces.VOICES["train"].values() for name in names}
    assert not heard & {name for names in pieces.VOICES["test"].values() for name in names}
    random = np.random.default_rng(0)
    said = {part: {pieces.sentence(random, part)[:12] for _ in range(300)} for part in ("train", "test")}
    assert not said["train"] & said["test"]


class Stopped(Exception):
    """Training was interrupted."""


def test_training_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = training.words(0)
    questions = Questions(known, "Listen.", np.random.default_rng(0), 2)
    stages = [Stage("options", 4, 2, 1e-3, reading(questions, True, 4))]
    monkeypatch.setattr(training, "words", lambda seed: known)
    monkeypatch.setattr(training, "stages", lambda folder, seed, known: stages)
    monkeypatch.setattr(training, "SAVE_SECONDS", -1.0)
    monkeypatch.setattr(training, "TELL_STEPS", 3)
    for folder in ("whole", "stopped"):
        (tmp_path / folder).mkdir()
    whole = training.train(tmp_path / "whole", 0, lambda line: None)

    def stop(line: str) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        training.train(tmp_path / "stopped", 0, stop)
    resumed = training.train(tmp_path / "stopped", 0, lambda line: None)
    fresh = Learner(thinker(known, 0), 0)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, msg=name)
    assert not torch.equal(fresh.thinker.lm_head.weight, whole.thinker.lm_head.weight)


def test_a_turn_ends_after_its_letter_whatever_is_heard(nano: Tiny) -> None:
    model, random = nano.loaded.model, np.random.default_rng(0)
    questions = Questions(nano.loaded.tokenizer, SYSTEM, random, 1)
    learner = Learner(model, SEED)
    asked = [questions.draw(random, kind, labels[0]) for kind, labels in LABELS.items() for _ in range(4)]
    made = batch(questions, random, asked, [100] * len(asked))
    silence = torch.zeros(100, learner.classes.shape[1])
    audio = torch.cat([strange(learner, random, silence) for _ in asked])
    embedded = model.get_input_embeddings()(made.ids).masked_scatter(made.is_audio[..., None], audio)
    with torch.no_grad():
        seen = read(model.get_decoder(), embedded, made.positions, None).last
        said = model.lm_head(seen[torch.arange(len(asked)), made.answer_at + 1]).argmax(-1)
    assert (said == questions.ends_turn).all()
