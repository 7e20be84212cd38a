"""Builds the three tasks on sounds other than speech: tau (scenes), gtzan (genres), desed (sound events)."""

from __future__ import annotations

from typing import Any

from demo.kit import Kit, lettered
from demo.noises import EVENTS, SCENES, noise, scene
from demo.origin import COMPUTED, Recording, joined
from demo.sources import asterisk_prompts, fma_songs, onsen_water, tuxpaint_events
from demo.tunes import STYLES, TUNE_RATE, tune
from demo.waves import RATE, Wave, layered, levelled, repeat, seconds

LENGTH = 95.0
SCENE_NAMES = {
    "airport": "Inside an airport",
    "shopping_mall": "Inside a shopping mall",
    "metro_station": "In a metro station",
    "street_pedestrian": "On a pedestrian street",
    "public_square": "In a public square",
    "street_traffic": "On a street with traffic",
    "tram": "Riding a tram",
    "bus": "Riding a bus",
    "metro": "Riding the metro",
    "park": "In a park",
}


def tau(kit: Kit) -> None:
    """Write one clip for each of the ten scenes."""
    rows: list[dict[str, Any]] = []
    for label in SCENES:
        path = f"{label}/{label}-mini-1_segment_1.wav"
        soundscape = Recording(scene(kit.random, label, LENGTH), COMPUTED)
        origin = kit.clip(f"TAU/concatenated_resampled/{path}", soundscape)
        options, place = kit.choices(label, list(SCENES))
        rows.append(
            {
                "path": path,
                "question": "Where was this recorded?",
                **lettered([f"{SCENE_NAMES[option]} - {option}" for option in options]),
                "answer_gt": "ABCD"[place],
                "scene_label": label,
                "task_name": "acoustic_scene_classification",
                "dataset_name": "mini",
                "uniq_id": len(rows),
                **origin,
            }
        )
    kit.metadata("TAU/concatenated_resampled/acoustic_scene_task_meta.json", rows)


def gtzan(kit: Kit) -> None:
    """Write songs of the Free Music Archive for hip-hop, pop and rock, repeated; other genres get computed tunes."""
    folder = "GTZAN/concatenated_audio"
    rows: list[dict[str, Any]] = []
    for genre in STYLES:
        songs = fma_songs(kit.shelf, genre, TUNE_RATE)
        songs = songs or [Recording(tune(kit.random, genre, LENGTH), COMPUTED)]
        for number, song in enumerate(songs, start=1):
            path = f"{genre}/{genre}_mini_{number}.wav"
            looped = Recording(repeat(song.wave, LENGTH, TUNE_RATE), song.origin)
            origin = kit.clip(f"{folder}/wav/{path}", looped, TUNE_RATE)
            options, place = kit.choices(genre, list(STYLES))
            rows.append(
                {
                    "path": path,
                    "question": "Which genre is this music?",
                    **lettered([f"{option.capitalize()} - {option}" for option in options]),
                    "answer_gt": "ABCD"[place],
                    "genre_label": genre,
                    "task_name": "music_genre_classification",
                    "dataset_name": "mini",
                    "uniq_id": len(rows),
                    **origin,
                }
            )
    kit.metadata(f"{folder}/music_genre_classification_meta.json", rows)


def desed(kit: Kit) -> None:
    """Write one clip for each of the ten household sounds, which repeats over a faint room noise."""
    folder = "DESED/DESED_dataset/concatenated_audio"
    tasks: list[dict[str, Any]] = []
    for event in EVENTS:
        path = f"{event.lower().replace(' ', '_')}_mini_1.wav"
        origin = kit.clip(f"{folder}/{path}", in_a_room(kit, event_sounds(kit, event)))
        options, place = kit.choices(event, list(EVENTS))
        tasks.append(
            {
                "path": path,
                "task_type": "sound_event_detection",
                "question": "Which of these sounds can be heard in the recording?",
                "choices": dict(zip("ABCD", options, strict=True)),
                "answer_gt": "ABCD"[place],
                "all_events": [event],
                "primary_event": event,
                "correct_event": event,
                "path_extracted_event": event,
                "uniq_id": len(tasks),
                **origin,
            }
        )
    content = {"task_info": {"name": "mini"}, "missing_files_info": [], "tasks": tasks}
    kit.metadata(f"{folder}/desed_sound_event_detection_task.json", content)


def event_sounds(kit: Kit, event: str) -> list[Recording]:
    """Return recordings of one class, or computed sounds if there are none."""
    if event == "Speech":
        found = asterisk_prompts(kit.shelf)[:12]
    elif event == "Running water":
        found = onsen_water(kit.shelf)
    else:
        found = tuxpaint_events(kit.shelf, event)
    return found or [Recording(EVENTS[event](kit.random), COMPUTED) for _ in range(4)]


def in_a_room(kit: Kit, sounds: list[Recording]) -> Recording:
    """Return LENGTH seconds of faint noise in which the sounds, at most 8 s of each, repeat every few seconds."""
    bed = levelled(repeat(noise(kit.random, 20.0, 40, 1200), LENGTH), 0.006)
    events: list[tuple[float, Wave]] = []
    moment = 1.0
    while moment < LENGTH - 3.0:
        wave = sounds[len(events) % len(sounds)].wave[: 8 * RATE]
        events.append((moment, levelled(wave, 0.06)))
        moment += seconds(wave) + float(kit.random.uniform(1.0, 4.0))
    origin = joined([sound.origin for sound in sounds], "; over computed noise")
    return Recording(layered(bed, events), origin)
