"""Holds rows of our own in the layouts of tasks of lm-eval, with answers to score (scripts/dev/peer_tasks.py).

The answers are right, wrong, worded, empty or without an option. Those of lmms-eval stand in lmms_task_cases.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """Holds one task: its YAML below the package's folder, where its rows stand, the rows, and one answer for each."""

    yaml: str
    dataset: str
    split: str
    rows: Sequence[Mapping[str, Any]]
    answers: Sequence[str]
    config: str = "default"
    #: The column that gets a sound.
    audio: str = ""


_LM = "lm_eval/tasks"


def _validated(number: str, spans: list[str]) -> dict[str, Any]:
    return {"number": number, "spans": spans, "date": {"day": "", "month": "", "year": ""}}


def _emotions(*scores: int) -> str:
    names = ("Calm", "Hopeful", "Annoyed", "Proud")
    return repr(
        {
            f"emotion{place}{end}": value
            for place, (name, score) in enumerate(zip(names, scores, strict=True), 1)
            for end, value in (("", name), ("_score", score))
        }
    )


def _qasper(question: str, free: str) -> dict[str, Any]:
    answer = {"unanswerable": False, "yes_no": None, "free_form_answer": free, "extractive_spans": []}
    return {
        "title": "Bells in fog",
        "abstract": "We listen to bells.",
        "qas": {"question": [question], "answers": [{"answer": [answer]}]},
    }


def _bbq(number: int, condition: str, label: int) -> dict[str, Any]:
    return {
        "example_id": number,
        "category": "Age",
        "context_condition": condition,
        "context": "A grandfather and a grandson met at the station.",
        "question": "Who forgot the ticket?",
        "question_polarity": "neg",
        "ans0": "The grandfather",
        "ans1": "The grandson",
        "ans2": "Unknown",
        "answer_info": {
            "ans0": ["grandfather", "old"],
            "ans1": ["grandson", "nonOld"],
            "ans2": ["unknown", "unknown"],
        },
        "additional_metadata": {"stereotyped_groups": ["old"]},
        "label": label,
    }


def _record(passage: int, query: int, answers: list[str]) -> dict[str, Any]:
    return {
        "passage": "Ada met Bo in Oslo.\n@highlight\nBo sang",
        "query": "@placeholder sang in Oslo",
        "entities": ["Ada", "Bo", "Oslo"],
        "answers": answers,
        "idx": {"passage": passage, "query": query},
    }


LM_EVAL: tuple[Case, ...] = (
    Case(
        f"{_LM}/drop/default.yaml",
        "EleutherAI/drop",
        "validation",
        [
            {
                "query_id": str(number),
                "passage": "Seven bells rang, then the north and the south one.",
                "question": "Which rang?",
                "answer": _validated(gold, spans),
                "validated_answers": {
                    "number": [gold],
                    "spans": [spans],
                    "date": [{"day": "", "month": "", "year": ""}],
                },
            }
            for number, (gold, spans) in enumerate([("7", []), ("", ["north", "south"]), ("", ["north"])])
        ],
        ["7", "the south and north", "east"],
    ),
    Case(
        f"{_LM}/eq_bench/default.yaml",
        "pbevan11/EQ-Bench",
        "validation",
        [
            {"prompt": f"Scene {number}", "reference_answer_fullscale": _emotions(7, 2, 0, 5)}
            for number in range(3)
        ],
        [
            "Calm: 7\nHopeful: 2\nAnnoyed: 0\nProud: 5",
            "Calm: 3\nHopeful: 9\nAnnoyed: 1\nProud: 5",
            "I feel calm.",
        ],
    ),
    Case(
        f"{_LM}/agieval/gaokao-mathcloze.yaml",
        "hails/agieval-gaokao-mathcloze",
        "test",
        [{"query": f"Q{number}", "answer": gold} for number, gold in enumerate(["\\frac{1}{2}", "12", "3"])],
        ["\\frac12", "12", "$4$"],
    ),
    Case(
        f"{_LM}/qasper/freeform.yaml",
        "allenai/qasper",
        "validation",
        [
            _qasper("What rang?", "a large bell"),
            _qasper("How long?", "two minutes"),
            _qasper("Who?", "nobody"),
        ],
        ["the large old bell", "two minutes", "a crowd"],
    ),
    Case(
        f"{_LM}/aime/aime.yaml",
        "gneubig/aime-1983-2024",
        "train",
        [{"Question": f"Q{number}", "Answer": gold} for number, gold in enumerate(["12", "045", "7"])],
        ["So \\boxed{12}", "$45$", "the answer is 7"],
    ),
    Case(
        f"{_LM}/hendrycks_math/hendrycks_math_algebra.yaml",
        "EleutherAI/hendrycks_math",
        "test",
        [
            {"problem": f"P{number}", "solution": f"Hence \\boxed{{{gold}}}."}
            for number, gold in enumerate(["x+1", "\\frac{3}{4}", "10\\%"])
        ],
        ["$x+1$", "\\frac34", "ten"],
        "algebra",
    ),
    Case(
        f"{_LM}/jfinqa/jfinqa_consistency.yaml",
        "ajtgjmdjp/jfinqa",
        "test",
        [
            {
                "pre_text": ["概要"],
                "post_text": [],
                "table_headers": ["年", "売上"],
                "table_rows": [["2024", "120"]],
                "question": "売上は?",
                "answer": gold,
            }
            for gold in ("120百万円", "増加した", "12.5%")
        ],
        ["Answer: 120百万円", "増加", "12.6%"],
        "consistency_checking",
    ),
    Case(
        f"{_LM}/bbq/bbq_generate.yaml",
        "oskarvanderwal/bbq",
        "test",
        [_bbq(0, "ambig", 2), _bbq(1, "disambig", 0), _bbq(2, "disambig", 1), _bbq(3, "ambig", 2)],
        ["The grandfather", "the grandfather did", "the grandfather", "That is not known"],
        "All",
    ),
    Case(
        f"{_LM}/super_glue/wsc/t5-prompt.yaml",
        "aps/super_glue",
        "validation",
        [
            {
                "text": "Ada thanked Bo because she was helped .",
                "span1_text": name,
                "span2_text": "she",
                "span2_index": 4,
                "label": label,
            }
            for name, label in (("Ada", 1), ("Bo", 0), ("the old Ada", 1))
        ],
        ["Ada", "Ada", "Bo"],
        "wsc.fixed",
    ),
    Case(
        f"{_LM}/super_glue/record/t5-prompt.yaml",
        "aps/super_glue",
        "validation",
        [_record(1, 1, ["Bo"]), _record(1, 2, ["Oslo", "the Oslo"]), _record(2, 1, ["Ada"])],
        ["Bo", "oslo!", "the Oslo", "Bo"],
        "record",
    ),
    Case(
        f"{_LM}/super_glue/multirc/t5-prompt.yaml",
        "aps/super_glue",
        "validation",
        [
            {
                "question": "Who rang?",
                "answer": name,
                "paragraph": "Ada rang.",
                "label": label,
                "idx": {"question": question},
            }
            for question, name, label in ((0, "Ada", 1), (0, "Bo", 0), (1, "Ada", 1), (1, "nobody", 0))
        ],
        ["True", "False", "True", "perhaps"],
        "multirc",
    ),
    Case(
        f"{_LM}/super_glue/cb/t5-prompt.yaml",
        "aps/super_glue",
        "validation",
        [{"hypothesis": "It rains.", "premise": "Rain fell.", "label": label} for label in (0, 1, 2, 0)],
        ["entailment", "Contradiction.", "neutral", "maybe"],
        "cb",
    ),
)
