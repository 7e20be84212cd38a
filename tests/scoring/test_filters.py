"""Tests filter pipelines: lm-eval's filters against lm-eval's results, our own filters, and refused entries."""

from __future__ import annotations

from typing import Any

import pytest

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.filters.build import build_pipeline, filter_names

ROW = FilterContext(("Cat", "Dog barking", "Frying", "Running water"), ("A", "B", "C", "D"))
CRIME = FilterContext(("Guilty", "Guilty of Romance", "Innocent"), ("A", "B", "C"))


def read(texts: str | list[str], *steps: dict[str, Any], context: FilterContext = ROW) -> Answer:
    pipeline = build_pipeline({"name": "test", "filter": list(steps)}, "task.yaml:3")
    return pipeline.apply([texts] if isinstance(texts, str) else texts, context)


TAKE_FIRST = {"function": "take_first"}
LETTER = {"function": "regex", "regex_pattern": r"\(([A-D])\)"}


# Expected values were made by running lm-eval 0.4.13's own filters.
@pytest.mark.parametrize(
    ("text", "step", "value"),
    [
        ("#### 7 then #### 42", {"function": "regex"}, "7"),
        ("#### 7 then #### 42", {"function": "regex", "group_select": -1}, "42"),
        ("#### 7 then #### 42", {"function": "regex", "group_select": 1}, "42"),
        ("5 (B) 6", {"function": "regex", "regex_pattern": r"(\d)|\(([A-D])\)", "group_select": 1}, "B"),
        ("the answer is  C ", {"function": "regex", "regex_pattern": "answer is(.*)"}, "C"),
        ("It is (B).", {"function": "multi_choice_regex", "regex_pattern": r"(\([A-Z]\))"}, "(B)"),
        ("I hear Dog barking", {"function": "multi_choice_regex"}, "(B)"),
        ("my answer: D", {"function": "multi_choice_regex"}, "(D)"),
        (
            "DOG barking!",
            {"function": "multi_choice_regex", "ignore_case": True, "ignore_punctuation": True},
            "(B)",
        ),
        ("Dog-barking", {"function": "multi_choice_regex", "regexes_to_ignore": ["-", " "]}, "(B)"),
        ("[('the', 'DET'), ('cat', 'NOUN')]", {"function": "regex_pos"}, "DET NOUN"),
        (" yes\n", {"function": "remove_whitespace"}, "yes"),
        ("Yes", {"function": "lowercase"}, "yes"),
        ("Yes", {"function": "uppercase"}, "YES"),
        ("yes", {"function": "map", "mapping_dict": {"yes": 1, "no": 0}}, "1"),
        ("perhaps", {"function": "map", "mapping_dict": {"yes": 1}, "default_value": 0}, "0"),
        ("Person: Ann, none\nLocation: Oslo", {"function": "format_span"}, "per: ann $ loc: oslo"),
        ("date: may $$ company: none $$ org: un$$", {"function": "format_span"}, "date: may $ org: un"),
    ],
)
def test_lm_eval_filters(text: str, step: dict[str, Any], value: str) -> None:
    assert read(text, step, TAKE_FIRST).value == value


def test_an_option_that_begins_another_does_not_hide_it() -> None:
    step = {"function": "multi_choice_regex", "group_select": -1}
    assert read("Guilty of Romance", step, context=CRIME).value == "(B)"


@pytest.mark.parametrize(
    "step", [{"function": "regex"}, {"function": "multi_choice_regex"}, {"function": "regex_pos"}]
)
def test_a_fallback_is_no_answer(step: dict[str, Any]) -> None:
    assert read("nothing here", step, TAKE_FIRST) == Answer(None, "fallback")


def test_a_fallback_is_never_turned_into_an_answer() -> None:
    invented = {"function": "map", "mapping_dict": {"C": "C", "[invalid]": "C"}}
    assert read("no letter", LETTER, invented, TAKE_FIRST) == Answer(None, "fallback")
    chosen = {**LETTER, "fallback": "C"}
    assert read("no letter", chosen, {"function": "lowercase"}) == Answer(None, "fallback")


def test_a_text_that_the_table_lacks_is_no_answer() -> None:
    assert read("perhaps", {"function": "map", "mapping_dict": {"yes": "1"}}) == Answer(None, "map_default")


def test_a_blank_text_is_no_answer() -> None:
    assert read(" \n", TAKE_FIRST) == Answer(None, "empty")


def test_repeats_vote_and_failed_ones_vote_too() -> None:
    vote = (LETTER, {"function": "take_first_k", "k": 3}, {"function": "majority_vote"}, TAKE_FIRST)
    assert read(["(A)", "(B)", "(B)", "(A)", "(A)"], *vote).value == "B"
    assert read(["(A)", "no", "none", "(A)"], *vote) == Answer(None, "fallback")
    assert read(["(C)", "(B)"], {"function": "majority_vote"}).value == "(C)"


def test_fewer_repeats_than_wanted() -> None:
    with pytest.raises(MarathonError, match=r"needs 3 answers per row, got 1; set repeats: 3"):
        read("(A)", {"function": "take_first_k", "k": 3})


def test_pipelines_say_whether_they_need_options() -> None:
    assert not build_pipeline({"name": "a", "filter": [LETTER]}, "x").needs_choices
    assert build_pipeline({"name": "a", "filter": [{"function": "choice"}]}, "x").needs_choices


def test_a_choice_filter_refuses_an_open_question() -> None:
    with pytest.raises(
        MarathonError, match=r"reading 'test': one of its filters needs options, and the row has none"
    ):
        read("B", {"function": "choice"}, context=FilterContext())


def test_choice_text_gives_the_text_by_the_same_rule() -> None:
    assert read("The answer is d.", {"function": "choice"}) == Answer("D", "answer_is")
    assert read("The answer is d.", {"function": "choice_text"}) == Answer("Running water", "answer_is")
    assert read("I cannot tell", {"function": "choice_text"}) == Answer(None, "no_answer")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("the bell rang", "the bell rang"),
        ("Spoken Content: the bell rang", "the bell rang"),
        ('Spoken Content: "the bell rang"', "the bell rang"),
        ("Spoken Content: <the bell rang>", "the bell rang"),
        ("Transcription: the bell rang", "the bell rang"),
        ("**Transcript:** the bell rang", "the bell rang"),
        ("Sure! Here is the transcription: the bell rang", "the bell rang"),
        ("\u201cthe bell rang\u201d", "the bell rang"),
        ("'the bell rang'", "the bell rang"),
        ("assistant\nthe bell rang<|im_end|>", "the bell rang"),
        ("<think>easy</think>the bell rang", "the bell rang"),
        ("It is easy.</think>the bell rang", "the bell rang"),
        ("<reasoning>easy</reasoning>\n\nTranscription: the bell rang", "the bell rang"),
        ("<|im_start|>assistant\n<THINK>easy</think>\nthe bell rang<|im_end|>", "the bell rang"),
        ("<think>a <b>bold</b> idea</think>the bell rang<think>done</think>", "the bell rang"),
        ("<think>one</think>wait, the ball</think>the bell rang", "the bell rang"),
        ("the bell <think>or ball?</think>rang", "the bell rang"),
        ("the <bell> rang", "the <bell> rang"),
        ("The speaker says: the bell rang", "the bell rang"),
        ("The audio says: 'the bell rang'", "the bell rang"),
        ("In this recording, the speaker says: the bell rang", "the bell rang"),
        ("The transcription of the audio is: the bell rang", "the bell rang"),
        ("The transcript is as follows:\n\nthe bell rang", "the bell rang"),
        ("Sure, here is the transcription of the audio clip:\nthe bell rang", "the bell rang"),
        ("The spoken content of the audio is: the bell rang", "the bell rang"),
        ("Here's the transcript: the bell rang", "the bell rang"),
        ("**Transcription:**\n\nthe bell rang", "the bell rang"),
        ("Transkription: die Glocke", "die Glocke"),
        ("Transcripción: la campana", "la campana"),
        ("转录文本：铃响了", "铃响了"),
        ("書き起こし：鐘が鳴った", "鐘が鳴った"),
        ("◁think▷easy◁/think▷the bell rang", "the bell rang"),
        (
            "<|channel|>analysis<|message|>easy<|end|><|start|>assistant<|channel|>final<|message|>the bell",
            "the bell",
        ),
        ("The original content of this audio is: 'the bell rang'", "the bell rang"),
        ("The content of the recording is as follows:\nthe bell rang", "the bell rang"),
        ("<transcript>the bell rang</transcript>", "the bell rang"),
        ("## Transcript\nthe bell rang", "the bell rang"),
        ("**Transcription**\n\nthe bell rang", "the bell rang"),
        ('{"text": "the bell rang"}', "the bell rang"),
        ("the bell rang\n\nLet me know if you need anything else!", "the bell rang"),
        # what may be speech itself
        ("transcript\nthe bell rang", "transcript\nthe bell rang"),
        ("the content of the letter is: the bell rang", "the content of the letter is: the bell rang"),
        ("the bell rang let me know if you heard it", "the bell rang let me know if you heard it"),
        ('{"text": "one", "place": "two"}', '{"text": "one", "place": "two"}'),
        ("he said: the bell rang", "he said: the bell rang"),
        ("the speaker says the bell rang", "the speaker says the bell rang"),
        ("the woman said that it rang: twice", "the woman said that it rang: twice"),
        ("the text reads: twice", "the text reads: twice"),
        # never in the middle
        ("he said the transcript: is lost", "he said the transcript: is lost"),
        ("contents: of the box", "contents: of the box"),
        ("content: that is what he was", "content: that is what he was"),
        ('"yes" he said "no"', '"yes" he said "no"'),
        ("the bell <sep> rang", "the bell <sep> rang"),
        ("Spoken Content: one. Spoken Content: two", "one. Spoken Content: two"),
    ],
)
def test_transcript(text: str, said: str) -> None:
    assert read(text, {"function": "transcript"}, context=FilterContext()).value == said


@pytest.mark.parametrize(
    "text",
    [
        "",
        '""',
        "assistant\n",
        "Spoken Content:",
        "<think>still thinking",
        "<think>still thinking</think>",
        "still thinking</think>",
        "the bell <think>or ball",
    ],
)
def test_an_empty_transcript_is_no_answer(text: str) -> None:
    assert read(text, {"function": "transcript"}) == Answer(None, "empty")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"name": "a", "filter": [{"function": "regx"}]},
            r"t.yaml:1: no filter 'regx'. Did you mean regex\?",
        ),
        (
            {"name": "a", "filter": [{"function": "custom"}]},
            r"'custom' is not supported here: it runs Python",
        ),
        (
            {"name": "a", "filter": [{"function": "decontaminate"}]},
            r"not supported here: there is no training",
        ),
        (
            {"name": "a", "filter": [{**LETTER, "fallbak": "x"}]},
            r"takes no 'fallbak'. Did you mean fallback\?",
        ),
        (
            {"name": "a", "filter": [{"function": "regex", "regex_pattern": "("}]},
            r"'regex': regex_pattern: .*regular expression, got '\('",
        ),
        (
            {"name": "a", "filter": [{"function": "take_first_k", "k": "many"}]},
            r"'take_first_k': k: .*integer",
        ),
        ({"name": "a", "filter": [{"function": "take_first_k"}]}, r"'take_first_k': k: "),
        ({"name": "a", "filter": [{"function": "choice", "letters": 4}]}, r"'choice' takes no 'letters'"),
        ({"name": "a", "filter": []}, r"needs `filter`, a list"),
        ({"name": "a", "filter": ["regex"]}, r"a filter is \{function: name"),
        ({"filter": [TAKE_FIRST]}, r"a filter pipeline needs a name"),
        ({"name": "a\x1b[31mX", "filter": [TAKE_FIRST]}, r"needs a name of printable characters"),
        (
            {"name": "a", "filters": [TAKE_FIRST], "filter": [TAKE_FIRST]},
            r"no key 'filters'. Did you mean filter\?",
        ),
    ],
)
def test_mistakes_are_named(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=message):
        build_pipeline(spec, "t.yaml:1")


def test_names() -> None:
    names = filter_names()
    assert {"regex", "choice", "choice_text", "transcript", "audiomarathon.race"} <= set(names)
    assert len([name for name in names if name.startswith("audiomarathon.")]) == 10
