"""Every kind of fault that is looked for, in one list; what is found; and whether it ends the row's use."""

from __future__ import annotations

from typing import Literal, NamedTuple

Weight = Literal["error", "warning", "note"]


class FaultKind(NamedTuple):
    """`error`: the row can't be used as it is. `warning`: look at it. `note`: good to know."""

    weight: Weight
    meaning: str


FAULT_KINDS: dict[str, FaultKind] = {
    "missing": FaultKind("error", "a row's audio file is not there"),
    "outside_root": FaultKind("error", "a row's audio path leaves the data set"),
    "empty": FaultKind("error", "an audio file of no bytes or no samples"),
    "unreadable": FaultKind("error", "a file that no decoder knows"),
    "truncated": FaultKind("error", "a file that ends before its header says"),
    "non_finite": FaultKind("error", "samples that are no numbers"),
    "silent": FaultKind("error", "nothing is heard (peak under -60 dB)"),
    "partly_silent": FaultKind("warning", "digital silence of 10 s or more, or over half of the file"),
    "clipped": FaultKind("warning", "over 0.1 % of the samples at full scale"),
    "dc_offset": FaultKind("warning", "the wave is off its middle by more than 5 %"),
    "wrong_rate": FaultKind("warning", "not the task's sample rate"),
    "multi_channel": FaultKind("warning", "more than one channel"),
    "too_short": FaultKind("warning", "shorter than the task's clips are"),
    "too_long": FaultKind("warning", "longer than the task's clips are"),
    "short_of_promise": FaultKind("note", "under the 90 s that long audio is meant to last"),
    "wrong_container": FaultKind("warning", "the name's ending is another format's"),
    "duplicate_audio": FaultKind("warning", "two files hold the same sound"),
    "changed": FaultKind("error", "a file whose bytes are not those that its build made"),
    "unlike_manifest": FaultKind("error", "not what the manifest given with --against says"),
    "orphan_audio": FaultKind("note", "a file beside the others that no row uses"),
    "broken_metadata": FaultKind("error", "metadata that can't be read"),
    "bad_row": FaultKind("error", "a row without the keys that a row needs"),
    "gold_not_an_option": FaultKind("error", "the answer is none of the options"),
    "duplicate_option": FaultKind("error", "two options of a row are the same text"),
    "empty_option": FaultKind("error", "an option without text"),
    "empty_question": FaultKind("error", "a question without text"),
    "empty_reference": FaultKind("error", "no reference text to compare a transcript with"),
    "true_distractor": FaultKind("error", "a wrong option that is true as well"),
    "option_count": FaultKind("warning", "another number of options than the task's other rows"),
    "duplicate_id": FaultKind("warning", "two rows with one id"),
    "duplicate_row": FaultKind("error", "the same question on the same audio twice"),
    "label_imbalance": FaultKind("warning", "the largest class has more than twice the rows of the smallest"),
    "letter_imbalance": FaultKind("warning", "answer letters that chance does not explain (p < 0.001)"),
    "option_order_bias": FaultKind("warning", "the option order gives the class away (p < 0.001)"),
    "row_count": FaultKind("note", "another number of rows than the release"),
}


class Fault(NamedTuple):
    """One fault: which kind, in which task, at what place, and what was seen."""

    kind: str
    task: str
    where: str
    seen: str

    @property
    def weight(self) -> Weight:
        return FAULT_KINDS[self.kind].weight
