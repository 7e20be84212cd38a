"""Plays a clip as the model hears it, mono at 16 kHz, with an audio player of the system."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from marathon_eval.api.audio import Audio
from marathon_eval.errors import MarathonError

PLAYBACK_RATE = 16_000
#: Players in order of preference, with their flags; the path of a WAV file follows, and the player exits at its end.
PLAYERS = {
    "pw-play": (),
    "paplay": (),
    "aplay": ("-q",),
    "afplay": (),
    "ffplay": ("-nodisp", "-autoexit", "-loglevel", "error"),
    "mpv": ("--no-video", "--really-quiet"),
    "play": ("-q",),
}


def play(audio: Audio) -> None:
    """Play a clip to its end.

    Raises AudioError if the clip cannot be read, MarathonError if no player is installed or the player fails.
    """
    import soundfile

    player = next((name for name in PLAYERS if shutil.which(name)), None)
    if player is None:
        raise MarathonError(
            f"--play: no audio player found (install one of {', '.join(PLAYERS)}); the clip is {audio.path}"
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        soundfile.write(path, audio.samples(PLAYBACK_RATE), PLAYBACK_RATE, subtype="PCM_16")
        ended = subprocess.run([player, *PLAYERS[player], str(path)], stdin=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise MarathonError(f"--play: {player} ended with code {ended.returncode}; the clip is {audio.path}")
