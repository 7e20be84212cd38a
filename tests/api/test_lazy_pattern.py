"""Checks the patterns that are compiled late: every one of the package compiles, and one works as re's own does."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module

import pytest

import marathon_eval.api
import marathon_eval.scoring
from marathon_eval.api.lazy_pattern import LazyPattern, lazy_pattern


def test_every_pattern_of_the_package_compiles() -> None:
    patterns = []
    for package in (marathon_eval.api, marathon_eval.scoring):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            values = vars(import_module(module.name)).values()
            patterns += [value for value in values if isinstance(value, LazyPattern)]
    for pattern in patterns:
        pattern.search("")  # raises re.error for a wrong one
    assert len({id(pattern) for pattern in patterns}) > 50


def test_a_late_pattern_works_as_a_compiled_one() -> None:
    late, compiled = (
        lazy_pattern(r"(?P<n>\d+)\s*hz", re.IGNORECASE),
        re.compile(r"(?P<n>\d+)\s*hz", re.IGNORECASE),
    )
    text = "440 Hz and 880hz"
    assert late.sub(r"\g<n>", text) == compiled.sub(r"\g<n>", text) == "440 and 880"
    assert late.findall(text) == compiled.findall(text) == ["440", "880"]
    assert [match["n"] for match in late.finditer(text)] == ["440", "880"]
    assert late.search(text) is not None
    assert late.fullmatch(text) is None
    assert (late.pattern, late.flags) == (compiled.pattern, compiled.flags)


def test_a_wrong_pattern_is_told_at_its_first_use() -> None:
    wrong = lazy_pattern("(")
    with pytest.raises(re.error, match="unterminated"):
        wrong.search("text")
