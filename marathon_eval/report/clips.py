"""Lists the clips of a report: as links relative to the page, and on request as MP3 previews inside it."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from marathon_eval.api.audio import Audio
from marathon_eval.errors import AudioError
from marathon_eval.task.data.sources import within

#: Sample rate and size of MP3 previews: speech stays intelligible, and every browser plays MP3.
PREVIEW_RATE = 16_000
PREVIEW_BYTES_PER_SECOND = 3_000
SHORTEST_PREVIEW_SECONDS = 5.0
#: Of the places where a clip was looked for, so many are printed.
_PLACES_SHOWN = 3


@dataclass
class ServedClips:
    """Holds the clips of a page that is served, by number."""

    _audio: dict[int, Audio] = field(default_factory=dict)

    def add(self, number: int, audio: Audio) -> str:
        """Add a clip and return its link, relative to the page's address."""
        self._audio[number] = audio
        return f"./clip/{number}"

    def audio(self, number: int) -> Audio:
        """Return a clip. Raises KeyError."""
        return self._audio[number]

    def clear(self) -> None:
        """Forget all clips, before the page is made again."""
        self._audio.clear()


@dataclass
class ReportClips:
    """Collects every distinct stretch of audio once; `page` is the folder of the HTML file.

    `listed` is what the page's script gets per clip: path, url, start, stop, transform, paths of further clips, and whether
    runs heard different contents of the file.
    """

    page: Path
    #: Folders that the user named: a samples file may name any file, and only clips below these are embedded. A clip
    #: that is no longer where the run found it is looked for here too, by the end of its path.
    data_dirs: tuple[Path, ...] = ()
    #: Where a server serves the page, its clips, which links then name by number.
    served: ServedClips | None = None
    outside: list[Path] = field(default_factory=list)
    #: Of clips that were to be embedded and are nowhere, what the run recorded, and the places where they were looked for.
    lost: list[tuple[str, list[Path]]] = field(default_factory=list)
    listed: list[dict[str, Any]] = field(default_factory=list)
    #: By file, stretch and transform, the clip's number for each content (sha256) that runs heard there.
    _numbers: dict[tuple[Any, ...], dict[str | None, int]] = field(default_factory=dict)
    _files: list[Path | None] = field(default_factory=list)
    #: The path that the run recorded for each clip, and the data folder that it starts from.
    _recorded: list[tuple[str, str | None]] = field(default_factory=list)

    def number(self, audio: Sequence[Mapping[str, Any]], root: str | None = None) -> int | None:
        """Return the number of a document's clips in `listed`, adding them if they are new; None without audio.

        `root` is the data folder that relative paths start from. If runs heard different contents of one file, each
        content has a number, and all of them are marked `changed`: only one can still be there to play.
        """
        if not audio:
            return None
        # a relative path names other files in other folders
        key = tuple(
            (clip["path"], clip.get("start"), clip.get("stop"), clip.get("transform")) for clip in audio
        )
        known = self._numbers.setdefault((root, *key), {})
        sha256 = audio[0].get("sha256")
        if sha256 in known:
            return known[sha256]
        if known and sha256 is None:  # the row failed before its clip was read
            return next(iter(known.values()))
        known[sha256] = known.pop(None) if None in known else self._add(audio, root)
        if len(known) > 1:
            for number in known.values():
                self.listed[number]["changed"] = True
        return known[sha256]

    def _add(self, audio: Sequence[Mapping[str, Any]], root: str | None) -> int:
        first = audio[0]
        path = _existing_path(str(first["path"]), root, self.data_dirs)
        self._files.append(path)
        self._recorded.append((str(first["path"]), root))
        url = None if path is None else relative_url(path, self.page)
        if self.served is not None and path is not None:
            stretch = float(first.get("start") or 0.0), first.get("stop"), first.get("transform") or ""
            url = self.served.add(len(self.listed), Audio(str(path), *stretch))
        self.listed.append(
            {
                "path": shown_path(str(first["path"]), root),
                "url": url,
                "heard": self.served is not None,
                "start": first.get("start") or 0.0,
                "stop": first.get("stop"),
                "transform": first.get("transform") or "",
                "more": [shown_path(str(other["path"]), root) for other in audio[1:]],
                "changed": False,
            }
        )
        return len(self.listed) - 1

    def embed(self, budget_bytes: int) -> dict[int, str]:
        """Return base64 MP3 previews by clip number, all together within the budget.

        All previews have the same length, chosen so that all fit. If that were under five seconds, the first
        clips get five seconds and the others none. Clips outside `data_dirs` and those that are nowhere get none; `outside` and `lost` keep them. Sets `preview` (seconds) on each embedded clip in `listed`.
        """
        # base64 turns three bytes into four
        seconds_in_all = budget_bytes * 3 / 4 / PREVIEW_BYTES_PER_SECOND
        each = max(SHORTEST_PREVIEW_SECONDS, seconds_in_all / max(1, len(self.listed)))
        embedded: dict[int, str] = {}
        left = budget_bytes
        for number, (clip, path) in enumerate(zip(self.listed, self._files, strict=True)):
            if path is None:
                recorded, root = self._recorded[number]
                self.lost.append((recorded, list(_candidates(recorded, root, self.data_dirs))))
                continue
            if not within(path, self.data_dirs):
                self.outside.append(path)
                continue
            preview = preview_of(_as_audio(path, clip), each)
            if preview is None:
                continue
            text = base64.b64encode(preview.mp3).decode("ascii")
            if len(text) > left:
                break
            left -= len(text)
            embedded[number] = text
            clip["preview"] = round(preview.seconds, 1)
        return embedded


def lost_clips(lost: Sequence[tuple[str, Sequence[Path]]]) -> str:
    """Return the line on clips that were to be embedded and were not found: how many, and where the first was looked for."""
    path, places = lost[0]
    looked = ", ".join(dict.fromkeys(str(place.absolute()) for place in places[:_PLACES_SHOWN]))
    more = f" and {len(places) - _PLACES_SHOWN} places more" if len(places) > _PLACES_SHOWN else ""
    return (
        f"report: {len(lost)} clips are not embedded, because they were not found: the first, {path}, was looked for at {looked}"
        f"{more}; type --data_dir with the folder of the data"
    )


@dataclass(frozen=True)
class Preview:
    """Holds the beginning of a clip as MP3, and its length in seconds."""

    mp3: bytes
    seconds: float


def preview_of(audio: Audio, seconds: float) -> Preview | None:
    """Return the first `seconds` of a clip as the model heard it, at about 24 kbit/s; None if it is unreadable."""
    import soundfile

    try:
        # decode the whole stretch and cut afterwards, because a transform may depend on all of it
        samples = audio.samples(PREVIEW_RATE)[: int(seconds * PREVIEW_RATE)]
    except AudioError:
        return None
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        samples,
        PREVIEW_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=0.9,
    )
    return Preview(buffer.getvalue(), len(samples) / PREVIEW_RATE)


def _as_audio(path: Path, clip: Mapping[str, Any]) -> Audio:
    return Audio(str(path), clip["start"], clip["stop"], clip["transform"])


def relative_url(path: Path, page: Path) -> str:
    """Return a link relative to the page's folder; it always begins with `./`, so no path can act as a URL scheme."""
    relative = Path(os.path.relpath(path.resolve(), page.resolve())).as_posix()
    return "./" + quote(relative.encode("utf-8", "surrogateescape"))


def shown_path(path: str, root: str | None) -> str:
    """Return the path as the page shows it: relative to the data folder, so that it does not reveal the machine's."""
    for folder in (Path(root), Path(root).resolve()) if root else ():
        if Path(path).is_relative_to(folder):
            return Path(path).relative_to(folder).as_posix()
    return path


def clip_counts(clips: Sequence[Mapping[str, Any]], previews: Mapping[int, str]) -> dict[str, int]:
    """Count the page's clips: `carried` in the page, `linked` to files, and `missing`."""
    linked = sum(clip["url"] is not None for number, clip in enumerate(clips) if number not in previews)
    return {
        "all": len(clips),
        "carried": len(previews),
        "linked": linked,
        "missing": len(clips) - len(previews) - linked,
    }


def _candidates(path: str, root: str | None, data_dirs: Sequence[Path]) -> Iterator[Path]:
    yield Path(path)
    yield Path(root or ".") / path
    parts = [part for part in PurePosixPath(path.replace("\\", "/")).parts if part not in ("/", "..")]
    # the longest end of the path first: `race/17.wav` says more than `17.wav`
    for begin in range(len(parts)):
        for folder in data_dirs:
            yield folder.joinpath(*parts[begin:])


def _existing_path(path: str, root: str | None, data_dirs: Sequence[Path] = ()) -> Path | None:
    for candidate in _candidates(path, root, data_dirs):
        try:
            if candidate.is_file():
                return candidate
        except (OSError, ValueError):  # not a valid file name
            continue
    return None
