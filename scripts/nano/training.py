"""Trains the stages one after the other, with a checkpoint every five minutes from which training resumes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marathon_eval.models.qwen_omni import SYSTEM
from nano.bank import bank
from nano.batches import Questions
from nano.centring import centred
from nano.clips import Mixer
from nano.heard import Heard
from nano.losses import Learner
from nano.network import thinker
from nano.questions import LABELS, Asker
from nano.stages import Stage, answering, listening, reading, unheard
from nano.words import tokenizer

SAVE_SECONDS, TELL_STEPS = 300.0, 20


def words(seed: int) -> Any:
    """Return the tokenizer, learnt from a few thousand rendered prompts."""
    random, asker = np.random.default_rng([seed, 2]), Asker()
    texts = [SYSTEM] * 200
    for kind, labels in LABELS.items():
        for label in labels:
            for _ in range(100):
                request = asker.ask(random, kind, label).request
                texts.append(f"{request.system or ''}\n{request.prompt}\n")
    return tokenizer(texts)


def stages(folder: Path, seed: int, known: Any) -> list[Stage]:
    """Return the stages in order."""
    questions = Questions(known, SYSTEM, np.random.default_rng([seed, 3]), 150)

    @cache
    def mixer() -> Mixer:
        return Mixer(bank(folder, seed))

    @cache
    def heard(learner: Learner) -> Heard:
        tower = learner.thinker.get_encoder(modality="audio")
        return Heard(tower, mixer(), np.random.default_rng([seed, 4]))

    def listens(learner: Learner, random: np.random.Generator) -> Any:
        return listening(mixer())(learner, random)

    def centre(learner: Learner) -> None:
        centred(learner, mixer(), np.random.default_rng([seed, 5]))

    return [
        Stage("options", 220, 40, 2e-3, reading(questions, True, 64)),
        Stage("prompts", 150, 40, 1.5e-3, reading(questions, False, 48)),
        Stage("listening", 800, 40, 2e-3, listens, centre),
        Stage("answering", 140, 20, 7e-4, answering(questions, heard, 40.0)),
        Stage("marathon", 50, 10, 3e-4, answering(questions, heard, 150.0)),
        # the stages so far leave the language model behind what the encoder hears
        Stage("answering again", 300, 20, 7e-4, answering(questions, heard, 60.0)),
        Stage("marathon again", 120, 10, 3e-4, answering(questions, heard, 150.0)),
        # after these the letter was right but said again and again where a question has two options
        Stage("ending", 80, 10, 2e-4, answering(questions, heard, 90.0, ending=1.0)),
        # that went on for voices that were never heard: whether a turn ended hung on what was heard
        Stage("unheard sources", 100, 10, 1.5e-4, unheard(questions, heard, 90.0)),
    ]


def train(folder: Path, seed: int, tell: Callable[[str], None] = print) -> Learner:
    """Train all stages, starting from the folder's checkpoint."""
    known = words(seed)
    learner = Learner(thinker(known, seed), seed)
    file = folder / "training.pt"
    state: dict[str, Any] = {"stage": 0, "step": 0, "optimizer": None}
    if file.is_file():
        state = torch.load(file, weights_only=True)
        learner.load_state_dict(state["learner"])
        tell(f"resumed at stage {state['stage']}, step {state['step']}")
    for number, stage in enumerate(stages(folder, seed, known)):
        if number >= state["stage"]:
            _learn(learner, stage, number, state, seed, file, tell)
            stage.after(learner)
            state = {"stage": number + 1, "step": 0, "optimizer": None}
            _save(file, learner, state)
    return learner


def _learn(
    learner: Learner,
    stage: Stage,
    number: int,
    state: dict[str, Any],
    seed: int,
    file: Path,
    tell: Callable[[str], None],
) -> None:
    trained = _trained(learner, stage.name)
    optimizer = torch.optim.AdamW(trained, stage.rate, betas=(0.9, 0.98), weight_decay=0.02)
    if state["optimizer"] is not None:
        optimizer.load_state_dict(state["optimizer"])
    losses, rights, saved, began = [], [], time.monotonic(), time.monotonic()
    for step in range(state["step"], stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = stage.rate * _share(step, stage)
        told = stage.loss(learner, np.random.default_rng([seed, 10 + number, step]))
        optimizer.zero_grad()
        told.loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        losses.append(told.loss.item())
        rights.append(told.right)
        if (step + 1) % TELL_STEPS == 0:
            pace = (time.monotonic() - began) / len(losses)
            tell(
                f"{stage.name} {step + 1}/{stage.steps}: loss {np.mean(losses[-TELL_STEPS:]):.3f}, "
                f"right {np.mean(rights[-TELL_STEPS:]):.3f}, {pace:.2f} s a step"
            )
        if time.monotonic() - saved > SAVE_SECONDS:
            saved = time.monotonic()
            _save(file, learner, {"stage": number, "step": step + 1, "optimizer": optimizer.state_dict()})


def _trained(learner: Learner, name: str) -> list[torch.nn.Parameter]:
    """Return the parameters to train: the encoder's in its own stage only, the unused picture encoder's never."""
    own = "audio_tower" if name == "listening" else ""
    return [
        weight
        for key, weight in learner.named_parameters()
        if "visual" not in key and (own in key if own else "audio_tower" not in key)
    ]


def _share(step: int, stage: Stage) -> float:
    """Return the share of the highest learning rate: a linear rise, then a cosine down to a twentieth."""
    warm = min(1.0, (step + 1) / stage.warm)
    return warm * (0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * step / stage.steps))))


def _save(file: Path, learner: Learner, state: dict[str, Any]) -> None:
    """Save the state atomically."""
    unfinished = file.with_suffix(".part")
    torch.save({**state, "learner": learner.state_dict()}, unfinished)
    unfinished.replace(file)
