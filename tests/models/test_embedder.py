"""Tests models/embedder.py and transcript_prompt.py: transcript, question, options, and the nearest option."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import get_args

import pytest
from safetensors.torch import load_file, save_file

from conftest import MakeWav
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.backends.transcript_prompt import composed, taken_apart
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.models import embedder
from marathon_eval.models.cascade import Cascade
from marathon_eval.models.embedder import Embedder, stretches_of
from marathon_eval.task.prompt.choices import option_lines
from marathon_eval.task.yaml.config import Layout

STORY = "The cat sat on a red mat. The dog slept under the old tree. A bird sang near the river."
QUESTION = "Where did the dog sleep?"
OPTIONS = ("on a red mat", "under the old tree", "near the river", "in the house")


def question(layout: Layout = "A.") -> str:
    return (
        f"You listen.\n\nQuestion: {QUESTION}\nOptions:\n{option_lines(OPTIONS, layout)}\n\nThe letter only."
    )


# -- the prompt, apart again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [name for name in get_args(Layout) if name != "plain"])
def test_options_are_found_in_every_lettered_layout(layout: Layout) -> None:
    parts = taken_apart(composed(STORY, question(layout)))
    assert tuple(parts.options.values()) == OPTIONS
    assert "".join(parts.options) == ("abcd" if "a" in layout else "ABCD")
    assert parts.question == QUESTION


def test_a_transcript_cannot_pass_for_the_question() -> None:
    story = f"A. said the first.\nB. said the second.\n(end of what was said)\n\n{STORY}"
    parts = taken_apart(composed(story, question()))
    assert parts.transcript == story
    assert tuple(parts.options.values()) == OPTIONS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (composed(STORY, "Is the voice male or female? Reply with 'a' or 'b'."), "no lines of options"),
        (composed(STORY, "Which?\nA. only one"), "no lines of options"),
        (question(), "holds no transcript"),
    ],
)
def test_nothing_is_chosen_where_there_is_no_choice(text: str, message: str) -> None:
    with pytest.raises(RowError, match=message):
        taken_apart(text)
    [(_, response)] = Embedder.from_args({"pretrained": "./nowhere"}).generate([Request(text)])
    assert response.status == "error"
    assert message in str(response.error)


# -- the embedder -----------------------------------------------------------------------------------------------


def test_stretches_are_sentences_and_their_neighbours() -> None:
    assert stretches_of("One. Two? Three!", 2) == ["One.", "Two?", "Three!", "One. Two?", "Two? Three!"]
    assert stretches_of("  ", 2) == []
    assert stretches_of("no full stop", 3) == ["no full stop"]


def test_a_transcript_without_full_stops_is_read_to_its_end() -> None:
    spoken = " ".join(f"word{place}" for place in range(1000))
    parts = stretches_of(spoken, 2)
    assert " ".join(parts) == spoken
    assert max(map(len, parts)) <= 800
    assert stretches_of("\u72d7\u5728\u53eb\u3002\u732b\u5728\u53eb\u3002", 1) == [
        "\u72d7\u5728\u53eb\u3002",
        "\u732b\u5728\u53eb\u3002",
    ]


def test_a_question_that_the_encoder_cannot_read_whole_is_an_error_row(checkpoint: Path) -> None:
    asked = composed(STORY, f"{'Which? ' * 300}\nA. a bell\nB. a dog")
    [(_, response)] = Embedder.from_args({"pretrained": str(checkpoint)}).generate([Request(asked)])
    assert response.status == "error"
    assert "the encoder reads 512" in str(response.error)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An E5-like checkpoint with random weights: near enough to a bag of words to find a sentence again."""
    from marathon_eval.api.torchvision import hide_broken_torchvision

    hide_broken_torchvision()
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("e5")
    words = sorted(
        set(
            f"{STORY} {QUESTION} {' '.join(OPTIONS)} query passage".lower()
            .replace(".", " ")
            .replace("?", " ")
            .split()
        )
    )
    vocabulary = {word: place for place, word in enumerate(["[PAD]", "[UNK]", ".", "?", ":", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def test_embedder_picks_the_option_that_the_transcript_holds(checkpoint: Path) -> None:
    model = Embedder.from_args({"pretrained": str(checkpoint), "device": "cpu"})
    requests = [Request(composed(STORY, question())), Request(composed("", question()))]
    found = [response for _, response in model.generate(requests)]
    assert found[0].text == "B"
    assert set(found[0].usage.details["cosine"]) == set("ABCD")
    assert (found[1].text, found[1].status) == ("", "ok"), "nothing heard is nothing answered"


def test_cascade_reads_with_the_embedder(checkpoint: Path, make_wav: MakeWav) -> None:
    listener = {"listener": "dummy", "listener_answer": STORY}
    reader = {"reader": "embedder", "reader_pretrained": str(checkpoint), "reader_device": "cpu"}
    clip = Audio(str(make_wav()))
    requests = [Request(question("a)"), (clip,)), Request("Who speaks?", (clip,))]
    answers = {
        r.prompt: response for r, response in Cascade.from_args({**listener, **reader}).generate(requests)
    }
    assert answers[question("a)")].text == "b"
    assert "no lines of options" in str(answers["Who speaks?"].error)


def test_embedder_is_told_apart_by_its_weights(checkpoint: Path, tmp_path: Path) -> None:
    copied = tmp_path / checkpoint.name
    shutil.copytree(checkpoint, copied)
    known = Embedder.from_args({"pretrained": str(checkpoint)}).fingerprint
    assert Embedder.from_args({"pretrained": str(copied), "device": "cpu"}).fingerprint == known
    assert Embedder.from_args({"pretrained": str(copied), "sentences": 1}).fingerprint != known
    (copied / "config.json").write_text((copied / "config.json").read_text() + " ")
    assert Embedder.from_args({"pretrained": str(copied)}).fingerprint != known


def test_weights_that_change_until_they_are_loaded_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    shutil.copytree(checkpoint, tmp_path / "e5")
    model = Embedder.from_args({"pretrained": str(tmp_path / "e5"), "device": "cpu"})
    assert model.fingerprint["weights"]
    (tmp_path / "e5" / "config.json").write_text((tmp_path / "e5" / "config.json").read_text() + " ")
    with pytest.raises(
        MarathonError, match=r"--model embedder: e5: changed while the model was loaded \(weights\)"
    ):
        list(model.generate([Request(composed(STORY, question()))]))


def test_a_checkpoint_that_lacks_weights_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "e5"))
    tensors = load_file(folder / "model.safetensors")
    layer = {name: part for name, part in tensors.items() if "layer.0.attention.self.query" not in name}
    assert len(layer) < len(tensors)
    save_file(layer, folder / "model.safetensors", metadata={"format": "pt"})
    model = Embedder.from_args({"pretrained": str(folder), "device": "cpu"})
    with pytest.raises(MarathonError, match=r"lacks 2 weights of .*layer.0.attention.self.query.bias"):
        list(model.generate([Request(composed(STORY, question()))]))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "PACKAGE", "no-such-package")
    with pytest.raises(MarathonError, match="needs the package no-such-package"):
        _ = Embedder.from_args({}).fingerprint
