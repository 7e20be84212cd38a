"""Transcribes with faster-whisper, Whisper by CTranslate2: https://github.com/SYSTRAN/faster-whisper (MIT).

This model needs the extra `faster_whisper`. It answers every request with the transcript of its audio, whatever the
prompt, by the library's own long-form loop: windows of 30 s, each of which begins where the last timestamp ends.
Library defaults that would make a response random or skip audio are switched off: sampling after a doubtful
window, text carried over from window to window, windows skipped as silent, and the voice activity detector. A
checkpoint in transformers' layout is converted once, and the copy is stored.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from marathon_eval.api.model import Model, ModelSettings, Request, Response, Usage
from marathon_eval.backends import ctranslate2
from marathon_eval.backends.english_only import refuse_languages
from marathon_eval.backends.hf import weights
from marathon_eval.backends.hf.same_weights import refuse_changed
from marathon_eval.errors import MarathonError, RowError, install_hint

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE = 16000
#: As for --model whisper: the token limit of one window, and the length of the repeated n-grams that are forbidden
#: when a clip that reached the limit is decoded again.
WINDOW_TOKENS, REPEAT_TOKENS = 224, 6
#: Seconds of the clip that may be missing: the last frame may contain less than 10 ms of it, or be absent.
SECONDS_SLACK = 0.05


def _own_gpu(device: str) -> int:
    """Return the GPU that torch uses in this process; CTranslate2 does not know it when processes share a run."""
    if device == "cpu" or "torch" not in sys.modules:
        return 0
    import torch

    return torch.cuda.current_device() if torch.cuda.is_available() else 0


class FasterWhisperSettings(ModelSettings):
    """Holds the arguments of `faster_whisper`."""

    #: A folder or a name on the hub, in CTranslate2's layout or in transformers'.
    pretrained: str = "Systran/faster-whisper-large-v3"
    revision: str | None = None
    compute_type: Literal["float32", "float16", "bfloat16", "int8", "int8_float32", "int8_float16"] = (
        "float32"
    )
    #: 1 is greedy decoding; the library's own default is 5.
    beam_size: int = Field(default=1, ge=1)
    #: `language` and `task` apply to multilingual checkpoints; without a language it is detected.
    language: str | None = None
    task: Literal["transcribe", "translate"] = "transcribe"
    device: str = "auto"
    threads: int = Field(default=0, ge=0, description="on a CPU; 0: OMP_NUM_THREADS, else 4")


class Heard:
    """Wraps faster-whisper's feature extractor and stores how many seconds its last features cover."""

    def __init__(self, extractor: Any) -> None:
        self.extractor = extractor
        self.seconds = 0.0

    def __call__(self, wave: NDArray[np.float32], **settings: Any) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self.extractor(wave, **settings)
        # the library itself treats the last frame as padding
        self.seconds = float((features.shape[-1] - 1) * self.extractor.time_per_frame)
        return features

    def __getattr__(self, name: str) -> Any:
        return getattr(self.extractor, name)


class Transcript(NamedTuple):
    """Holds a clip's text, its tokens, the number of windows that reached the token limit, and the seconds heard."""

    text: str
    tokens: int
    runaway: int
    heard: float


class FasterWhisper(Model):
    """Transcribes with any Whisper checkpoint, in CTranslate2's or transformers' layout.

    - Chat: none; the prompt is ignored.
    - Audio: any length, in windows of 30 s; no audio tokens in a prompt.
    - Presses: none.
    - Source: https://github.com/SYSTRAN/faster-whisper
    """

    Settings: ClassVar[type[ModelSettings]] = FasterWhisperSettings
    settings: FasterWhisperSettings
    version: ClassVar[int] = 1
    transport: ClassVar[frozenset[str]] = Model.transport | {"threads"}
    _model: Any = None

    def identity(self) -> dict[str, Any]:
        """Return the folder's hash or the hub's commit, and both libraries' releases. Raises MarathonError."""
        return self._identity

    @cached_property
    def _identity(self) -> dict[str, Any]:
        from importlib.metadata import version

        self._installed()
        releases = {
            library: ".".join(version(library).split(".")[:2])
            for library in ("faster-whisper", "ctranslate2")
        }
        folder = weights.local_folder(self.settings.pretrained, self.flags.args)
        if folder is None:
            commit = weights.hub_commit(self.settings.pretrained, self.settings.revision, self.flags.args)
            return {"revision": commit, **releases}
        if self.settings.revision is not None:
            raise MarathonError(
                f"{self.flags.args}: revision={self.settings.revision}: pretrained={folder} is a folder, "
                "and a folder has no revisions"
            )
        content = weights.folder_hash(folder, self.cache, self.flags.args)
        return {"pretrained": folder.resolve().name, "weights": content, **releases}

    def check(self) -> None:
        name, identity = self.settings.pretrained, self._identity
        if "weights" not in identity and not weights.snapshot(name, identity["revision"], None):
            weights.asked_commit(name, identity["revision"], self.flags.args)

    def _installed(self) -> None:
        if importlib.util.find_spec("faster_whisper") is None:
            raise MarathonError(
                f"{self.flags.model} {self.name()} needs faster-whisper: {install_hint('faster_whisper')}"
            )

    def folder(self) -> Path:
        """Return the folder that CTranslate2 reads, downloaded and converted if necessary. Raises MarathonError."""
        name, identity = self.settings.pretrained, self._identity
        folder = weights.local_folder(name) or weights.fetched(name, identity["revision"], None)
        known = identity.get("weights") or identity["revision"]
        return ctranslate2.for_ctranslate2(folder, known, lambda: refuse_changed(self))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        """Answer as `Model.generate` does. Raises MarathonError when the weights cannot be downloaded or loaded."""
        if self._model is None:
            self.check()
            loaded = self._loaded()
            refuse_changed(self)
            self._model = loaded
        for request in requests:
            try:
                yield request, self._answered(request)
            except RowError as error:
                yield request, Response.failed(str(error))

    def close(self) -> None:
        self._model = None

    def _loaded(self) -> Any:
        folder = self.folder()
        import faster_whisper

        device, _, number = self.settings.device.partition(":")
        try:
            model = faster_whisper.WhisperModel(
                str(folder),
                device=device,
                device_index=int(number) if number else _own_gpu(device),
                compute_type=self.settings.compute_type,
                cpu_threads=self.settings.threads,
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise MarathonError(
                f"{self.flags.args}: {self.name()}: pretrained={self.settings.pretrained}: {error}"
            ) from None
        settings = self.settings
        refuse_languages(
            model.model.is_multilingual,
            settings.language,
            settings.task,
            self.flags.args,
            settings.pretrained,
        )
        model.feature_extractor = Heard(model.feature_extractor)
        model.max_length = 2 * WINDOW_TOKENS  # CTranslate2 allows half of it for the text
        return model

    def _answered(self, request: Request) -> Response:
        if not request.audios:
            raise RowError(f"{self.name()} needs audio: this request has none")
        if request.generation.temperature > 0:
            raise RowError(f"{self.name()} decodes without chance here: temperature must be 0")
        started = time.perf_counter()
        transcripts = [self._transcribed(audio.samples(RATE)) for audio in request.audios]
        runaway = sum(transcript.runaway for transcript in transcripts)
        usage = Usage(
            heard_seconds=round(sum(transcript.heard for transcript in transcripts), 3),
            output_tokens=sum(transcript.tokens for transcript in transcripts),
            details={"runaway_windows": runaway, "transcribe_s": round(time.perf_counter() - started, 3)},
        )
        text = " ".join(transcript.text for transcript in transcripts if transcript.text)
        return Response(text, finish_reason="length" if runaway else "stop", usage=usage)

    def _transcribed(self, wave: NDArray[np.float32]) -> Transcript:
        """Transcribe a clip; a second time, with repeated n-grams forbidden, if a window reached the token limit."""
        transcript = self._decoded(wave)
        return (
            transcript if not transcript.runaway else self._decoded(wave, no_repeat_ngram_size=REPEAT_TOKENS)
        )

    def _decoded(self, wave: NDArray[np.float32], **more: Any) -> Transcript:
        """Decode a clip once. Raises RowError when the features cover less than the clip."""
        if self._model.model.is_multilingual:
            more |= {"language": self.settings.language, "task": self.settings.task}
        segments, _ = self._model.transcribe(
            wave,
            beam_size=self.settings.beam_size,
            temperature=0.0,
            condition_on_previous_text=False,
            no_speech_threshold=None,
            log_prob_threshold=None,
            compression_ratio_threshold=None,
            vad_filter=False,
            **more,
        )
        sent, heard = len(wave) / RATE, self._model.feature_extractor.seconds
        if heard < sent - SECONDS_SLACK:
            raise RowError(f"audio was cut: {sent:.2f} s were sent, the features cover {heard:.2f} s")
        # decoding happens here, window by window, up to the features' end
        decoded = list(segments)
        return Transcript(
            text=" ".join(segment.text.strip() for segment in decoded if segment.text.strip()),
            tokens=sum(len(segment.tokens) for segment in decoded),
            # a window without timestamps is one segment with all its tokens; after a timestamp, a new window begins
            runaway=sum(len(segment.tokens) >= WINDOW_TOKENS for segment in decoded),
            heard=min(sent, heard),
        )
