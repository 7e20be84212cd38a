"""Holds rows of our own in the layouts of audio tasks of lmms-eval, with answers to score (scripts/dev/peer_tasks.py).

No answer is one from which lmms-eval guesses an option at random.
"""

from __future__ import annotations

import json

from helpers.peer_task_cases import Case

_LMMS = "lmms_eval/tasks"
_COLOURS = {
    "A": "a bell",
    "B": "a drum",
    "C": "a horn",
    "D": "a flute",
}
_SOUNDS = ["Laughter", "Sniff", "Throat clearing", "Cough", "Sigh", "Sneeze"]

LMMS_EVAL: tuple[Case, ...] = (
    Case(
        f"{_LMMS}/vocalsound/vocalsound_test.yaml",
        "lmms-lab-audio/vocalsound",
        "test",
        [
            {"answer": sound, "age_group": place % 3 + 1, "spk_id": f"{'fm'[place % 2]}{place:04}"}
            for place, sound in enumerate(_SOUNDS)
        ],
        ["Laughter", "It is a sniff.", " throat \n", "a sneeze", "", "Sneeze"],
        audio="audio",
    ),
    Case(
        f"{_LMMS}/clotho_aqa/clotho_aqa_test.yaml",
        "lmms-lab-audio/ClothoAQA",
        "clotho_aqa_test_filtered",
        [
            {"question": f"What is heard {place}?", "answer": gold}
            for place, gold in enumerate(["bell", "yes", "two", "rain"])
        ],
        [" Bell.\n", "no", "two", "the rain"],
        "clotho_aqa",
        "audio",
    ),
    Case(
        f"{_LMMS}/muchomusic/muchomusic.yaml",
        "lmms-lab-audio/muchomusic",
        "test",
        [
            {
                "instruction": "Which instrument?",
                "choices": "(A) bell (B) drum (C) horn (D) flute",
                "answer": f"({gold}) it",
            }
            for gold in "ABCDA"
        ],
        ["A", "(B) drum", "The answer is D.", " D ", "A or B ? B"],
        audio="context",
    ),
    Case(
        f"{_LMMS}/mmar/mmar.yaml",
        "ngqtrung/mmar",
        "test",
        [
            {
                "id": f"r{place}",
                "question": "What rings?",
                "choices": [f"{letter}. {text}" for letter, text in _COLOURS.items()],
                "answer": gold,
                "category": "Signal",
                "subcategory": "pitch",
                "modality": "sound",
            }
            for place, gold in enumerate("ABCD")
        ],
        ["A", "B. a drum", "I think that it must be a horn", "(A)"],
        audio="audio",
    ),
    Case(
        f"{_LMMS}/mmsu/mmsu.yaml",
        "ngqtrung/mmsu",
        "test",
        [
            {
                "question": "What rings?",
                **{f"choice_{letter.lower()}": text for letter, text in _COLOURS.items()},
                "answer": gold,
                "category": "Perception",
                "sub_category": "Linguistics",
                "task_name": "tone",
            }
            for gold in "ABCD"
        ],
        ["A", "B.", "I think that it must be a horn", "C"],
        audio="audio",
    ),
    Case(
        f"{_LMMS}/mmau/mmau_test_mini.yaml",
        "lmms-lab-audio/mmau",
        "test_mini",
        [
            {
                "id": f"r{place}",
                "question": "What rings?",
                "choices": json.dumps(list(_COLOURS.values())),
                "answer": text,
                "task": "sound" if place < 2 else "music",
            }
            for place, text in enumerate(_COLOURS.values())
        ],
        ["A", "(C)", "C.", "It is D"],
        audio="audio",
    ),
    Case(
        f"{_LMMS}/librispeech/librispeech_test_clean.yaml",
        "lmms-lab-audio/librispeech",
        "librispeech_test_clean",
        [
            {"gt": text, "source": "own", "task": "asr_en"}
            for text in ("THE BELL RANG AT NINE", "NOBODY WAS AT HOME", "IT'S COLOURFUL")
        ],
        ["The bell rang at 9.", "nobody was home", "it is colorful"],
        "librispeech_test_clean",
        "audio",
    ),
    Case(
        f"{_LMMS}/dream_tts_mcq/dream_tts_mcq_test.yaml",
        "AudioLLMs/dream_tts_mcq_test",
        "test",
        [
            {
                "instruction": "Where are they?",
                "choices": "(A) at home (B) at sea (C) nowhere",
                "answer": f"({gold}) it",
            }
            for gold in "ABCA"
        ],
        ["The answer is A", "(C)", "c", "no idea"],
        audio="context",
    ),
)
