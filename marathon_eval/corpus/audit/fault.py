"""Lists every kind of fault that `doctor` looks for, with its meaning and its weight, and defines a fault."""

from __future__ import annotations

from typing import Literal, NamedTuple

Weight = Literal["error", "warning", "note"]


class FaultKind(NamedTuple):
    """Describes a kind of fault. `error`: the row can't be used as it is. `warning`: check it. `note`: good to know."""

    weight: Weight
    meaning: str


FAULT_KINDS: dict[str, FaultKind] = {
    "missing": FaultKind("error", "a row's audio file is not there"),
    "outside_root": FaultKind("error", "a row's audio path leaves the data set"),
    "empty": FaultKind("error", "an audio file of no bytes or no samples"),
    "unreadable": FaultKind("error", "a file that cannot be decoded as audio"),
    "truncated": FaultKind("error", "a file that ends before its header says"),
    "non_finite": FaultKind("error", "samples that are not finite numbers"),
    "silent": FaultKind("error", "a silent file (peak under -60 dB of full scale)"),
    "partly_silent": FaultKind("warning", "digital silence of 10 s or more, or over half of the file"),
    "clipped": FaultKind("warning", "over 0.1 % of the samples at full scale"),
    "clips_resampled": FaultKind(
        "note", "over 0.1 % of the samples above full scale once resampled to 16 kHz, where servers clip them"
    ),
    "anti_phase": FaultKind("warning", "channels that cancel each other when they are averaged to mono"),
    "dc_offset": FaultKind(
        "warning", "the mean of the samples differs from zero by more than 5 % of full scale"
    ),
    "wrong_rate": FaultKind("warning", "not the task's sample rate"),
    "multi_channel": FaultKind("warning", "more than one channel"),
    "several_tracks": FaultKind("warning", "several audio tracks, of which one is decoded"),
    "too_short": FaultKind("warning", "shorter than the task's clips are"),
    "too_long": FaultKind("warning", "longer than the task's clips are"),
    "short_of_promise": FaultKind(
        "note", "shorter than the data set's description promises its audio to be (AudioMarathon: 90 s)"
    ),
    "wrong_container": FaultKind("warning", "the file name's suffix belongs to another format"),
    "duplicate_audio": FaultKind("warning", "two files hold the same sound"),
    "changed": FaultKind("error", "a file whose bytes differ from those that its build wrote"),
    "unlike_manifest": FaultKind("error", "a difference from the manifest of another copy"),
    "orphan_audio": FaultKind("note", "a file that no row uses, in a folder whose other files are used"),
    "broken_metadata": FaultKind("error", "metadata that can't be read"),
    "bad_row": FaultKind("error", "a row that lacks a required key"),
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
    "letter_imbalance": FaultKind(
        "warning", "answer letters are spread more unevenly than chance explains (p < 0.001)"
    ),
    "option_order_bias": FaultKind("warning", "the class can be guessed from the answer letter (p < 0.001)"),
    "gold_not_label": FaultKind("error", "an answer that contradicts the row's own label column"),
    "unknown_class": FaultKind("warning", "a label that no other row of the task has"),
    "short_reference": FaultKind(
        "warning",
        "a transcript far too short for its audio, beside two or more others or for any speech (12 characters a minute)",
    ),
    "stretch_outside": FaultKind("error", "start and stop that are not inside the file"),
    "repeated_clip": FaultKind("warning", "a row that holds the same sound twice"),
    "rate_tells_class": FaultKind(
        "warning", "the class can be guessed from the sample rate or the channels (p < 0.001)"
    ),
    "unfinished_build": FaultKind("error", "a build that was broken off; the same command finishes it"),
    "row_count": FaultKind("note", "another number of rows than the release has"),
}


class Fault(NamedTuple):
    """Holds one fault: its kind, its task (empty for files without rows), its place, and what the check saw there."""

    kind: str
    task: str
    where: str
    seen: str

    @property
    def weight(self) -> Weight:
        return FAULT_KINDS[self.kind].weight
