"""Transcribes with Whisper, a speech recogniser, by transformers: https://github.com/openai/whisper

It answers every request with the transcript of its audio, whatever the prompt; the prompt is still part of the cache
key. Long audio is cut into windows of at most 29.5 s, at the quietest moment of their last ten seconds. The windows
are decoded together, greedily and without the text before them, so that no window is skipped, no error carries over
and nothing is random. Sometimes Whisper ends its text before the window ends; unless the audio after its last
timestamp is quiet, that audio is then decoded as another window, as in the original's sequential algorithm.
Generation settings other than greedy decoding are refused; the number of tokens is limited per window.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from marathon_eval.api.model import ModelSettings, Request, Response, Usage
from marathon_eval.backends.english_only import refuse_languages
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.config_files import read_json
from marathon_eval.backends.hf.inputs import RATE, HFSettings, Inputs
from marathon_eval.backends.hf.weights import local_folder
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from marathon_eval.backends.hf.engine.loaded import Loaded

#: The seconds of a window between which it may be cut.
EARLIEST_CUT, LATEST_CUT = 20.0, 29.5
#: The seconds over which the loudness around a cut is measured, and the step in seconds between cuts that are tried.
QUIET_SECONDS, QUIET_STEP = 0.2, 0.01
#: Whisper's own limit of tokens per window; 30 s of fast speech take about 150 tokens.
WINDOW_TOKENS = 224
#: While a recording is decoded for longer than this, a line a minute says how many of its windows are done.
TOLD_EVERY_SECONDS = 60.0
#: The number of windows whose features are computed together.
FEATURES_AT_ONCE = 8
#: The token that precedes the timestamps in the vocabulary.
NO_TIMESTAMPS = "<|notimestamps|>"
#: The number of mel frames in one step of a timestamp, which is 20 ms.
FRAMES_PER_STAMP = 2
#: Audio after the last timestamp counts as silent if it is shorter than this many frames, or if its loudest frame is
#: this far below the window's loudest (in the features' unit, of which 0.25 is 10 dB).
SHORT_REST, QUIET_REST = 100, 0.75
#: A window that reaches the token limit is decoded again, with repeated n-grams of this length forbidden.
REPEAT_TOKENS = 6


class WhisperSettings(HFSettings):
    """Holds the arguments of every local model, and those of Whisper."""

    pretrained: str = "openai/whisper-large-v3"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    batch_size: int = Field(default=4, ge=1, description="windows decoded together")
    #: `language` and `task` apply to multilingual checkpoints; without a language, it is detected in each window.
    language: str | None = None
    task: Literal["transcribe", "translate"] = "transcribe"

    @field_validator("batch_size", "max_batch_tokens", mode="before")
    @classmethod
    def _in_windows(cls, value: Any, field: ValidationInfo) -> Any:
        if value == "auto" or field.field_name == "max_batch_tokens":
            raise PydanticCustomError(
                "windows",
                "whisper decodes windows of one length: set batch_size= to the number of windows decoded together",
            )
        return value


class Decoded(NamedTuple):
    """Holds a window's text, its tokens, whether it reached the token limit, and the frame where its text ends."""

    text: str
    tokens: int
    runaway: bool
    end: int | None


class Whisper(HFAudio):
    """Transcribes with any Whisper checkpoint in transformers' layout.

    - Chat: none; the prompt is ignored.
    - Audio: any length, in windows of up to 29.5 s; no audio tokens in a prompt.
    - Presses: none, because its decoder reads no audio tokens.
    - Source: https://github.com/openai/whisper
    """

    Settings: ClassVar[type[ModelSettings]] = WhisperSettings
    settings: WhisperSettings
    version: ClassVar[int] = 1
    weights_class = "WhisperForConditionalGeneration"

    def begin(self, loaded: Loaded) -> None:
        """Complete generation settings of older checkpoints, which do not name the token that precedes timestamps.

        Raises MarathonError for a tokenizer without that token, and for a language that the checkpoint does not know.
        """
        config, tokenizer = loaded.model.generation_config, loaded.tokenizer
        self._refuse_languages(bool(getattr(config, "is_multilingual", False)))
        if getattr(config, "no_timestamps_token_id", None) is not None:
            return
        token = tokenizer.convert_tokens_to_ids(NO_TIMESTAMPS)
        if token is None or token == tokenizer.unk_token_id:
            raise MarathonError(
                f"{self.flags.args}: pretrained={self.args.pretrained}: neither generation_config.json nor the tokenizer has "
                f"{NO_TIMESTAMPS}, so this checkpoint writes no timestamps, by which windows are continued"
            )
        config.no_timestamps_token_id = token

    def check(self) -> None:
        super().check()
        folder = local_folder(self.args.pretrained)
        file = None if folder is None else folder / "generation_config.json"
        if file is not None and file.is_file():
            self._refuse_languages(bool(read_json(file).get("is_multilingual", False)))

    def _refuse_languages(self, multilingual: bool) -> None:
        """Raise MarathonError for a language, or a translation, that an English-only checkpoint cannot give."""
        refuse_languages(
            multilingual, self.settings.language, self.settings.task, self.flags.args, self.args.pretrained
        )

    def requests_at_once(self) -> int:
        """Return 1: a batch is one request, and `batch_size` counts its windows."""
        return 1

    def prepare(
        self, loaded: Loaded, requests: Sequence[Request], waves: Sequence[Sequence[NDArray[np.float32]]]
    ) -> Inputs:
        """Build `input_features` [windows, mel, 3000] and their mask from the clips of the one request, in order."""
        (request,), (clips,) = requests, waves
        if not clips:
            raise RowError("whisper needs audio: this request has none")
        if request.generation.temperature > 0:
            raise RowError("whisper decodes greedily here: temperature must be 0")
        spans = [windows(clip) for clip in clips]
        parts = [clip[a:b] for clip, cuts in zip(clips, spans, strict=True) for a, b in cuts]
        features, mask = _features(loaded, parts)
        heard = sum(b - a for cuts in spans for a, b in cuts) / RATE
        return Inputs(
            tensors={"input_features": features, "attention_mask": mask},
            heard_seconds=[heard],
            audio_tokens=[0],
            details={"windows": len(parts)},
        )

    def answer(self, loaded: Loaded, requests: Sequence[Request], inputs: Inputs) -> list[Response]:
        """Return the transcript: the texts of the windows, joined by spaces."""
        started = time.perf_counter()
        size, count = self.settings.batch_size, len(inputs.tensors["input_features"])
        parts, told = [], started
        for first in range(0, count, size):
            parts += self._parts(loaded, inputs, slice(first, min(first + size, count)))
            if time.perf_counter() - told >= TOLD_EVERY_SECONDS:
                told = time.perf_counter()
                print(
                    f"marathon-eval: whisper: {len(parts)} of {count} windows of one recording",
                    file=sys.stderr,
                )
        decoded = [part for window in parts for part in window]
        runaway = sum(part.runaway for part in decoded)
        usage = Usage(
            heard_seconds=round(inputs.heard_seconds[0], 3),
            output_tokens=sum(part.tokens for part in decoded),
            details={
                **inputs.details,
                "resumed_windows": len(decoded) - count,
                "runaway_windows": runaway,
                "transcribe_s": round(time.perf_counter() - started, 3),
            },
        )
        text = " ".join(part.text for part in decoded if part.text)
        return [Response(text, finish_reason="length" if runaway else "stop", usage=usage)]

    def _parts(self, loaded: Loaded, inputs: Inputs, rows: slice) -> list[list[Decoded]]:
        """Decode each window, and then the audio after its last timestamp, until only silence is left."""
        features, mask = inputs.tensors["input_features"][rows], inputs.tensors["attention_mask"][rows]
        lengths = mask.sum(dim=1).tolist()
        parts: list[list[Decoded]] = [[] for _ in lengths]
        begins = dict.fromkeys(range(len(lengths)), 0)
        while begins:
            open_rows = list(begins)
            stretches = [features[row, :, begins[row] : lengths[row]] for row in open_rows]
            for row, part in zip(open_rows, self._decode(loaded, stretches), strict=True):
                parts[row].append(part)
                begin = begins.pop(row) + (part.end or 0)
                if part.end and not _is_silent(features[row, :, : lengths[row]], begin):
                    begins[row] = begin
        return parts

    def _decode(self, loaded: Loaded, stretches: Sequence[Tensor]) -> list[Decoded]:
        """Decode stretches [mel, n]; those that reach the token limit a second time, with repeats forbidden."""
        decoded = self._generate(loaded, stretches)
        for place, part in enumerate(decoded):
            if part.runaway:
                again = self._generate(loaded, [stretches[place]], no_repeat_ngram_size=REPEAT_TOKENS)
                decoded[place] = again[0]
        return decoded

    def _generate(self, loaded: Loaded, stretches: Sequence[Tensor], **more: Any) -> list[Decoded]:
        import torch
        from transformers import LogitsProcessorList

        from marathon_eval.backends.hf.engine.finite_logits import FinitePasses, broken_logits
        from marathon_eval.backends.hf.engine.load import quiet

        settings = self.settings.model_dump()
        if getattr(loaded.model.generation_config, "is_multilingual", False):
            more |= {"language": settings["language"], "task": settings["task"]}
        features, mask = _padded(stretches, loaded.features.nb_max_frames)
        # without quiet(), transformers warns at every call that this limit replaces the checkpoint's
        logits = FinitePasses(loaded.tokenizer.eos_token_id)
        with quiet(), torch.inference_mode():
            out = loaded.model.generate(
                features.to(loaded.device, loaded.model.dtype),
                attention_mask=mask.to(loaded.device),
                return_timestamps=True,
                do_sample=False,
                num_beams=1,
                max_new_tokens=WINDOW_TOKENS,
                logits_processor=LogitsProcessorList([logits]),
                **more,
            )
        texts = loaded.tokenizer.batch_decode(out, skip_special_tokens=True)
        lengths = (out != loaded.tokenizer.pad_token_id).sum(dim=1).tolist()
        if (broken := logits.broken_at()) is not None:
            raise RowError(broken_logits(broken))
        first = loaded.model.generation_config.no_timestamps_token_id + 1
        return [
            Decoded(
                text.strip(),
                length,
                length >= WINDOW_TOKENS,
                _left_off(row, first, loaded.tokenizer.eos_token_id),
            )
            for text, length, row in zip(texts, lengths, out.tolist(), strict=True)
        ]


def _features(loaded: Loaded, parts: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Compute the features [windows, mel, 3000] and their mask, a few windows at a time.

    The spectra of an hour take gigabytes, its features a tenth of that.
    """
    import torch

    made = [
        loaded.features(
            parts[first : first + FEATURES_AT_ONCE],
            sampling_rate=RATE,
            return_attention_mask=True,
            return_tensors="pt",
        )
        for first in range(0, len(parts), FEATURES_AT_ONCE)
    ]
    return torch.cat([out["input_features"] for out in made]), torch.cat(
        [out["attention_mask"] for out in made]
    )


def _left_off(tokens: Sequence[int], first_stamp: int, end: int) -> int | None:
    """Return the frame where the text ends before the audio; None if it ends with a single closing timestamp.

    Two timestamps at the end close one segment and open the next, whose text Whisper did not write.
    """
    written = [token for token in tokens if token != end]
    if len(written) < 2 or min(written[-2:]) < first_stamp:
        return None
    return (written[-1] - first_stamp) * FRAMES_PER_STAMP or None


def _padded(stretches: Sequence[Tensor], frames: int) -> tuple[Tensor, Tensor]:
    """Pad stretches [mel, n] with zeros to one batch [B, mel, frames]; return it with the mask [B, frames]."""
    import torch

    features = torch.zeros(len(stretches), stretches[0].shape[0], frames)
    mask = torch.zeros(len(stretches), frames, dtype=torch.long)
    for row, stretch in enumerate(stretches):
        features[row, :, : stretch.shape[1]] = stretch
        mask[row, : stretch.shape[1]] = 1
    return features, mask


def _is_silent(window: Tensor, begin: int) -> bool:
    """Return whether the features [mel, n] after frame `begin` are too short or too quiet to contain speech."""
    rest = window[:, begin:]
    return rest.shape[1] < SHORT_REST or float(rest.max()) < float(window.max()) - QUIET_REST


def windows(wave: NDArray[np.float32]) -> list[tuple[int, int]]:
    """Return first and one-past-last sample of each window; the windows cover the whole clip and do not overlap."""
    cuts, start = [], 0
    while len(wave) - start > LATEST_CUT * RATE:
        cut = start + quietest(wave[start : start + int(LATEST_CUT * RATE)])
        cuts.append((start, cut))
        start = cut
    return [*cuts, (start, len(wave))]


def quietest(wave: NDArray[np.float32]) -> int:
    """Return the sample in the middle of the quietest moment after EARLIEST_CUT."""
    import numpy as np

    first, span, step = int(EARLIEST_CUT * RATE), int(QUIET_SECONDS * RATE), int(QUIET_STEP * RATE)
    energy = np.concatenate([[0.0], np.cumsum(wave[first:].astype(np.float64) ** 2)])
    starts = np.arange(0, len(wave) - first - span + 1, step)
    return first + int(starts[np.argmin(energy[starts + span] - energy[starts])]) + span // 2
