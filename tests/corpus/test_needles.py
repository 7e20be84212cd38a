"""Tests position probes: where events and distractors lie, what is asked, and the flags of `build`."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers import make_source_corpora
from helpers.audiomarathon_prompts import load_shipped
from helpers.built_recipe import Made, at_test_rate
from helpers.called_command import called
from marathon_eval.corpus.build.needle_flags import with_needle_flags
from marathon_eval.corpus.build.pipeline import Order, plan
from marathon_eval.corpus.build.recipe import Recipe, load_recipe
from marathon_eval.errors import MarathonError

RATE, SOUND = make_source_corpora.RATE, 1.5


def probes(name: str, lengths: str, depths: str, distractors: int) -> Recipe:
    recipe = with_needle_flags(load_recipe(name), lengths, depths, distractors)
    return recipe.model_copy(update={"rate": RATE})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(probes("needle", "5,30", "0,50,100", 2), tmp_path_factory.mktemp("needle"))


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(at_test_rate("needle_words"), tmp_path_factory.mktemp("words"))


def of_one_length(made: Made) -> dict[tuple[str, str], list[dict[str, Any]]]:
    groups = defaultdict(list)
    for row in made.rows():
        groups[row["event"], row["length_seconds"]].append(row)
    return groups


def test_events_and_distractors_lie_where_the_rows_say_and_do_not_overlap(made: Made) -> None:
    assert len(made.rows()) == 3 * 2 * 3
    for row in made.rows():
        samples, rate = soundfile.read(made.root / row["path"])
        sounds = [row["event_start"], *row["distractor_starts"]]
        assert len(sounds) == 3
        over = np.zeros(len(samples), int)
        for start in sounds:
            over[round(start * rate) : round((start + SOUND) * rate)] += 1
        assert over.max() == 1, "two sounds at once"
        for start in sounds:
            inside = samples[round(start * rate) : round((start + SOUND) * rate)]
            difference = 10 * np.log10(np.mean(inside**2) / np.mean(samples[over == 0] ** 2))
            # 10 dB over the bed, to which the bed itself adds 0.4 dB and the fades take a little
            assert difference == pytest.approx(10.3, abs=0.8)


def test_all_depths_share_options_and_distractors(made: Made) -> None:
    for (event, length), rows in of_one_length(made).items():
        assert len({tuple(row[f"choice_{letter}"] for letter in "abcd") for row in rows}) == 1
        assert len({frozenset(row["distractors"]) for row in rows}) == 1
        assert event not in rows[0]["distractors"]
        starts = {float(row["depth_percent"]): row["event_start"] for row in rows}
        free = float(length) - SOUND
        assert starts == pytest.approx({0.0: 0.0, 50.0: free / 2, 100.0: free}, abs=0.01)


def test_a_sound_that_is_heard_beside_the_event_is_no_option(made: Made) -> None:
    texts = made.recipe.question
    assert texts is not None
    for row in made.rows():
        shown = {row[f"choice_{letter}"] for letter in "abcd"}
        assert texts.choices[row["event"]] in shown
        assert not shown & {texts.choices[label] for label in row["distractors"]}


def test_words_that_distract_are_options(words: Made) -> None:
    for row in words.rows():
        assert set(row["distractors"]) <= {row[f"choice_{letter}"] for letter in "abcd"}
        assert row["event"] == row[f"choice_{row['answer_gt'].lower()}"]
    # the bed of twenty seconds is heard twice in thirty
    longest = next(line for line in words.manifest["audio"] if line["path"].startswith("30/"))
    assert [span["stop"] for span in longest["spans"] if span.get("role") == "bed"] == [20 * RATE, 30 * RATE]


def test_what_is_asked(made: Made, words: Made) -> None:
    for name, built, question, end in (
        (
            "needle",
            made,
            "Which of these sounds can be heard in the recording?",
            "recognises the sound events in",
        ),
        (
            "needle_words",
            words,
            "What is the password?",
            "listens to a recording and answers questions about",
        ),
    ):
        doc = load_shipped(name).docs(str(built.output)).docs[0]
        (request,) = load_shipped(name).requests(doc)
        options = "\n".join(f"{letter}. {built.rows()[0][f'choice_{letter.lower()}']}" for letter in "ABCD")
        last = "Listen to the recording, then reply with the letter of the right option only."
        assert request.prompt == f"{question}\n\n{options}\n\n{last}"
        assert request.system is not None
        assert end in request.system


def test_another_seed_draws_other_places(tmp_path: Path) -> None:
    source = make_source_corpora.needle_words(tmp_path / "source")
    recipe = probes("needle_words", "30", "50", 2)
    places = [
        [pair.item.fields["distractor_starts"] for pair in plan(changed, Order(source, tmp_path)).pairs]
        for changed in (recipe, recipe, recipe.model_copy(update={"seed": 7}))
    ]
    assert places[0] == places[1] != places[2]


@pytest.mark.parametrize(
    ("lengths", "depths", "distractors", "error"),
    [
        ("5,x", None, None, r"--lengths: must be numbers of seconds from 0 to 14400, .* got 'x'"),
        ("5,nan", None, None, r"--lengths: must be numbers of seconds"),
        ("0,5", None, None, r"--lengths: must be above 0"),
        ("5,5.0", None, None, r"--lengths: 5\.0 is given twice"),
        ("99999", None, None, r"--lengths: must be numbers of seconds from 0 to 14400"),
        (None, "0,101", None, r"--depths: must be numbers of per cent from 0 to 100, .* got '101'"),
        (None, None, -1, r"--distractors: must be 0 or more, got -1"),
    ],
)
def test_flags_that_cannot_be_used(
    lengths: str | None, depths: str | None, distractors: int | None, error: str
) -> None:
    with pytest.raises(MarathonError, match=error):
        with_needle_flags(load_recipe("needle"), lengths, depths, distractors)


def test_only_position_probes_take_the_flags() -> None:
    with pytest.raises(MarathonError, match=r"--depths: the recipe gtzan has no `needle:`"):
        with_needle_flags(load_recipe("gtzan"), None, "0", None)


def test_too_little_room_and_too_few_distractors(tmp_path: Path) -> None:
    source = make_source_corpora.needle(tmp_path / "source")
    with pytest.raises(MarathonError, match=r"1\.5 s of a distractor do not fit into 4 s beside the event"):
        plan(probes("needle", "4", "50", 2), Order(source, tmp_path))
    with pytest.raises(MarathonError, match=r"3 distractors are wanted, and 2 clips have the role 'event'"):
        plan(probes("needle", "60", "50", 3), Order(source, tmp_path))
    with pytest.raises(MarathonError, match=r"1\.5 s, longer than the 1 s around it"):
        plan(probes("needle", "1", "50", 0), Order(source, tmp_path))


def test_from_one_command_to_a_heat_map(tmp_path: Path) -> None:
    """Rows by `build`, answers by a model that says B, and a page whose cells count them."""
    make_source_corpora.needle(tmp_path / "source")
    env = {"MARATHON_EVAL_CACHE": str(tmp_path / "cache")}
    for words in (
        "build needle --source source -o data --lengths 5,12 --depths 0,100 --distractors 1 --seed 3",
        "--model dummy --model_args answer=B --tasks needle --data_dir data -o runs",
        "report runs -o page.html --plots plots",
    ):
        done = called(words.split(), tmp_path, env)
        assert done.returncode == 0, done.stderr
    page = (tmp_path / "page.html").read_text()
    assert page.count("f.length_seconds=12&amp;f.depth_percent=100") == 1
    drawn = (tmp_path / "plots" / "map_0_needle.svg").read_text()
    assert drawn.count("n 3") == 4
    assert (tmp_path / "plots" / "map_0_needle.png").is_file()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_hour_is_rendered_in_bounded_memory(tmp_path: Path) -> None:
    """60 minutes at 16 kHz are 230 MB in single precision, and half of that as 16 bits."""
    source = make_source_corpora.needle(tmp_path / "source")
    words = ["build", "needle", "--source", str(source), "-o", str(tmp_path / "out"), "--limit", "1"]
    words += ["--lengths", "3600", "--depths", "50"]
    # VmHWM, not ru_maxrss: the latter still holds the peak of the test process that this one was forked from
    code = (
        "import re, sys; from marathon_eval.cli.main import main; code = main(sys.argv[1:]); "
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 700_000
