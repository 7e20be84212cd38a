"""Names a judging model as its grades and its prices do."""

from __future__ import annotations

from pathlib import Path

from marathon_eval.api.model import Model


def judge_name(model: Model) -> str:
    """Return the judging model's name: as a panel names it, or from its arguments (of a folder the last part), or the adapter's.

    Several judges have all their names, joined by a plus.
    """
    if model.members != (model,):
        return "+".join(map(judge_name, model.members))
    if model.given_name is not None:
        return model.given_name
    settings = model.settings.model_dump(mode="json")
    candidates = (settings.get(key) for key in ("identity", "model", "pretrained"))
    name = next((str(name) for name in candidates if name), model.name())
    return Path(name).name if Path(name).is_dir() else name
