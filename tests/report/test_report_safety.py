"""Tests the page's safety: only its own script runs, nothing is fetched, clips are linked or embedded."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest
import soundfile

from conftest import MakeWav
from helpers import make_result_folders
from helpers.hostile_run import HOSTILE, hostile_run
from helpers.make_result_folders import Made
from helpers.report_page_parser import Parsed, parsed
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.database import read_only
from marathon_eval.evaluator.rescore import recorded_prompts
from marathon_eval.report import page as pages
from marathon_eval.report.clips import ReportClips, relative_url
from marathon_eval.report.gather import make_report
from marathon_eval.report.page import render_page
from marathon_eval.report.runs import read_cells


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_result_folders.write_sweep(tmp_path_factory.mktemp("swept"))


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    hostile_run(tmp_path)
    make_result_folders.write(Made(model="tame", press="dart", ratio=0.5, rows={"gtzan": 5}), tmp_path)
    found = parsed(tmp_path, with_published=True)
    assert "img" not in {tag for tag, _ in found.tags}
    assert not [attrs for _, attrs in found.tags for name in attrs if name.startswith("on")]
    kinds = [attrs.get("type") for attrs, _ in found.scripts]
    assert kinds.count(None) == 1
    assert set(kinds) == {None, "application/json", "text/plain"}
    block = found.tasks()["gtzan"]
    number = str(found.data()["cells"].index(next(c for c in found.data()["cells"] if "hacked" in c)))
    columns = block["cells"][number]
    assert block["texts"][columns["response"][0]] == HOSTILE * 1000
    assert block["texts"][columns["response"][1]] == "?"
    assert block["texts"][columns["error"]["1"]] == HOSTILE
    assert any("<script>hacked()<script>" in text for text in found.shown)  # the name, its slashes gone


def test_the_page_is_whole_in_itself(swept: Path) -> None:
    report = make_report(read_cells([swept]), with_published=True)
    text = render_page(report, swept / "report.html", with_published=True)
    found = Parsed(text)
    for tag, attrs in found.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form" if "action" in attrs else "")
        for name in ("src", "href", "xlink:href", "poster", "srcset"):
            assert (attrs.get(name) or "#").startswith("#"), (tag, attrs)
    # names of XML namespaces are no addresses that anybody visits
    outside = set(re.findall(r"https?://[^\s\"'<]+", text))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in text
    assert "url(http" not in text


def test_the_policy_admits_this_script_and_nothing_from_outside(swept: Path) -> None:
    found = parsed(swept)
    (policy,) = [
        attrs["content"] or ""
        for tag, attrs in found.tags
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    (script,) = [text for attrs, text in found.scripts if not attrs]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"script-src 'sha256-{digest}';" in policy
    assert "unsafe-eval" not in policy
    assert "http" not in policy


def test_the_script_makes_no_markup_from_data() -> None:
    script = pages.page_script()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert word not in script
    # it is put into the page as it is: no template marks, nothing that could end the element
    assert not re.search(r"\{\{|\{%|</|<!--", script)


def test_ids_are_unique_and_every_control_has_a_name(swept: Path) -> None:
    tags = parsed(swept).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in tags:
        if attrs.get("role") in ("region", "img", "listbox") or tag == "nav":
            assert attrs.get("aria-label"), attrs
    wanted = set(re.findall(r'\$\("([a-z-]+)"\)', pages.page_script()))
    assert wanted <= set(ids)


def test_links_lead_from_the_page_to_the_file(tmp_path: Path, make_wav: MakeWav) -> None:
    clip = make_wav('data/a #1?%"<b>.wav')
    clips = ReportClips(tmp_path / "out" / "pages")
    clips.page.mkdir(parents=True)
    assert clips.number([{"path": str(clip)}]) == 0
    assert clips.number([{"path": str(clip)}]) == 0
    assert clips.number([{"path": str(clip), "start": 1.0, "stop": 2.0}]) == 1
    assert clips.number([]) is None
    url = clips.listed[0]["url"]
    assert re.fullmatch(r"[A-Za-z0-9._/%-]+", url)
    assert (clips.page / unquote(url)).resolve() == clip.resolve()


def test_a_relative_path_is_looked_for_below_the_data_folder(tmp_path: Path, make_wav: MakeWav) -> None:
    make_wav("data/x.wav")
    clips = ReportClips(tmp_path)
    clips.number([{"path": "x.wav"}], str(tmp_path / "data"))
    clips.number([{"path": "gone.wav"}], str(tmp_path / "data"))
    assert [clip["url"] for clip in clips.listed] == ["./data/x.wav", None]


def test_a_page_names_clips_below_the_data_folder(tmp_path: Path, make_wav: MakeWav) -> None:
    clip, other = make_wav("data/deep/x.wav"), make_wav("elsewhere/y.wav")
    clips = ReportClips(tmp_path)
    clips.number([{"path": str(clip)}, {"path": str(clip)}], str(tmp_path / "data"))
    clips.number([{"path": str(other)}], str(tmp_path / "data"))
    assert [one["path"] for one in clips.listed] == ["deep/x.wav", str(other)]
    assert clips.listed[0]["more"] == ["deep/x.wav"]
    assert clips.listed[0]["url"] == "./data/deep/x.wav"


def test_no_address_can_be_smuggled_in_as_a_path(tmp_path: Path) -> None:
    for name in ("javascript:alert(1)", "https:", "//host/x", "data:text/html,x"):
        assert relative_url(tmp_path / name, tmp_path).startswith("./")
        assert ":" not in relative_url(tmp_path / name, tmp_path)


def test_only_clips_that_the_user_allowed_are_embedded(
    tmp_path: Path, make_wav: MakeWav, capsys: pytest.CaptureFixture[str]
) -> None:
    """A samples file may name any sound of the machine; what is embedded leaves with the page."""
    make_wav("data/x.wav")
    make_wav("secret/x.wav")
    (tmp_path / "data" / "link.wav").symlink_to(tmp_path / "secret" / "x.wav")
    run = make_result_folders.write(make_result_folders.Made(rows={"gtzan": 3}), tmp_path / "runs")
    file = run / "samples_gtzan.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for row, name in zip(rows, ("data/x.wav", "secret/x.wav", "data/link.wav"), strict=True):
        row["audio"] = [{"path": str(tmp_path / name), "seconds": 1.0}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for folders in ((), (str(tmp_path / "data"),)):
        found = parsed(tmp_path / "runs", embed_bytes=1_000_000, data_dirs=folders)
        previews = [clip.get("preview") is not None for clip in found.data()["clips"]]
        assert previews == [bool(folders), False, False]
        said = capsys.readouterr().err
        assert f"{3 - len(folders)} clips are not embedded" in said
        assert "--data_dir" in said


def test_clips_that_are_nowhere_are_counted_with_the_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_result_folders.write(make_result_folders.Made(rows={"gtzan": 3}), tmp_path / "runs")
    file = run / "samples_gtzan.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for number, row in enumerate(rows):
        row["audio"] = [{"path": f"moved/{number}.wav", "seconds": 1.0}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    parsed(tmp_path / "runs", embed_bytes=1_000_000, data_dirs=(str(tmp_path / "data"),))
    said = capsys.readouterr().err
    assert (
        "report: 3 clips are not embedded, because they were not found: the first, moved/0.wav, was looked for at "
        in said
    )
    assert f"{Path('moved/0.wav').absolute()}, " in said
    assert f"{tmp_path / 'data' / 'moved' / '0.wav'}" in said
    assert "type --data_dir with the folder of the data" in said
    parsed(tmp_path / "runs")
    assert "not found" not in capsys.readouterr().err, "nothing was to be embedded"


def test_a_run_names_no_cache(tmp_path: Path) -> None:
    """results.json may name any file as its cache; only the user's own and the one that is typed are opened."""
    run = make_result_folders.write(make_result_folders.Made(rows={"gtzan": 2}), tmp_path / "runs")
    results = json.loads((run / "results.json").read_text())
    results["config"]["use_cache"] = str(tmp_path / "strange")
    (run / "results.json").write_text(json.dumps(results))
    with ResponseCache(tmp_path / "strange"):
        pass
    opened: list[Path] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorded_prompts, "read_only", lambda path: opened.append(path) or read_only(path))
        parsed(tmp_path / "runs")
        assert not any(path.is_relative_to(tmp_path / "strange") for path in opened)
        parsed(tmp_path / "runs", use_cache=str(tmp_path / "strange"))
    assert any(path.is_relative_to(tmp_path / "strange") for path in opened)


def test_previews_stay_within_their_budget_and_can_be_heard(tmp_path: Path, make_wav: MakeWav) -> None:
    clips = ReportClips(tmp_path, (tmp_path,))
    for number in range(6):
        clips.number([{"path": str(make_wav(f"{number}.wav", seconds=9.0, hz=300 + 100 * number))}])
    everything = clips.embed(400_000)
    assert len(everything) == 6
    sound = soundfile.info(io.BytesIO(base64.b64decode(everything[3])))
    assert (sound.format, sound.samplerate) == ("MP3", 16000)
    assert sound.duration == pytest.approx(9.0, abs=0.2)
    assert clips.listed[3]["preview"] == 9.0
    few = clips.embed(60_000)
    assert 1 <= len(few) < 6
    assert sum(map(len, few.values())) <= 60_000
