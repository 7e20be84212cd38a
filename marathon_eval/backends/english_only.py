"""Refuses a language that an English-only Whisper checkpoint cannot be told; such checkpoints ignore the setting."""

from __future__ import annotations

from marathon_eval.errors import MarathonError

_ENGLISH = ("en", "english", "<|en|>")


def refuse_languages(multilingual: bool, language: str | None, task: str, flag: str, pretrained: str) -> None:
    """Raise MarathonError for a language other than English, or a translation, if the checkpoint knows English alone."""
    if multilingual:
        return
    other = language is not None and language.lower() not in _ENGLISH
    if other or task == "translate":
        asked = f"language={language}" if other else f"task={task}"
        raise MarathonError(
            f"{flag}: {asked}: pretrained={pretrained} knows English alone (is_multilingual is false in its "
            "generation_config.json); take a multilingual checkpoint, such as openai/whisper-tiny for whisper-tiny.en"
        )
