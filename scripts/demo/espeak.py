"""Speaks one utterance: `python -m demo.espeak LIBRARY DATA_FOLDER` with the utterance as JSON on standard input.

Writes the sample rate as an ASCII line, then 16-bit mono samples. A process of its own, because eSpeak NG keeps
state from one utterance to the next, and a clip must not depend on which clips were made before it.
Interface: `speak_lib.h` of eSpeak NG 1.50 to 1.52 (https://github.com/espeak-ng/espeak-ng).
"""

from __future__ import annotations

import ctypes
import json
import sys
from typing import Any

SYNCHRONOUS = 2  # samples arrive inside espeak_Synth, no audio device is opened
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4
CHARACTERS, UTF8 = 1, 1


def main(library: str, data: str) -> None:
    utterance: dict[str, Any] = json.load(sys.stdin)
    espeak = ctypes.CDLL(library)
    rate = espeak.espeak_Initialize(SYNCHRONOUS, 0, data.encode(), 0)
    if rate < 0:
        raise SystemExit(f"eSpeak NG finds no data below {data}")
    samples = bytearray()
    callback_type = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
    )

    def collect(block: Any, count: int, _events: Any) -> int:
        if block and count > 0:
            samples.extend(ctypes.string_at(block, 2 * count))
        return 0

    callback = callback_type(collect)
    espeak.espeak_SetSynthCallback(callback)
    if espeak.espeak_SetVoiceByName(utterance["voice"].encode()):
        raise SystemExit(f"eSpeak NG has no voice {utterance['voice']}")
    for number, name in ((RATE, "rate"), (VOLUME, "volume"), (PITCH, "pitch"), (RANGE, "range")):
        espeak.espeak_SetParameter(number, utterance[name], 0)
    text = utterance["text"].encode() + b"\0"
    espeak.espeak_Synth(text, len(text), 0, CHARACTERS, 0, UTF8, None, None)
    espeak.espeak_Synchronize()
    sys.stdout.buffer.write(f"{rate}\n".encode() + bytes(samples))


if __name__ == "__main__":
    main(*sys.argv[1:])
