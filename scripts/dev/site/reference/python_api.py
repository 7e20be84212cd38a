"""Makes the reference of the Python interface: mkdocstrings fills in the docstrings of the public names."""

from __future__ import annotations

from collections.abc import Mapping

import marathon_eval

BASES: Mapping[str, str] = {
    "marathon_eval.backends.hf.adapter.HFAudio": "base class of models that transformers loads",
    "marathon_eval.api.press.PruningPress": "base class of presses that drop audio tokens in the prefill",
    "marathon_eval.api.press.EvictionPress": "base class of presses that remove keys from the KV cache",
}


def pages() -> dict[str, str]:
    """Return the page by its place in the site."""
    parts = [
        (
            "# Python\n\n`import marathon_eval` loads nothing else: each name is imported from its module on first use.\n\n"
            "```python\nfrom marathon_eval import simple_evaluate\n\n"
            'results = simple_evaluate("dummy", ["gtzan"], data_dir="demo/data")\n```\n'
        ),
        "## What the package offers\n",
    ]
    for name in sorted(set(marathon_eval.__all__) - {"report"}):  # report is write_report
        module, _, other_name = marathon_eval._MODULES[name].partition(":")
        parts.append(f"::: marathon_eval.{module}.{other_name or name}\n")
    parts.append("## What a model or a press extends\n")
    parts += [f"::: {name}\n" for name in BASES]
    return {"reference/python.md": "\n".join(parts)}
