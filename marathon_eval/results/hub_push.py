"""Pushes the files of finished runs to a dataset repository of the Hugging Face hub (huggingface_hub)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from marathon_eval.api.hub_client import guard_hub_client
from marathon_eval.api.secrets import without_all_secrets
from marathon_eval.errors import MarathonError
from marathon_eval.results.trackers import result_files

_PLACE = re.compile(
    r"hf://datasets/(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<folder>.+?))?/?"
)
HUB_PLACE = "hf://datasets/OWNER/NAME"


class HubPlace(NamedTuple):
    """Names a dataset repository, the branch (None: main) and the folder in it (empty: its top)."""

    repo: str
    revision: str | None
    folder: str


def parse_hub_place(text: str, where: str) -> HubPlace:
    """Parse `hf://datasets/OWNER/NAME`, with `@BRANCH` and `/FOLDER` if wanted. Raises MarathonError."""
    found = _PLACE.fullmatch(text)
    folder = "" if found is None else found["folder"] or ""
    if found is None or {"", ".", ".."} & set(folder.split("/") if folder else ()):
        raise MarathonError(f"{where}: '{text}' is not {HUB_PLACE}, {HUB_PLACE}/FOLDER or {HUB_PLACE}@BRANCH")
    return HubPlace(found["repo"], found["revision"], folder)


def push_runs(folders: Sequence[Path], place: HubPlace, public: bool = False) -> str:
    """Upload runs in one commit, each to `<its readable name>/<time>`, and return the commit's address.

    The repository is created if it does not exist, private unless `public`. Raises MarathonError.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HFValidationError

    guard_hub_client()
    operations = [
        CommitOperationAdd(path_in_repo=_path_in_repo(folder, file, place), path_or_fileobj=str(file))
        for folder in folders
        for file in result_files(folder)
    ]
    api = HfApi()
    runs = "1 run" if len(folders) == 1 else f"{len(folders)} runs"
    try:
        api.create_repo(place.repo, repo_type="dataset", private=not public, exist_ok=True)
        done = api.create_commit(
            place.repo,
            operations,
            commit_message=f"Results of {runs} of marathon-eval",
            repo_type="dataset",
            revision=place.revision,
        )
    except (OSError, ValueError, HFValidationError) as error:  # the hub's own errors are OSErrors
        reason = without_all_secrets(" ".join(str(error).split()))
        hint = "; set HF_TOKEN, or log in with `hf auth login`" if "401" in reason else ""
        raise MarathonError(f"push: hf://datasets/{place.repo}: {reason}{hint}") from None
    return str(done.commit_url)


def _path_in_repo(folder: Path, file: Path, place: HubPlace) -> str:
    """Return where a file goes: a run's folder keeps its last two names, which tell it from every other run."""
    whole = folder.resolve()
    parts = [place.folder, whole.parent.name, whole.name, file.relative_to(folder).as_posix()]
    return "/".join(filter(None, parts))
