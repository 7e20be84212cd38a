"""Tests that mistakes in a task's YAML are reported by file and line, with the nearest name, before a run starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from helpers.minimal_task import BASE, KEYS, load, make_task, write_task
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.task.task import Group, Task, load_task
from marathon_eval.task.yaml.config import TaskConfig, task_schema
from marathon_eval.task.yaml.generation import generation_settings
from marathon_eval.task.yaml.loader import load_document

ROOT = Path(__file__).resolve().parents[2]
NEEDED = "doc_to_text: q\ndoc_to_target: a\n"


def never(name: str) -> Path:
    raise MarathonError(f"no task '{name}'")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("doc_to_txt: q\n", r"own\.yaml:5: unknown key 'doc_to_txt'\. Did you mean doc_to_text\?"),
        ("metric_list: accuracy\n", r"own\.yaml:5: metric_list: .*valid list, got 'accuracy'"),
        (
            "metric_list:\n  - {metric: acuracy}\n",
            r"own\.yaml:6: .*no metric 'acuracy'\. Did you mean accuracy\?",
        ),
        ("metric_list:\n  - {metric: f1, pos: 1}\n", r"own\.yaml:6: .*takes no 'pos'"),
        (
            "filter_list:\n  - {name: x, filter: [{function: regexx}]}\n",
            r"own\.yaml:6: .*'regexx'\. Did you mean regex",
        ),
        ("doc_to_choice: [yes, no]\n", r"own\.yaml:5: doc_to_choice: options must be texts.*quote them"),
        ("gen_prefix: no\n", r"own\.yaml:5: gen_prefix: .*got False \(YAML reads yes"),
        ("repeats: two\n", r"own\.yaml:5: repeats: .*integer.*got 'two'"),
        ("repeats: 0\n", r"own\.yaml:5: repeats: .*greater than or equal to 1"),
        ("choice_layout: A-\n", r"own\.yaml:5: choice_layout: .*'A\.'.*got 'A-'"),
        ("on_missing_audio: ignore\n", r"own\.yaml:5: on_missing_audio: .*'error_row' or 'drop'"),
        ("subsets:\n  paper:\n    dropp: []\n", r"own\.yaml:7: unknown key 'dropp'\. Did you mean drop\?"),
        ("subsets: {a: {}}\ndefault_subset: b\n", r"own\.yaml:6: default_subset: no subset 'b'"),
        ("fewshot_config: {sampler: balanced}\n", r"own\.yaml:5: fewshot_config\.sampler: .*'first_n'"),
        ("num_fewshot: 1\ndoc_to_audio: path\n", r"own\.yaml:5: num_fewshot: .*audio"),
        ("headline: {reading: strict, metric: acc}\n", r"own\.yaml:5: headline: no reading 'strict'"),
        ("headline: {reading: none, metric: acc}\n", r"own\.yaml:5: headline: no metric of 'none' 'acc'"),
        (
            "metric_list: [{metric: acc, filter_list: x}]\n",
            r"own\.yaml:5: metric_list: filter_list: no reading 'x'",
        ),
        ("metric_list: [{metric: acc}, {metric: acc}]\n", r"own\.yaml:5: .*'acc' is there twice"),
        ("filter_list: [{name: s, filter: [{function: choice}]}]\n", r"own\.yaml:5: .*add doc_to_choice"),
        ("expected_sha256: abc\n", r"own\.yaml:5: expected_sha256: must have 64"),
        ("process_docs: shuffle\n", r"own\.yaml:5: process_docs: no built-in row step 'shuffle'"),
        ("generation_kwargs: {temprature: 0}\n", r"own\.yaml:5: .*'temprature'\. Did you mean temperature"),
        ('system: "{{ x"\n', r"own\.yaml:5: system: broken template"),
        ("prompt_variants:\n  m: {doc_to_txt: q}\n", r"own\.yaml:6: unknown key 'doc_to_txt'"),
        (
            "prompt_variants:\n  m: {doc_to_text: '{{ x'}\n",
            r"own\.yaml:5: prompt_variants: .*broken template",
        ),
    ],
)
def test_a_mistake_is_told_by_file_and_line(tmp_path: Path, keys: str, said: str) -> None:
    with pytest.raises(MarathonError, match=said):
        make_task(tmp_path, NEEDED + keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            "{data_files: rows.json, data_file: x}",
            r"own\.yaml:2: .*unknown key 'data_file'\. Did you mean data_files",
        ),
        ("{data_files: rows.json, fild: x}", r"own\.yaml:2: .*unknown key 'fild'\. Did you mean field"),
        ("\n  data_files: rows.json\n  cache_dir: /x", r"own\.yaml:4: .*cache_dir: not a task's to set"),
        ("\n  data_files: rows.json\n  token: hf_x", r"own\.yaml:4: .*token: not a task's to set: log in"),
    ],
)
def test_dataset_kwargs_that_nothing_reads_are_refused(tmp_path: Path, keys: str, said: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"dataset_path: json\ndataset_kwargs: {keys}\n{NEEDED}")
    with pytest.raises(MarathonError, match=said):
        load(path)
    path.write_text(
        f"dataset_path: json\ndataset_kwargs: {{data_files: a, token: true, sep: null}}\n{NEEDED}"
    )
    load(path)


def test_every_mistake_is_told_at_once_the_misspelling_first(tmp_path: Path) -> None:
    with pytest.raises(MarathonError) as caught:
        make_task(tmp_path, "doc_to_txt: q\ndoc_to_target: a\nrepeats: x\n")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert "unknown key 'doc_to_txt'" in "".join(lines[:2])
    assert "repeats" in "".join(lines[:2])
    assert lines[2].endswith("'doc_to_text' is required")


@pytest.mark.parametrize("key", ["delimiter: ';'", "data_files: rows.csv", "encoding: latin-1"])
def test_a_key_of_the_rows_is_told_its_place(tmp_path: Path, key: str) -> None:
    name = key.partition(":")[0]
    with pytest.raises(MarathonError, match=rf"unknown key '{name}': .*dataset_kwargs: {{{name}: "):
        make_task(tmp_path, f"doc_to_text: q\ndoc_to_target: a\n{key}\n")


def test_a_task_without_a_target_is_told_what_to_write(tmp_path: Path) -> None:
    said = r"""'doc_to_target' is required; .*doc_to_target: "" with gold_is: any_text .*gold_is: absent"""
    with pytest.raises(MarathonError, match=said):
        make_task(tmp_path, "doc_to_text: q\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", r"t\.yaml:3: duplicate key 'a', first given in line 1"),
        ("a:\n  x: 1\n  x: 2\n", r"t\.yaml:3: duplicate key 'x'"),
        ("a: [1\nb: 2\n", r"t\.yaml:\d: broken YAML"),
        ("a: 'open\n", r"t\.yaml:\d: broken YAML"),
        ("a: *nowhere\n", r"t\.yaml:1: broken YAML: found undefined alias"),
        ("- a\n", r"t\.yaml:1: must be a mapping"),
        ("", r"t\.yaml:1: must be a mapping"),
        ("a: !function m.f\n", r"t\.yaml:1: the tag '!function' is not supported here\. It would run Python"),
        (
            "a: !!python/object/apply:os.system [ls]\n",
            r"t\.yaml:1: the tag .*python/object.* is not supported",
        ),
        ("? [a, b]\n: 1\n", r"t\.yaml:1: a key must be plain text"),
        ("a: \x01\n", r"t\.yaml:1: broken YAML"),
        ("include: [t.yaml]\n", r"t\.yaml:1: circular include"),
        ("include: {a: b}\n", r"t\.yaml:1: include: must be a file name"),
        ("include: gone.yaml\n", r"t\.yaml:1: include: no file 'gone\.yaml'"),
        ("include: gone\n", r"no task 'gone'"),
    ],
)
def test_broken_yaml(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(MarathonError, match=said):
        load_document(path, never)


def test_an_edited_copy_is_told_how_to_include_the_task_that_it_copies(tmp_path: Path) -> None:
    copy = tmp_path / "mine" / "copies" / "tasks" / "quiz.yaml"
    copy.parent.mkdir(parents=True)
    meant = tmp_path / "mine" / "tasks" / "quiz.yaml"
    meant.parent.mkdir()
    meant.write_text("a: 1\n")
    copy.write_text("include: quiz.yaml\n")
    with pytest.raises(MarathonError, match=r"Write the path .*include: \.\./\.\./tasks/quiz\.yaml"):
        load_document(copy, never)
    copy.write_text("include: ../../tasks/quiz.yaml\n")
    assert load_document(copy, never).values == {"a": 1}


def test_a_file_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    with pytest.raises(MarathonError, match=r"t\.yaml: cannot read"):
        load_document(path, never)
    path.write_bytes(b"a: \xff\xfe")
    with pytest.raises(MarathonError, match=r"t\.yaml: cannot read"):
        load_document(path, never)


def test_includes_are_merged_shallowly_in_order_and_keep_their_lines(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("a: 1\nnested: {x: 1}\n")
    (tmp_path / "two.yaml").write_text("include: one.yaml\na: 2\ntask_list: [x]\nb: 2\n")
    path = tmp_path / "three.yaml"
    path.write_text("include: [two.yaml]\nnested: {y: 1}\n")
    document = load_document(path, never)
    assert document.values == {"a": 2, "b": 2, "nested": {"y": 1}}
    assert document.where("b").endswith("two.yaml:4")
    assert document.where("nested", "y").endswith("three.yaml:2")
    assert document.where("nested", "x").endswith("three.yaml:2")
    assert document.where("absent").endswith("three.yaml:1")


def test_a_mistake_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("doc_to_text: q\ndoc_to_txt: q\n")
    path = write_task(tmp_path, "include: base.yaml\ndoc_to_target: a\n")
    with pytest.raises(MarathonError, match=r"base\.yaml:2: unknown key 'doc_to_txt'"):
        load(path)


def test_anchors_and_merge_keys_work_and_a_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text("base: &b {x: 1}\nown: {<<: *b, y: 2}\n")
    assert load_document(path, never).values["own"] == {"x": 1, "y": 2}
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    path.write_text("\n".join(lines))
    with pytest.raises(MarathonError, match="values with aliases expanded"):
        load_document(path, never)


def test_a_copied_task_finds_the_shipped_bases(tmp_path: Path) -> None:
    text = (ROOT / "tasks" / "vox_age.yaml").read_text()
    path = tmp_path / "my_age.yaml"
    path.write_text(text.replace("task: vox_age", "task: my_age"))
    task = load(path)
    assert (task.name, task.config.dataset_path) == ("my_age", "Hezep/AudioMarathon")


class TestGeneration:
    def test_nothing_is_implied(self, tmp_path: Path) -> None:
        generation = make_task(tmp_path, NEEDED).generation
        assert (generation.stop, generation.temperature, generation.max_new_tokens) == ((), 0.0, 256)

    def test_spellings(self) -> None:
        kwargs = {
            "until": "\n",
            "max_gen_toks": 7,
            "do_sample": True,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 3,
        }
        assert generation_settings(kwargs, "x") == {
            "stop": ("\n",),
            "max_new_tokens": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 3,
        }
        assert generation_settings({"do_sample": True}, "x") == {"temperature": 1.0}
        assert generation_settings({"do_sample": False}, "x") == {"temperature": 0.0}
        assert generation_settings({"until": [], "max_new_tokens": None}, "x") == {"stop": ()}

    @pytest.mark.parametrize(
        ("kwargs", "said"),
        [
            ({"max_gen_toks": 5, "max_new_tokens": 6}, "mean the same and differ"),
            ({"max_new_tokens": 0}, "whole number of at least 1"),
            ({"max_new_tokens": True}, "whole number"),
            ({"temperature": -1}, "a number from 0"),
            ({"temperature": float("nan")}, "a number from 0"),
            ({"temperature": "0"}, "a number from 0"),
            ({"top_p": 2}, "a number from 0 to 1"),
            ({"until": [""]}, "until: must be"),
            ({"until": 3}, "until: must be"),
            ({"do_sample": "yes"}, "do_sample: must be"),
            ({"do_sample": True, "temperature": 0}, "contradict"),
            ({"num_beams": 2}, "num_beams: decode greedily or sample"),
        ],
    )
    def test_refusals(self, kwargs: dict[str, object], said: str) -> None:
        with pytest.raises(MarathonError, match=f"--gen_kwargs: .*{said}|--gen_kwargs: {said}"):
            generation_settings(kwargs, "--gen_kwargs")


class TestGroups:
    def write(self, folder: Path, text: str) -> Group:
        path = folder / "both.yaml"
        path.write_text(text)
        group = load_task(path, Registry().task_path)
        assert isinstance(group, Group)
        return group

    def test_members_are_written_out_in_order(self, tmp_path: Path) -> None:
        group = self.write(tmp_path, "group: both\ntask: [race, {group: in, task: [tau, race]}, had]\n")
        assert group.members == ["race", "tau", "had"]

    def test_a_list_under_task_is_a_group_named_by_its_file(self, tmp_path: Path) -> None:
        assert self.write(tmp_path, "task: [race]\n").name == "both"

    def test_overrides_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MarathonError, match=r"both\.yaml:2: .*task"):
            self.write(tmp_path, "group: both\ntask: [{task: race, repeats: 3}]\n")

    def test_unknown_keys_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(MarathonError, match=r"both\.yaml:3: unknown key 'aggregate_metrics'"):
            self.write(tmp_path, "group: both\ntask: [race]\naggregate_metrics: []\n")


class TestSchema:
    def test_the_shipped_schema_is_made_from_the_config(self) -> None:
        shipped = json.loads((ROOT / "marathon_eval" / "task" / "yaml" / "schema.json").read_text())
        assert shipped == task_schema(), "run scripts/dev/golden/update_goldens.py schema"

    def test_it_knows_every_key_and_refuses_others(self) -> None:
        task = task_schema()["else"]
        assert set(task["properties"]) == {"include", *TaskConfig.model_fields}
        assert task["additionalProperties"] is False

    def test_every_shipped_yaml_uses_only_its_keys(self) -> None:
        schema = task_schema()
        for path in sorted((ROOT / "tasks").rglob("*.yaml")):
            values = yaml.safe_load(path.read_text())
            keys = schema["$defs"]["GroupConfig"] if "group" in values else schema["else"]
            assert set(values) <= set(keys["properties"]) | {"include"}, path.name


def test_the_base_of_these_tests_is_sound(tmp_path: Path) -> None:
    assert yaml.safe_load(BASE)
    assert make_task(tmp_path, NEEDED).name == "own"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("metadata: {version: &v [*v]}\n", "an alias refers to a value that contains the alias"),
        ("metadata: {version: !!set {a, b}}\n", "not supported here"),
        ("metadata: {version: !!binary aGVsbG8=}\n", "not supported here"),
        (f"metadata: {{version: 0x{'f' * 5000}}}\n", "an integer of more than"),
        (f"repeats: {'9' * 5000}\n", "an integer of more than"),
        ("repeats: 1000000000\ngeneration_kwargs: {temperature: 1.0}\n", "repeats"),
        ("headline: {reading: none, metric: exact_match, scale: .nan}\n", "finite"),
    ],
)
def test_what_results_cannot_hold_is_refused_before_anything_is_asked(
    tmp_path: Path, keys: str, said: str
) -> None:
    with pytest.raises(MarathonError, match=said):
        make_task(tmp_path, KEYS + keys)


@pytest.mark.parametrize("include", ["gtzan.yaml", "gtzan"])
def test_a_task_may_include_the_shipped_one_of_its_own_name(tmp_path: Path, include: str) -> None:
    (tmp_path / "tasks").mkdir()
    path = tmp_path / "tasks" / "gtzan.yaml"
    path.write_text(f"include: {include}\ngeneration_kwargs: {{max_new_tokens: 77}}\n")
    registry = Registry([str(tmp_path)])
    assert registry.task_path("gtzan") == path
    own = load_task(path, registry.task_path, registry)
    shipped = load_task(Registry().task_path("gtzan"), Registry().task_path)
    assert isinstance(own, Task)
    assert isinstance(shipped, Task)
    assert own.config.doc_to_text == shipped.config.doc_to_text
    assert own.generation.max_new_tokens == 77


def test_an_unknown_key_of_a_block_lists_the_blocks_keys(tmp_path: Path) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(BASE + KEYS + "headline: {reding: none, metric: exact_match}\n")
    with pytest.raises(
        MarathonError,
        match=r"unknown key 'reding'. Did you mean reading\? Keys of headline: reading, metric, scale",
    ):
        load_task(path, Registry().task_path)
