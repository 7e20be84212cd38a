"""Judges with several models: `--judge_model panel`. Each judge has its own replies, cache entries and name.

--judge_model panel --judge_args '{"judges": [{"judge": "text_lm", "pretrained": "A"}, {"judge": "text_lm", "pretrained": "B"}]}'
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from marathon_eval.api.model import Model, ModelFlags, ModelSettings, Request, Response, flags_of
from marathon_eval.errors import MarathonError
from marathon_eval.models.cascade import stage

if TYPE_CHECKING:
    from marathon_eval.api.press import Press


class _Settings(ModelSettings):
    #: Each judge: its model's name as `judge`, that model's arguments, and as `name` what its grades are called.
    judges: list[dict[str, Any]] = Field(min_length=2)

    @field_validator("judges")
    @classmethod
    def _each_is_named(cls, judges: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if not all(isinstance(args.get("judge"), str) for args in judges):
            raise ValueError('each of them needs "judge", the name of its model')
        for name in (args["name"] for args in judges if "name" in args):
            if not isinstance(name, str) or not name.strip() or set(name) & set("[]+"):
                raise ValueError(f'"name" must be a text without [, ] and +, got {name!r}')
        unnamed = [{key: args[key] for key in args if key != "name"} for args in judges]
        for args, plain in zip(judges, unnamed, strict=True):
            if "name" in args and unnamed.count(plain) > 1:
                raise ValueError(
                    f"{args['name']!r} and another have the same arguments, and so the same replies"
                )
        return judges


class Panel(Model):
    """Lets several models judge each answer; it answers nothing itself.

    - Chat: that of each model.
    - Audio: none.
    - Presses: none.
    """

    Settings: ClassVar[type[ModelSettings]] = _Settings
    settings: _Settings

    def __init__(self, settings: _Settings, press: Press | None = None) -> None:
        super().__init__(settings, press)
        flags = flags_of(settings)
        self._members = tuple(_member(args, flags) for args in settings.judges)

    @property
    def members(self) -> tuple[Model, ...]:
        """The judges, in the order of the argument."""
        return self._members

    @property
    def fingerprint(self) -> dict[str, Any]:
        """Return the judges' fingerprints, each without its transport settings."""
        for member in self._members:
            member.cache = self.cache
        return {
            "model": self.name(),
            "adapter_version": self.version,
            "judges": [member.fingerprint for member in self._members],
            "press": None,
        }

    def stages(self) -> tuple[Model, ...]:
        return (self, *(stage for member in self._members for stage in member.stages()))

    def generate(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        raise MarathonError(f"{self.flags.model} panel only judges: name it in --judge_model")

    def close(self) -> None:
        for member in self._members:
            member.close()


def _member(args: Mapping[str, Any], flags: ModelFlags) -> Model:
    """Build one judge. Its name is no argument of its model, and no part of its cache keys."""
    of_model = {key: value for key, value in args.items() if key not in ("judge", "name")}
    member = stage("judge", args["judge"], of_model, flags)
    member.given_name = args.get("name")
    return member
