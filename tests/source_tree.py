"""The tree in README.md, made from the files' own first sentences, so that it cannot fall behind."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BEGIN, END = "<!-- tree: scripts/update_goldens.py tree -->", "<!-- end of tree -->"
WIDTH = 118
FOLDERS = (
    "marathon_eval",
    "marathon_eval/commands",
    "marathon_eval/hf",
    "marathon_eval/api",
    "marathon_eval/parity",
    "marathon_eval/report",
    "marathon_eval/build",
    "models",
    "presses",
    "scripts",
    "scripts/mini",
    "scripts/nano",
)
OTHERS = {
    "tasks/": "one YAML per task; shared bases start with an underscore; audiomarathon.yaml is the group",
    "tests/": "test_<module>.py beside what they share; golden/, parity/ and data/ hold expected values",
    "docs/": "longer texts: presses, results, models",
}


def in_readme(readme: str) -> str:
    """The README with its tree made anew."""
    before, _, rest = readme.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n```text\n{tree()}\n```\n\n{END}{after}"


def tree() -> str:
    """One line per file: its name and its first sentence."""
    lines: list[str] = []
    for folder in FOLDERS:
        lines.append(f"{folder}/")
        for path in files(folder):
            lines.append(shortened(f"  {path.name:<24} {first_sentence(path)}"))
    return "\n".join([*lines, *(f"{name:<14}{text}" for name, text in OTHERS.items())])


def files(folder: str) -> list[Path]:
    """The folder's own Python files and scripts that git tracks, or would."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()
    paths = [ROOT / name for name in sorted(set(listing))]
    own = [
        path for path in paths if path.parent == ROOT / folder and path.is_file() and not path.is_symlink()
    ]
    return [path for path in own if path.suffix in (".py", "") and path.name != "__init__.py"]


def first_sentence(path: Path) -> str:
    """Of a module's docstring, or of a shell script's comment."""
    text = path.read_text(encoding="utf-8")
    if text.startswith("#!") and "python" not in text.splitlines()[0]:
        said = text.splitlines()[1].lstrip("# ")
    else:
        said = ast.get_docstring(ast.parse(text)) or ""
    said = " ".join(said.split("\n\n")[0].split())
    return re.split(r"(?<=[.;])\s", said)[0].rstrip(".;")


def shortened(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1].rsplit(" ", 1)[0] + " …"
