"""Tests building prompts from rows: columns, templates in their sandbox, options and gold answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.minimal_task import make_task
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.task.prompt.prompt import joined_texts
from marathon_eval.task.prompt.template import PlainText, RowValue, Template, check_names, from_row


def ask(folder: Path, keys: str, row: dict[str, Any], model: str | None = None) -> tuple[str, str | None]:
    """Prompt and system text for one row."""
    task = make_task(folder, keys, [row])
    (doc,) = task.docs().docs
    assert doc.error is None, doc.error
    (request,) = task.requests(doc, model)
    return request.prompt, request.system


class TestTemplates:
    def test_an_identifier_is_a_column_and_keeps_its_type(self) -> None:
        assert from_row("question", "t").value({"question": ["a"]}) == ["a"]

    def test_words_are_themselves_unless_a_column_has_that_name(self) -> None:
        rule = from_row("Best Answer", "t")
        assert isinstance(rule, PlainText)
        assert (rule.value({}), rule.value({"Best Answer": "x"})) == ("Best Answer", "x")

    def test_text_in_data_is_never_expanded_again(self, tmp_path: Path) -> None:
        row = {"q": "What is {{ 7 * 7 }}{% if %}?", "a": "{{ q }}"}
        keys = 'doc_to_text: "{{ q }}"\ndoc_to_target: a\n'
        assert ask(tmp_path, keys, row) == ("What is {{ 7 * 7 }}{% if %}?", None)

    @pytest.mark.parametrize(
        "source",
        [
            "{{ ''.__class__ }}",
            "{{ q['__class__'] }}",
            "{{ q | attr('__init__') }}",
            "{{ ()|map(attribute='__globals__')|list }}",
            "{{ q._private }}",
        ],
    )
    def test_python_internals_are_refused_at_load(self, source: str) -> None:
        with pytest.raises(MarathonError, match=r"x\.yaml:3: the template uses Python internals"):
            Template(source, "x.yaml:3")

    @pytest.mark.parametrize(
        "source",
        [
            "{% set u = '__' %}{{ q[u ~ 'class' ~ u] }}",
            "{% set u = '__' %}{{ q | attr(u ~ 'class' ~ u) }}",
            "{{ '{0.__class__.__mro__}'.format(q) }}",
        ],
    )
    def test_internals_reached_by_detours_are_refused_by_the_sandbox(self, source: str) -> None:
        with pytest.raises(MarathonError, match=r"x\.yaml:3: (the template's sandbox refuses|.*undefined)"):
            Template(source, "x.yaml:3").value({"q": "text"})

    def test_a_row_cannot_be_changed_by_a_template(self) -> None:
        row = {"items": [1]}
        with pytest.raises(MarathonError, match="sandbox refuses"):
            Template("{{ items.append(2) }}", "x").value(row)
        assert row == {"items": [1]}

    @pytest.mark.parametrize("source", ["{{ q }", "{% if q %}", "{{ q | no_such_filter }}"])
    def test_a_broken_template_is_told_at_load(self, source: str) -> None:
        with pytest.raises(MarathonError, match=r"x\.yaml:3: broken template"):
            Template(source, "x.yaml:3")

    @pytest.mark.parametrize("source", ["{{ 1 // n }}", "{{ q + 1 }}", "{{ range(9**9) }}"])
    def test_what_fails_on_a_row_is_a_row_error(self, source: str) -> None:
        with pytest.raises(RowError, match="fails on this row"):
            Template(source, "x").value({"n": 0, "q": "text"})

    def test_an_undefined_name_is_told_with_what_the_row_has(self) -> None:
        with pytest.raises(RowError, match=r"'qustion' is undefined; the row has question"):
            Template("{{ qustion }}", "x").value({"question": "q"})

    def test_a_name_that_no_row_has_stops_with_the_nearest(self) -> None:
        with pytest.raises(MarathonError, match=r"x: no row has 'qustion'\. Did you mean question\?"):
            check_names(Template("{{ qustion }}", "x"), ["question", "answer"])
        check_names(
            Template("{{ note | default('') }}{% if hint is defined %}{{ hint }}{% endif %}", "x"), ["q"]
        )

    def test_a_column_that_is_null_is_a_row_error(self) -> None:
        with pytest.raises(RowError, match="x: 'answer' is null in this row"):
            RowValue("answer", "x").value({"answer": None})

    @given(st.text())
    def test_any_text_comes_out_as_it_went_in(self, text: str) -> None:
        assert Template("<{{ q }}>", "x").value({"q": text}) == f"<{text}>"

    @pytest.mark.parametrize(
        "source",
        [
            "{{ q }}",
            "Hint: {{ h }} {{ q }}",
            "{{ q | trim }}",
            "{{ q | default('none given') }}",
            "{{ h ~ q }}",
            "{{ q | lower if h else '' }}",
            "{% for part in parts %}{{ part }}{% endfor %}",
            "{{ parts | join(', ') }}",
            "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(q) }}",
        ],
    )
    def test_a_null_written_as_text_is_a_row_error(self, source: str) -> None:
        row = {"q": None, "h": "loud", "parts": ["a", None]}
        with pytest.raises(RowError, match=r"x\.yaml:3: .* is null in this row.*default\('', true\)"):
            Template(source, "x.yaml:3").value(row)

    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("{{ q | default('?', true) }}", "?"),
            ("{{ q or '?' }}", "?"),
            ("{% if q %}{{ q }}{% endif %}.", "."),
            ("{{ 'no hint' if q is none else q }}", "no hint"),
            ("{{ q | tojson }}", "null"),
            ("{{ [h, q] }}", "['loud', None]"),
            ("{% if q | lower == 'x' %}x{% else %}y{% endif %}", "y"),
        ],
    )
    def test_a_template_may_test_for_null(self, source: str, text: str) -> None:
        assert Template(source, "x").value({"q": None, "h": "loud"}) == text

    def test_a_number_that_is_none_is_a_row_error(self) -> None:
        with pytest.raises(
            RowError, match=r"'n' is null in this row \(nan\); `{{ n if n == n else '' }}` writes nothing"
        ):
            Template("{{ n }}", "x").value({"n": float("nan")})
        assert Template("{{ n if n == n else '' }}", "x").value({"n": float("nan")}) == ""

    @pytest.mark.parametrize("key", ["system", "description", "gen_prefix"])
    def test_a_null_column_that_a_wording_names_is_an_error_row(self, tmp_path: Path, key: str) -> None:
        task = make_task(
            tmp_path, f"doc_to_text: q\ndoc_to_target: a\n{key}: more\n", [{"q": "?", "a": "x", "more": None}]
        )
        with pytest.raises(RowError, match=f"{key}: is null in this row"):
            task.requests(task.docs().docs[0])


class TestWriting:
    KEYS = 'doc_to_text: "{{ q }}\\n{{ options }}"\ndoc_to_target: gold\ndoc_to_choice: opts\n'
    ROW: ClassVar = {
        "q": "Which?",
        "opts": ["rock", "jazz"],
        "gold": "B",
        "options": "a column",
        "choices": ["x"],
    }

    def test_a_column_named_options_comes_first_as_lm_eval_expects(self, tmp_path: Path) -> None:
        assert ask(tmp_path, self.KEYS, self.ROW)[0] == "Which?\na column"

    def test_a_choice_layout_makes_options_ours(self, tmp_path: Path) -> None:
        keys = self.KEYS + 'choice_layout: "(A)"\n'
        assert ask(tmp_path, keys, self.ROW)[0] == "Which?\n(A) rock\n(B) jazz"

    def test_description_prefix_and_system(self, tmp_path: Path) -> None:
        keys = (
            'description: "About {{ topic }}.\\n"\ndoc_to_text: "{{ q }}"\ngen_prefix: Answer\n'
            'doc_to_target: gold\nsystem: "You know {{ topic }}."\n'
        )
        row = {"q": "Which?", "gold": "x", "topic": "jazz"}
        assert ask(tmp_path, keys, row) == ("About jazz.\nWhich? Answer", "You know jazz.")

    def test_a_variant_changes_what_it_names_for_its_model_only(self, tmp_path: Path) -> None:
        keys = self.KEYS + (
            'choice_layout: "A."\nsystem: Be brief.\n'
            'prompt_variants:\n  other: {choice_layout: "a)", system: ""}\n  third: {doc_to_text: "Say {{ q }}"}\n'
        )
        assert ask(tmp_path, keys, self.ROW) == ("Which?\nA. rock\nB. jazz", "Be brief.")
        assert ask(tmp_path, keys, self.ROW, "other") == ("Which?\na) rock\nb) jazz", "")
        assert ask(tmp_path, keys, self.ROW, "third") == ("Say Which?", "Be brief.")
        assert ask(tmp_path, keys, self.ROW, "unheard_of") == ask(tmp_path, keys, self.ROW)

    def test_an_empty_system_prompt_is_asked_for_and_null_is_the_models_own(self, tmp_path: Path) -> None:
        row = {**self.ROW, "": "a column without a name"}
        assert ask(tmp_path, self.KEYS + 'system: ""\n', row)[1] == ""
        assert ask(tmp_path, self.KEYS, row)[1] is None
        keys = (
            self.KEYS + 'system: Be brief.\nprompt_variants: {other: {system: null}, third: {system: ""}}\n'
        )
        assert [ask(tmp_path, keys, row, name)[1] for name in (None, "other", "third")] == [
            "Be brief.",
            None,
            "",
        ]

    def test_a_variants_layout_does_not_change_the_target(self, tmp_path: Path) -> None:
        keys = self.KEYS + 'choice_layout: "A."\nprompt_variants: {other: {choice_layout: "a)"}}\n'
        task = make_task(tmp_path, keys, [self.ROW])
        assert task.docs().docs[0].target == "B"

    @given(st.text(max_size=5), st.text(max_size=5))
    def test_joining_never_doubles_a_space(self, first: str, second: str) -> None:
        together = joined_texts(first, second)
        assert together in (first + second, f"{first} {second}")
        if first and second and not first[-1].isspace() and not second[0].isspace():
            assert together == f"{first} {second}"
