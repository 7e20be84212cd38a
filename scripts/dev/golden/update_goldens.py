"""Writes the golden files anew: `python scripts/dev/golden/update_goldens.py [prompts schema ...]`.

Read the diff before committing. A changed prompt makes cached responses useless and moves scores: raise the task's
`metadata.version` with it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests"))


def prompts() -> None:
    """Write tests/golden/prompts.json: the prompts of the ten tasks."""
    from helpers.audiomarathon_prompts import GOLDEN, rendered

    with tempfile.TemporaryDirectory() as folder:
        write(GOLDEN / "prompts.json", rendered(Path(folder)))


def benchmark_prompts() -> None:
    """Write tests/golden/benchmark_prompts.json: the prompts of AIR-Bench, MMAR and MMAU, and of their judges."""
    from helpers.benchmark_prompts import rendered_benchmarks

    with tempfile.TemporaryDirectory() as folder:
        write(ROOT / "tests" / "golden" / "benchmark_prompts.json", rendered_benchmarks(Path(folder)))


def assistant_prompts() -> None:
    """Write tests/golden/assistant_prompts.json: the prompts of MMAU-Pro, VoiceBench and BLAB."""
    from helpers.assistant_prompts import make_miniatures, rendered_assistants

    with tempfile.TemporaryDirectory() as folder:
        make_miniatures(Path(folder))
        write(ROOT / "tests" / "golden" / "assistant_prompts.json", rendered_assistants(Path(folder)))


def schema() -> None:
    """Write the JSON schemas for editors: task/yaml/schema.json and corpus/build/recipe_schema.json."""
    from marathon_eval.corpus.build import recipe
    from marathon_eval.task.yaml.config import task_schema

    write(ROOT / "marathon_eval" / "task" / "yaml" / "schema.json", task_schema())
    write(ROOT / "marathon_eval" / "corpus" / "build" / "recipe_schema.json", recipe.recipe_schema())


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(path.relative_to(ROOT))


PARTS: dict[str, Callable[[], None]] = {
    part.__name__: part for part in (prompts, benchmark_prompts, assistant_prompts, schema)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of: {', '.join(PARTS)}; none: all")
    arguments = parser.parse_args()
    for name in arguments.parts or PARTS:
        if name not in PARTS:
            parser.error(f"no golden '{name}'; known: {', '.join(PARTS)}")
        PARTS[name]()


if __name__ == "__main__":
    main()
