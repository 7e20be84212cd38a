"""Builds the four tasks on speakers: vesus (emotion), had (real or fake), vox_age and vox_gender."""

from __future__ import annotations

from typing import Any

import numpy as np

from demo.kit import Kit, lettered
from demo.origin import Origin, Recording, joined
from demo.sources import TUXPAINT_READERS, asterisk_prompts, tuxpaint_names
from demo.spoken import texts
from demo.voices import Voice
from demo.waves import banded, fill, levelled, repeat, silence

LENGTH = 95.0
TELEPHONE = (300.0, 3400.0)
#: emotion -> (what the option says of it, words a minute, pitch, pitch range, loudness)
EMOTIONS = {
    "Angry": ("a raised, sharp voice", 210, 60, 90, 0.14),
    "Happy": ("a bright, lively voice", 185, 75, 95, 0.09),
    "Sad": ("a slow, sinking voice", 105, 30, 25, 0.04),
    "Fearful": ("a hurried, trembling voice", 230, 85, 60, 0.06),
    "Monotone": ("an even voice without feeling", 150, 45, 0, 0.07),
}
ACTORS = {"1": "en-us+m1", "2": "en-us+f1", "3": "en-gb-x-rp+m3", "4": "en-gb-x-rp+f4"}
#: (person, emotion); person 2 happy is a row that the paper's protocol leaves out
ACTED = (
    ("1", "Angry"),
    ("1", "Happy"),
    ("2", "Sad"),
    ("2", "Happy"),
    ("3", "Fearful"),
    ("3", "Monotone"),
    ("4", "Angry"),
    ("4", "Sad"),
)
FAKES = (
    Voice(flite="slt"),
    Voice(flite="rms"),
    Voice("en-us+f1"),
    Voice("en-gb-x-rp+m2"),
    Voice(flite="awb"),
)
AGES = {
    30: "Young Adult (18-30)",
    40: "Early Career (31-40)",
    50: "Mid Career (41-50)",
    70: "Senior (51-70)",
    120: "Elderly (71+)",
}
#: made-up speakers of both Vox tasks: sex, age, voice
SPEAKERS = {
    "id90001": ("Female", 24, Voice("en-us+linda", rate=185, pitch=65)),
    "id90002": ("Male", 36, Voice("en-us+m1", rate=170, pitch=45)),
    "id90003": ("Female", 47, Voice("en-gb-x-rp+f4", rate=155, pitch=48)),
    "id90004": ("Male", 63, Voice("en-gb-x-rp+m7", rate=135, pitch=32)),
    "id90005": ("Male", 80, Voice("en-us+grandpa", rate=110, pitch=25)),
}


def neutral(kit: Kit, random: np.random.Generator, voice: Voice, rms: float = 0.08) -> Recording:
    """Return the neutral sentences in random order, repeated to LENGTH seconds."""
    sentences = texts("sentences")["neutral"]
    text = " ".join(sentences[i] for i in random.permutation(len(sentences)))
    spoken = kit.speaker.say(text, voice, rms=rms)
    return Recording(repeat(spoken.wave, LENGTH), spoken.origin, text)


def vesus(kit: Kit) -> None:
    """Write synthetic voices whose pace, pitch and loudness stand for an emotion; no real emotion is heard."""
    rows = []
    for number, (person, emotion) in enumerate(ACTED, start=1):
        _, pace, pitch, spread, loudness = EMOTIONS[emotion]
        acted = neutral(kit, kit.random, Voice(ACTORS[person], pace, pitch, spread), loudness)
        path = f"{person}/person_{person}_{emotion}_sentences_{number:03d}_1.6min.wav"
        origin = kit.clip(f"VESUS/{path}", acted)
        options, place = kit.choices(emotion, list(EMOTIONS))
        rows.append(
            {
                "path": path,
                "question": "Which emotion does the speaker express?",
                **lettered([f"{option} - {EMOTIONS[option][0]}" for option in options]),
                "answer_gt": "ABCD"[place],
                "emotion_label": emotion.lower(),
                "person_id": person,
                "task_name": "emotion_recognition",
                "dataset_name": "mini",
                "uniq_id": number,
                **origin,
            }
        )
    kit.metadata("VESUS/audio_emotion_dataset.json", rows)


def had(kit: Kit) -> None:
    """Write the same short announcements by a person (4 clips) and by machines (5), all in the telephone's band.

    The band is the same so that the recordings' own lack of high frequencies does not tell them apart.
    """
    prompts = [prompt for prompt in asterisk_prompts(kit.shelf) if len(prompt.text.split()) < 5]
    for number in range(1, 5):
        person = announced(kit, prompts) if prompts else stand_in(kit)
        kit.clip(f"HAD/concatenated_audio/real/HAD_train_real_{number}.wav", telephone(person))
    words = [prompt.text for prompt in prompts] or texts("sentences")["neutral"]
    for number, voice in enumerate(FAKES, start=1):
        order = kit.random.permutation(len(words))[:70]
        spoken = kit.speaker.say(" ".join(words[i].strip(" .") + "." for i in order), voice)
        machine = Recording(repeat(spoken.wave, LENGTH), spoken.origin)
        kit.clip(f"HAD/concatenated_audio/fake/HAD_train_fake_{number}.wav", telephone(machine))


def announced(kit: Kit, prompts: list[Recording]) -> Recording:
    """Return a person's short announcements in random order."""
    order = kit.random.permutation(len(prompts))
    wave = fill([prompts[i].wave for i in order], LENGTH, silence(0.4))
    return Recording(wave, joined([prompt.origin for prompt in prompts]))


def stand_in(kit: Kit) -> Recording:
    """Return a synthetic voice if no recording of a person is available; the label then means nothing."""
    spoken = neutral(kit, kit.random, Voice("en-gb-x-rp"))
    origin = Origin(
        "synthetic", f"stand-in for a real voice: {spoken.origin.provenance}", spoken.origin.licence
    )
    return Recording(spoken.wave, origin)


def telephone(recording: Recording) -> Recording:
    return Recording(levelled(banded(recording.wave, *TELEPHONE)), recording.origin)


# -- the two Vox tasks share the recordings of their made-up speakers -------------------------------------------

VOX = "VoxCeleb/concatenated_audio"


def speaker_clip(kit: Kit, speaker: str, recording: Recording) -> dict[str, Any]:
    """Write a speaker's clip; return the fields that the rows of both tasks share."""
    path = f"{speaker}/{speaker}_segment_1.wav"
    origin = kit.clip(f"{VOX}/wav/{path}", recording)
    return {"path": path, "speaker_id_original": speaker, "dataset_name": "mini", **origin}


def made_up(kit: Kit) -> dict[str, dict[str, Any]]:
    """Return the made-up speakers' rows, which are the same bytes in both tasks."""
    return {
        speaker: speaker_clip(kit, speaker, neutral(kit, kit.chance(speaker), voice))
        for speaker, (_, _, voice) in SPEAKERS.items()
    }


def vox_age(kit: Kit) -> None:
    """Write five made-up speakers, one per age group, by pitch and pace; scores say nothing about real age."""
    rows: list[dict[str, Any]] = []
    for speaker, known in made_up(kit).items():
        age = SPEAKERS[speaker][1]
        rows.append(
            {
                **known,
                "question": "To which age group does the speaker belong?",
                **lettered(list(AGES.values())),
                "answer_gt": next(group for limit, group in AGES.items() if age <= limit),
                "speaker_age": age,
                "task_name": "speaker_age_classification",
                "uniq_id": len(rows),
            }
        )
    kit.metadata(f"{VOX}/age_classification_task_meta.json", rows)


def vox_gender(kit: Kit) -> None:
    """Write the made-up speakers, and real ones if available."""
    sexes = {speaker: sex for speaker, (sex, _, _) in SPEAKERS.items()}
    known = made_up(kit)
    for speaker, sex, recordings in real_speakers(kit):
        if recordings:
            order = kit.chance(speaker).permutation(len(recordings))
            wave = fill([recordings[i].wave for i in order], LENGTH, silence(0.4))
            sexes[speaker] = sex
            known[speaker] = speaker_clip(kit, speaker, Recording(wave, recordings[0].origin))
    rows = [
        {
            **known[speaker],
            "question": "Is the speaker male or female?",
            "choice_a": "Male",
            "choice_b": "Female",
            "answer_gt": sex,
            "task_name": "speaker_gender_classification",
            "uniq_id": number,
        }
        for number, (speaker, sex) in enumerate(sexes.items())
    ]
    kit.metadata(f"{VOX}/gender_id_task_meta.json", rows)


def real_speakers(kit: Kit) -> list[tuple[str, str, list[Recording]]]:
    """Return (speaker, sex, recordings) of the people whose voices the packages carry."""
    readers = [
        (f"id9100{number}", sex, tuxpaint_names(kit.shelf, language))
        for number, (language, sex) in enumerate(TUXPAINT_READERS.items(), start=1)
    ]
    return [*readers, ("id91007", "Female", asterisk_prompts(kit.shelf))]
