"""Writes the pages of the documentation site that are made from the code: run by properdocs (properdocs.yml, gen-files).

https://oprypin.github.io/mkdocs-gen-files/. Pages are held in memory, nothing is written below docs/.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

import mkdocs_gen_files

ROOT = Path(__file__).resolve().parents[3]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from reference import command_line, python_api, registered, run_files, task_keys  # needs sys.path

#: Where a file of the repository's top stands in the site.
MOVED: Mapping[str, str] = {
    "README.md": "index.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
}


def moved(text: str, page: str) -> str:
    """Return a text of the repository's top with its links to other documents as the page needs them."""
    up = "../" * page.count("/")
    text = re.sub(r"\]\(docs/(\w+\.(?:md|svg))", rf"]({up}\1", text)
    for name, target in MOVED.items():
        text = text.replace(f"]({name}", f"]({up}{target}")
    return text


def write(page: str, text: str) -> None:
    with mkdocs_gen_files.open(page, "w") as file:
        file.write(text)


for name, page in MOVED.items():
    write(page, moved((ROOT / name).read_text(encoding="utf-8"), page))
for kind in (command_line, task_keys, registered, run_files, python_api):
    for page, text in kind.pages().items():
        write(page, text)
