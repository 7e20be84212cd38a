"""Every kind of fault that is looked for, in one list; what is found; and whether it ends the row's use."""

from __future__ import annotations

from typing import Literal, NamedTuple

Weight = Literal["error", "warning", "note"]


class Kind(NamedTuple):
    """`error`: the row can't be used as it is. `warning`: look at it. `note`: good to know."""

    weight: Weight
    meaning: str


KINDS: dict[str, Kind] = {
    "missing": Kind("error", "a row's audio file is not there"),
    "outside_root": Kind("error", "a row's audio path leaves the data set"),
    "empty": Kind("error", "an audio file of no bytes or no samples"),
    "unreadable": Kind("error", "a file that no decoder knows"),
    "truncated": Kind("error", "a file that ends before its header says"),
    "non_finite": Kind("error", "samples that are no numbers"),
    "silent": Kind("error", "nothing is heard (peak under -60 dB)"),
    "partly_silent": Kind("warning", "digital silence of 10 s or more, or over half of the file"),
    "clipped": Kind("warning", "over 0.1 % of the samples at full scale"),
    "dc_offset": Kind("warning", "the wave is off its middle by more than 5 %"),
    "wrong_rate": Kind("warning", "not the task's sample rate"),
    "multi_channel": Kind("warning", "more than one channel"),
    "too_short": Kind("warning", "shorter than the task's clips are"),
    "too_long": Kind("warning", "longer than the task's clips are"),
    "short_of_promise": Kind("note", "under the 90 s that long audio is meant to last"),
    "wrong_container": Kind("warning", "the name's ending is another format's"),
    "duplicate_audio": Kind("warning", "two files hold the same sound"),
    "changed": Kind("error", "a file whose bytes are not those that its build made"),
    "unlike_manifest": Kind("error", "not what the manifest given with --against says"),
    "orphan_audio": Kind("note", "a file beside the others that no row uses"),
    "broken_metadata": Kind("error", "metadata that can't be read"),
    "bad_row": Kind("error", "a row without the keys that a row needs"),
    "gold_not_an_option": Kind("error", "the answer is none of the options"),
    "duplicate_option": Kind("error", "two options of a row are the same text"),
    "empty_option": Kind("error", "an option without text"),
    "empty_question": Kind("error", "a question without text"),
    "empty_reference": Kind("error", "no reference text to compare a transcript with"),
    "true_distractor": Kind("error", "a wrong option that is true as well"),
    "option_count": Kind("warning", "another number of options than the task's other rows"),
    "duplicate_id": Kind("warning", "two rows with one id"),
    "duplicate_row": Kind("error", "the same question on the same audio twice"),
    "label_imbalance": Kind("warning", "the largest class has more than twice the rows of the smallest"),
    "letter_imbalance": Kind("warning", "answer letters that chance does not explain (p < 0.001)"),
    "option_order_bias": Kind("warning", "the option order gives the class away (p < 0.001)"),
    "row_count": Kind("note", "another number of rows than the release"),
}


class Fault(NamedTuple):
    """One fault: which kind, in which task, at what place, and what was seen."""

    kind: str
    task: str
    where: str
    seen: str

    @property
    def weight(self) -> Weight:
        return KINDS[self.kind].weight
