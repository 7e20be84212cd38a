"""Writes a build's manifest: the source and offset of every second, and the sha256 of every file.

Times are frames, at the rate of the output or of the source. The manifest has no clock time and no absolute path:
equal inputs give equal manifests.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from marathon_eval.corpus.build.finalise import Paired
from marathon_eval.corpus.build.item import Item
from marathon_eval.corpus.build.plan import Left
from marathon_eval.corpus.build.recipe import Recipe
from marathon_eval.corpus.build.render import Rendered
from marathon_eval.errors import MarathonError

MANIFEST_VERSION = 1
BUILD_PACKAGES = ("marathon-eval", "numpy", "soundfile", "soxr")


def identity_of(item: Item, used: Mapping[str, str]) -> str:
    """Hash everything that decides a file's bytes: its pieces, its sources' sha256, and the library versions."""
    name = item.audio.rpartition(".")[2]
    parts = [name, item.rate, item.frames, [asdict(piece) for piece in item.pieces], sorted(used.items())]
    return hashlib.sha256(json.dumps([*parts, build_versions()], sort_keys=True).encode()).hexdigest()


def output_line(item: Item, result: Rendered, used: Mapping[str, str], identity: str) -> dict[str, Any]:
    """Return the manifest's entry of one file."""
    return {
        "path": item.audio,
        "sha256": hashlib.sha256(result.data).hexdigest(),
        "identity": identity,
        "rate": item.rate,
        "frames": item.frames,
        "seconds": round(item.seconds, 6),
        "peak": round(result.peak, 6),
        "sources": dict(sorted(used.items())),
        "spans": result.spans,
    }


def manifest_of(
    recipe: Recipe,
    pairs: Sequence[Paired],
    lines: Mapping[str, Mapping[str, Any]],
    metadata: Mapping[str, bytes],
    left: Sequence[Left],
    rejected: frozenset[str],
    rows: int,
) -> dict[str, Any]:
    """Return the whole manifest, ready for JSON."""
    settings = recipe.model_dump(mode="json")
    return {
        "schema_version": MANIFEST_VERSION,
        "recipe": settings,
        "recipe_sha256": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        "versions": build_versions(),
        "root": recipe.layout.root,
        "counts": {
            "files": len(pairs),
            "rows": rows,
            "seconds": round(sum(pair.item.seconds for pair in pairs), 3),
        },
        "metadata": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(metadata.items())},
        "left": [entry._asdict() for entry in left],
        "rejected": sorted(rejected),
        "audio": [dict(lines[pair.item.audio]) for pair in pairs],
    }


@cache
def build_versions() -> dict[str, str]:
    """Return the versions of the packages that decode, resample or encode audio, and of Python."""
    import soundfile

    packages = {package: version(package) for package in BUILD_PACKAGES}
    return {**packages, "libsndfile": soundfile.__libsndfile_version__, "python": platform.python_version()}


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Read a build's manifest, or None if there is none. Raises MarathonError when it is damaged."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema_version"] != MANIFEST_VERSION or not isinstance(content["audio"], list):
            raise ValueError("another schema version")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MarathonError(f"{path}: not a manifest of a build ({error})") from None
    return dict(content)
