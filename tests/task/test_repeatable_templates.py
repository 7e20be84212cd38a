"""Tests that a template asks the same in every run, and that one row takes seconds at most."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from marathon_eval.errors import MarathonError, RowError
from marathon_eval.task.prompt import repeatable
from marathon_eval.task.prompt.template import Template

ROW: dict[str, Any] = {"x": ["a", "b"], "big": ["word"] * 50_000, "text": "lorem " * 800_000}


@pytest.mark.parametrize(
    "source", ["{{ x|random }}", "{{ [x]|map('random')|list }}", "{{ x|map('random')|join }}"]
)
def test_nothing_is_drawn_at_random(source: str) -> None:
    with pytest.raises((MarathonError, RowError), match="random"):
        Template(source, "here").value(ROW)


@pytest.mark.parametrize(
    "source",
    [
        "{{ x|map('upper') }}",
        "{% set g = x|map('upper') %}{{ g }}",
        "{{ (x|map('upper')|string)[-9:] }}",
        "{{ 'a' ~ x|map('upper') }}",
        "{{ '%s' % (x|map('upper')) }}",
        "{{ '{}'.format(x|map('upper')) }}",
        "{{ '{a}'.format(a=x.append) }}",
        "{{ [x|map('upper')]|join }}",
        "{{ [[x|map('upper')]]|string|length }}",
        "{{ x|map('upper')|upper }}",
        "{{ {'a': x|map('upper')} }}",
        "{{ cycler('a') }}",
        "{{ 'a'.upper }}",
        "{{ x|join(x|map('upper')) }}",
    ],
)
def test_no_prompt_has_an_address_in_it(source: str) -> None:
    with pytest.raises((MarathonError, RowError), match=r"address|append") as refused:
        Template(source, "here").value(ROW)
    assert str(refused.value).startswith("here: ")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ x|map('upper')|join(',') }}", "A,B"),
        ("{{ x|map('upper')|list }}", "['A', 'B']"),
        ("{% set g = x|map('upper') %}{{ g|first }}", "A"),
        ("{{ told }} at 0x12", "<thing at 0x7fab12cd> at 0x12"),
        ("{{ x is sequence }} {{ 3 * 4 }} {{ namespace(a=1).a }}", "True 12 1"),
    ],
)
def test_what_repeats_is_printed(source: str, text: str) -> None:
    assert Template(source, "here").value({**ROW, "told": "<thing at 0x7fab12cd>"}) == text


@pytest.mark.parametrize(
    "source",
    [
        "{% for i in range(90000) %}{% set y = big|sort %}{% endfor %}",
        "{% for i in range(90000) %}{% if 'zz' in text %}{% endif %}{% endfor %}",
        "{{ range(99999)|select('in', big)|list|length }}",
        "{% for i in range(9000) %}{% set y = big|map('upper')|list %}{% endfor %}",
        "{{ range(99999)|map('replace', 'a', 'b')|map('replace', 'b', text[:20000])|list|length }}",
    ],
)
@pytest.mark.parametrize("in_thread", [False, True])
def test_processor_time_is_bounded_in_every_thread(
    source: str, in_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeatable, "RENDER_LIMIT_S", 0.1)
    raised: list[MarathonError] = []

    def render() -> None:
        with pytest.raises(MarathonError) as refused:
            Template(source, "here").value(ROW)
        raised.append(refused.value)

    started = time.process_time()
    if in_thread:
        thread = threading.Thread(target=render)
        thread.start()
        thread.join()
    else:
        render()
    assert "over 0.1 s of processor time for one row" in str(raised[0])
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    "source",
    [
        "{{ (big|join(' '))|wordwrap(5) }}",
        "{{ big|pprint|length }}",
        "{{ text|urlize|length }}",
        "{% set ns = namespace(x=9) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}{{ ns.x > 1 }}",
    ],
)
def test_a_single_step_that_cannot_be_broken_off_is_refused_for_its_size(source: str) -> None:
    started = time.process_time()
    with pytest.raises(MarathonError, match=r"a value of over|parts; 1000000 are allowed|over .* bits"):
        Template(source, "here").value(ROW)
    assert time.process_time() - started < 2.0
