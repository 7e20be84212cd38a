"""Playing a clip by whatever player the system has: what the model hears, mono at 16 kHz."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from marathon_eval.api.audio import Audio
from marathon_eval.errors import MarathonError

PLAYBACK_RATE = 16_000
#: Tried in this order; each gets the path of a WAV file last, and ends with it.
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
    """Play a stretch to its end. Raises AudioError, or MarathonError where no player is there or it fails."""
    import soundfile

    player = next((name for name in PLAYERS if shutil.which(name)), None)
    if player is None:
        raise MarathonError(f"--play: no player found ({', '.join(PLAYERS)}); the clip is {audio.path}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.wav"
        soundfile.write(path, audio.samples(PLAYBACK_RATE), PLAYBACK_RATE, subtype="PCM_16")
        ended = subprocess.run([player, *PLAYERS[player], str(path)], stdin=subprocess.DEVNULL, check=False)
    if ended.returncode:
        raise MarathonError(f"--play: {player} ended with code {ended.returncode}; the clip is {audio.path}")
