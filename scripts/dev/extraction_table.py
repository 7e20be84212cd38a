"""Prints how `choice` reads the labelled corpus, kind by kind: `python scripts/dev/extraction_table.py [--misses]`.

`texts` counts all, `answerable` those that mean an option; of these `hit` were read right and `unanswered` not read.
`wrong` counts answers that are another option than the text means, also where it means none.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from helpers.extraction_corpus import Tally, corpus, read, tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--misses", action="store_true", help="print each text that is read wrong or not at all"
    )
    arguments = parser.parse_args()
    texts = corpus()
    counts = tally(texts)
    total = Tally(*(sum(column) for column in zip(*counts.values(), strict=True)))
    print(f"{'kind':40}{'texts':>8}{'answerable':>12}{'hit':>8}{'wrong':>8}{'unanswered':>12}")
    for kind, count in [*counts.items(), ("all", total)]:
        print(
            f"{kind:40}{count.answerable + count.silent:8}{count.answerable:12}{count.hit:8}{count.wrong:8}{count.unanswered:12}"
        )
    if arguments.misses:
        for said in texts:
            if (found := read(said)) != said.right:
                print(f"{said.kind}: {said.text!r}: read as {found!r}, means {said.right!r}")


if __name__ == "__main__":
    main()
