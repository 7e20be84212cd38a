"""Refuses weights that changed between their hash and their loading, as those of a training that goes on.

Their answers would be stored under the hash of the earlier weights, for good.
"""

from __future__ import annotations

from typing import Any, Protocol

from marathon_eval.errors import MarathonError


class Identified(Protocol):
    """Declares what is asked of a model: its name, and what its settings refer to."""

    @classmethod
    def name(cls) -> str: ...

    def identity(self) -> dict[str, Any]: ...


def refuse_changed(model: Identified) -> None:
    """Raise MarathonError where a model that has just loaded is another one than its fingerprint says.

    The identity that the model keeps is made anew; hashes of unchanged files come from the cache.
    """
    before = model.identity()
    vars(model).pop("_identity", None)
    now = model.identity()
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    if changed:
        raise MarathonError(
            f"--model {model.name()}: {before.get('pretrained') or 'its files'}: changed while the model was loaded "
            f"({', '.join(changed)}), so that its answers would be filed under the earlier state: "
            "copy them to a folder that nothing writes to, or wait, and run again"
        )
