"""Reproduces AIR-Bench's released rules: a letter at the start or last but one (foundation), two integers (chat).

Source: score_foundation.py and cal_score.py of https://github.com/OFA-Sys/AIR-Bench. Known oddities, kept on purpose:
any sentence that begins with a capital A-D is read as that letter ("Answer: C" is A), "**C**" is no answer, a row
without a letter leaves the denominator, and a gold text that is none of the options ends the run. Only `paper`
readings use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

#: `dropped` leaves the denominator; `abort` (no gold letter) and `crash` are where the script stops.
AirBenchVerdict = Literal["correct", "wrong", "dropped", "abort", "crash"]

#: The letters that score_foundation.py reads.
AIR_BENCH_LETTERS = "ABCD"
#: The five lines of cal_score.py and the tasks that each pools.
CHAT_LINES = {
    "speech": ("speech_QA", "speech_dialogue_QA"),
    "sound": ("sound_QA", "sound_generation_QA"),
    "music": ("music_QA", "music_generation_analysis_QA"),
    "speech_and_sound": ("speech_and_sound_QA",),
    "speech_and_music": ("speech_and_music_QA",),
}


class Letter(NamedTuple):
    """Holds the letter that the script reads in a response, None where it reads none, and the rule that decided."""

    value: str | None
    rule: str


def air_bench_letter(response: str) -> Letter:
    """Return the letter that the script reads in one response: the first character, else the last but one."""
    text = response.strip().replace("\n", "")
    if text in ("", "None"):
        return Letter(None, "empty")
    if text[0] in AIR_BENCH_LETTERS:
        return Letter(text[0], "first_character")
    if len(text) > 1 and text[-2] in AIR_BENCH_LETTERS:
        return Letter(text[-2], "last_but_one")
    return Letter(None, "unparsed")


def gold_letter(row: Mapping[str, Any]) -> str | None:
    """Return the letter of the first option whose text equals `answer_gt`; None where none does.

    An absent third or fourth option equals a null answer.

    Raises KeyError where the script does.
    """
    gold = row["answer_gt"]
    if gold == row["choice_a"]:
        return "A"
    if gold == row["choice_b"]:
        return "B"
    later = (("C", row.get("choice_c")), ("D", row.get("choice_d")))
    return next((name for name, text in later if text == gold), None)


def air_bench_verdict(row: Mapping[str, Any]) -> AirBenchVerdict:
    """Return the script's verdict on one row of `Foundation_result_modelx.jsonl`."""
    if not isinstance(row.get("task_name"), (str, type(None))) or "task_name" not in row:
        return "crash"
    if row["task_name"] is None:
        return "dropped" if "dataset_name" in row else "crash"
    if not isinstance(row.get("dataset_name"), str) or not isinstance(row.get("response"), str):
        return "crash"
    letter = air_bench_letter(row["response"])
    if letter.value is None:
        return "dropped"
    try:
        gold = gold_letter(row)
    except KeyError:
        return "crash"
    if gold is None:
        return "abort"
    return "correct" if letter.value == gold else "wrong"


def air_bench_printout(rows: Sequence[Mapping[str, Any]], verdicts: Sequence[AirBenchVerdict]) -> list[str]:
    """Return the lines that the script prints: per subset in order of appearance, then the sum and the failures.

    Rows on which the script would stop count as wrong. A subset without a scored row, on which it would stop too,
    gets a line that says so.
    """
    cells: dict[str, list[int]] = {}
    failed = 0
    for row, mark in zip(rows, verdicts, strict=True):
        if row.get("task_name") is None and mark == "dropped":
            continue
        cell = cells.setdefault(f"{row.get('task_name')}_{row.get('dataset_name')}", [0, 0])
        if mark == "dropped":
            failed += 1
        else:
            cell[0] += 1
            cell[1] += mark == "correct"
    lines = [
        f"{name}: Sum={n}, correct={right}, acc={right / n}" if n else f"{name}: no row with a letter"
        for name, (n, right) in cells.items()
    ]
    return [*lines, f"total_sum: {sum(n for n, _ in cells.values())}", f"fail_num: {failed}"]


def two_scores(reply: str) -> tuple[int, int] | None:
    """Return the two integers of a chat judge's reply as cal_score.py reads them; None where it fails.

    The first assistant's score comes first. The reply has to be two integers with one space between, none above 10.
    Zero, minus and full-width digits pass.
    """
    parts = reply.strip().replace("\n", "").split(" ")
    if len(parts) != 2:
        return None
    try:
        first, second = (int(part) for part in parts)
    except ValueError:
        return None
    return None if first > 10 or second > 10 else (first, second)


def chat_printout(replies: Sequence[tuple[str, str]], swapped: bool) -> list[str]:
    """Return the lines that cal_score.py prints of one pass, from pairs of task_name and judge's reply.

    In the swapped pass the model is the first assistant, and the script still calls its scores gpt4_avg_score.
    Replies with two parts that are no scores count both as successes and as failures, which makes the percentage
    wrong. A line without a row, on which the script would stop, says so.
    """
    lines: list[str] = []
    scored = [(name, two_scores(reply)) for name, reply in replies]
    for line, names in CHAT_LINES.items():
        pairs = [scores for name, scores in scored if scores is not None and name in names]
        n = len(pairs)
        if not n:
            lines.append(f"{line}: no row with two scores")
            continue
        firsts, seconds = [first for first, _ in pairs], [second for _, second in pairs]
        wins = sum(first > second if swapped else second > first for first, second in pairs)
        means = f"gpt4_avg_score={sum(firsts) / n}, llm_avg_score={sum(seconds) / n}"
        lines.append(f"{line}: Sum={n}, Win_Rate={wins / n}, {means}")
    failed = sum(scores is None for _, scores in scored)
    succeeded = sum(len(reply.strip().replace("\n", "").split(" ")) == 2 for _, reply in replies)
    share = succeeded / (succeeded + failed) if scored else 0.0
    return [*lines, f"fail_num: {failed}, success_num: {succeeded}, percentage: {share}"]
