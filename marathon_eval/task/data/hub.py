"""Downloads single files of a hub dataset at one commit, and caches the files and the listings on disk."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.api.hub_client import full_commit, guard_hub_client, plain_name
from marathon_eval.errors import AudioError, MarathonError

_FULL_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")
_WORKERS = 8
#: Most files of one listing; it is read into memory.
MAX_LISTED = 1_000_000


class RemoteFile(NamedTuple):
    """Holds a file on the hub that is read by ranges, and the sha256 of its content (or its blob's name in git)."""

    file: Any
    sha256: str


class HubRepo:
    """Reads a dataset repository at one commit. `where` prefixes errors. Raises MarathonError if unreachable."""

    def __init__(self, repo: str, revision: str | None, where: str) -> None:
        guard_hub_client()
        self.repo = repo
        self.where = where
        self.commit = self._commit(revision)
        self.label = f"{repo}@{self.commit[:12]}"
        self._listings: dict[str, frozenset[str]] = {}

    def names(self, folder: str) -> Iterable[str]:
        """Return the names of all files below a folder. The listing is cached on disk: a commit never changes."""
        return self._listing(folder)

    def exists(self, name: str) -> bool:
        """Return whether the commit has the file. One listing of its top folder replaces a request per clip."""
        folder = name.split("/", 1)[0] if "/" in name else ""
        listed = [parent for parent in self._listings if name.startswith(f"{parent}/")]
        return name in self._listing(listed[0] if listed else folder)

    def fetch(self, names: Sequence[str]) -> None:
        """Download several files at a time. Files that the hub lacks are skipped; `path` raises for them."""
        from concurrent.futures import ThreadPoolExecutor

        waiting = [name for name in dict.fromkeys(names) if self._cached(name) is None]
        if not waiting:
            return
        print(f"{self.label}: fetching {len(waiting)} files", file=sys.stderr)
        with _without_bars(), ThreadPoolExecutor(_WORKERS) as pool:
            for _ in pool.map(self._fetched, waiting):
                continue

    def path(self, name: str) -> str:
        """Return the file in the hub's local cache; download it first if needed. Raises AudioError, MarathonError."""
        file = self._cached(name) or self._fetched(name)
        if file is None:
            raise AudioError(f"{name}: not in {self.label}")
        return str(file)

    def is_cached(self, name: str) -> bool:
        """Return whether the hub's local cache has the whole file."""
        return self._cached(name) is not None

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[RemoteFile]:
        """Open a file on the hub, of which only what is read is sent. Raises MarathonError, also for damaged content."""
        from huggingface_hub import HfFileSystem

        with self._network_errors():
            system = HfFileSystem(skip_instance_cache=True)
            path = f"datasets/{self.repo}@{self.commit}/{name}"
            about = system.info(path)
            stored = about.get("lfs") or {}
            with system.open(path, "rb", cache_type="none") as file:
                yield RemoteFile(file, stored.get("sha256") or about["blob_id"])

    def _cached(self, name: str) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        file = try_to_load_from_cache(self.repo, name, revision=self.commit, repo_type="dataset")
        return Path(file) if isinstance(file, str) else None

    def _fetched(self, name: str) -> Path | None:
        """Download a file; None if the repository has none of that name."""
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        with self._network_errors():
            try:
                return Path(hf_hub_download(self.repo, name, revision=self.commit, repo_type="dataset"))
            except LocalEntryNotFoundError:
                raise
            except EntryNotFoundError:
                return None

    def _listing(self, folder: str) -> frozenset[str]:
        if folder not in self._listings:
            file = _listing_file(self.repo, self.commit, folder)
            names = _load_listing(file)
            if names is None:
                names = self._fetch_listing(folder)
                _save_listing(file, names)
            self._listings[folder] = frozenset(names)
        return self._listings[folder]

    def _fetch_listing(self, folder: str) -> list[str]:
        from huggingface_hub import HfApi
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        with self._network_errors():
            # request this first: without a network it fails at once, while list_repo_tree retries six times
            HfApi().dataset_info(self.repo, revision=self.commit)
            try:
                entries = HfApi().list_repo_tree(
                    self.repo, folder or None, recursive=True, revision=self.commit, repo_type="dataset"
                )
                names = [
                    entry.path for entry in islice(entries, MAX_LISTED + 1) if isinstance(entry, RepoFile)
                ]
            except EntryNotFoundError:
                return []
            if len(names) > MAX_LISTED:
                raise ValueError(f"it lists more than {MAX_LISTED} files")
        return sorted(plain_name(name, f"{self.where}: {self.repo}") for name in names)

    def _commit(self, revision: str | None) -> str:
        """Return the full commit of a branch, tag or shortened commit; without a network, look in the local cache."""
        if revision and _FULL_COMMIT.fullmatch(revision):
            return revision
        short = revision if revision and _SHORT_COMMIT.fullmatch(revision) else None
        snapshots = [path.name for path in self._cache_folder().glob(f"snapshots/{short}*")] if short else []
        return snapshots[0] if len(snapshots) == 1 else self._fetch_commit(revision, short)

    def _fetch_commit(self, revision: str | None, short: str | None) -> str:
        from huggingface_hub import HfApi

        cached_ref = self._cache_folder() / "refs" / (revision or "main")
        try:
            with self._network_errors():
                sha = HfApi().dataset_info(self.repo, revision=None if short else revision).sha
                newest = full_commit(sha, f"{self.where}: {self.repo}")
                if short is None or newest.startswith(short):
                    return newest
                commits = HfApi().list_repo_commits(self.repo, repo_type="dataset")
        except MarathonError:
            if short is None and cached_ref.is_file():
                return full_commit(cached_ref.read_text(encoding="utf-8").strip(), str(cached_ref))
            raise
        matches = [commit.commit_id for commit in commits if commit.commit_id.startswith(short)]
        if len(matches) != 1:
            raise MarathonError(f"{self.where}: {self.repo} has no commit {short}")
        return full_commit(matches[0], f"{self.where}: {self.repo}")

    def _cache_folder(self) -> Path:
        from huggingface_hub.constants import HF_HUB_CACHE

        return Path(HF_HUB_CACHE) / f"datasets--{self.repo.replace('/', '--')}"

    @contextlib.contextmanager
    def _network_errors(self) -> Iterator[None]:
        """Turn network errors into a MarathonError of one line that says what to do."""
        from huggingface_hub import errors

        # httpx's errors are not OSErrors, and the hub exports their type under changing packages
        http_error = getattr(errors, "HTTPError", OSError)
        try:
            yield
        # the last four: the client's own, about replies of another shape than a hub's
        except (
            OSError,
            http_error,
            errors.HFValidationError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
        ) as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise MarathonError(
                f"{self.where}: the dataset {self.repo} cannot be fetched from the hub ({reason}); "
                "give a local copy with --data_dir DIR"
            ) from None


def _listing_file(repo: str, commit: str, folder: str) -> Path:
    from marathon_eval.files import default_folder

    name = f"{folder.replace('/', '__') or 'all'}.json"
    return default_folder() / "hub_listings" / repo.replace("/", "--") / commit / name


def _load_listing(file: Path) -> list[str] | None:
    """Read a cached listing; None if it is missing or damaged, so that it is fetched again."""
    try:
        names: list[str] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return names


def _save_listing(file: Path, names: list[str]) -> None:
    from marathon_eval.files import write_atomically

    # if the listing cannot be written, the next run fetches it again
    with contextlib.suppress(OSError, MarathonError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, [json.dumps(names)])


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Disable the hub's progress bars: one per clip would hide the run's own."""
    from huggingface_hub.utils.tqdm import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    shown = not are_progress_bars_disabled()
    if shown:
        disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            enable_progress_bars()
