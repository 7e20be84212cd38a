"""Tests SECURITY.md's promises: sandboxed templates, no pickle, no shell, no path outside, no stored key."""

from __future__ import annotations

import ast
import json
import subprocess
import time
from pathlib import Path

import pytest

from helpers.minimal_task import BASE, HEARD, KEYS, docs_of, load, write_task
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.simple import simple_evaluate
from marathon_eval.results.files import write_run
from marathon_eval.task.prompt.template import Template

ROOT = Path(__file__).resolve().parents[2]

ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('__cl' ~ 'ass__') }}",
    "{{ ''|attr('\\x5f\\x5fclass\\x5f\\x5f') }}",
    "{{ ''['__cl' 'ass__'] }}",
    "{{ [].__class__.__base__ }}",
    "{{ q.__init__.__globals__ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "{{ range.__self__ }}",
    "{{ dict.__base__ }}",
    "{{ dict|attr('mro') }}",
    "{{ '{0.__class__}'.format(q) }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(range) }}",
    "{{ '{x.__class__}'.format_map({'x': q}) }}",
    "{{ ('{0.__cla' ~ 'ss__}').format(q) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(q) }}",
    "{{ ['{0.__class__}']|map('format', q)|list|first|attr('mro') }}",
    "{{ [q]|map(attribute='__class__')|list }}",
    "{{ [q]|groupby('__class__') }}",
    "{{ [q]|sum(attribute='__class__') }}",
    "{{ [q]|selectattr('__class__')|map(attribute='__class__')|list }}",
    "{{ (q|string).join.__func__ }}",
    "{{ q.format.__call__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{% from 'os' import system %}",
    "{% extends 'x' %}",
    "{{ rows.append(1) }}",
    "{{ rows.clear() }}",
    "{{ row.update({'q': 1}) }}",
    "{{ row.pop('q') }}",
    "{% set row.q = 1 %}",
    "{{ (1).__class__ }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{{ m() }}",
    "{% macro m() %}{% endmacro %}{{ m.__init__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% for x in rows %}{{ loop._iterator }}{% endfor %}",
    "{{ config }}",
    "{{ request.environ }}",
    "{{ get_flashed_messages.__globals__ }}",
    "{{ url_for.__globals__ }}",
    "{{ open('/etc/passwd').read() }}",
    "{{ eval('1') }}",
    "{{ __import__('os') }}",
    "{{ None.__class__ }}",
    "{{ missing.__class__ }}",
]

COSTLY = [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
    "{{ range(10 ** 9)|list }}",
    "{{ 'a' * 10 ** 9 }}",
    "{{ 10 ** 9 * 'a' }}",
    "{{ [0] * 10 ** 9 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ 'a'|center(10 ** 9) }}",
    "{{ 'a'.ljust(10 ** 9) }}",
    "{{ 'a'.zfill(1000000000) }}",
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%1000000000d'|format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ [1]|batch(10 ** 9, 'x')|list }}",
    "{{ [1]|slice(10 ** 9)|list }}",
    "{{ lipsum(10 ** 6) }}",
    "{{ ('a' * 10 ** 6).replace('a', 'b' * 10 ** 6) }}",
    "{{ ('a' * 10 ** 6)|replace('a', 'b' * 10 ** 6) }}",
    "{{ (['a' * 10 ** 6] * 10 ** 5)|join }}",
    "{{ ''.join(['a' * 10 ** 6] * 10 ** 5) }}",
    "{{ ('a\\n' * 10 ** 5)|indent(9999) }}",
]


def rendered(source: str) -> str:
    row = {"q": "a question", "rows": [1, 2], "row": {"q": 1}}
    return Template(source, "x.yaml:3").value(row)


@pytest.mark.parametrize("source", ESCAPES)
def test_no_template_gets_out_of_its_sandbox(source: str) -> None:
    with pytest.raises(MarathonError, match=r"^x\.yaml:3: "):
        rendered(source)


@pytest.mark.parametrize("source", COSTLY)
def test_no_template_takes_time_or_memory_without_bound(source: str) -> None:
    began = time.process_time()
    with pytest.raises(MarathonError, match=r"^x\.yaml:3: "):
        rendered(source)
    assert time.process_time() - began < 5


def test_the_budget_leaves_room_for_real_templates() -> None:
    rows = [{"w": "word " * 20}] * 5000
    source = (
        "{% for row in rows %}{{ loop.index }}. {{ row.w.strip()|replace('word', 'Word') }}\n{% endfor %}"
    )
    text = Template(source, "x").value({"rows": rows})
    assert text.startswith("1. Word Word")
    assert text.count("\n") == 5000
    assert Template("{{ '%05.1f' % x }} {{ 'ab' * 3 }} {{ [1, 2]|join(', ') }}", "x").value({"x": 2.25}) == (
        "002.2 ababab 1, 2"
    )


def test_text_of_the_data_is_never_a_template() -> None:
    assert Template("{{ q }}", "x").value({"q": "{{ 7 * 7 }}"}) == "{{ 7 * 7 }}"


# -- the source itself ---------------------------------------------------------------------------------------------


def python_files() -> list[Path]:
    """Everything that git has or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    paths = [ROOT / name for name in listing.split("\0") if name]
    return [path for path in paths if path.is_file() and (path.suffix == ".py" or _python_script(path))]


def _python_script(path: Path) -> bool:
    with path.open("rb") as file:
        return (
            not path.suffix and b"python" in file.readline(80)[:80] and path.is_relative_to(ROOT / "scripts")
        )


UNPICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUNNING = {"eval", "exec", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}


def dangers(tree: ast.AST) -> list[str]:
    """Imports of picklers, and calls that unpickle, run text or start a shell."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in UNPICKLING]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLING:
            found.append(str(node.module))
        elif isinstance(node, ast.Call):
            found += _dangerous_call(node)
    return found


def _dangerous_call(call: ast.Call) -> list[str]:
    name = ast.unparse(call.func)
    flags = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg}
    found = [name] if name in RUNNING or name.endswith("read_pickle") else []
    found += [
        f"{name}({flag}={flags[flag]})"
        for flag in ("shell", "allow_pickle")
        if flags.get(flag, "False") != "False"
    ]
    if name == "torch.load" and flags.get("weights_only") != "True":
        found.append(name)
    if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load"):
        found.append(name)
    return found


def test_nothing_unpickles_evaluates_or_starts_a_shell() -> None:
    files = python_files()
    assert ROOT / "marathon_eval" / "cache" / "answers.py" in files
    found = {
        str(path.relative_to(ROOT)): bad
        for path in files
        if (bad := dangers(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == {
        # the cells of the notebook in docs/, the example in docs/python.md, and classes as a notebook's cells define them
        "tests/whole/test_notebook.py": ["exec", "eval"],
        "tests/evaluator/test_score_from_python.py": ["exec"],
        "tests/api/test_typed_classes.py": ["exec"],
    }


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from dill import loads",
        "np.load(f, allow_pickle=True)",
        "torch.load(f)",
        "subprocess.run(c, shell=True)",
        "os.system(c)",
        "eval(c)",
        "yaml.load(f)",
        "pandas.read_pickle(f)",
    ],
)
def test_the_search_finds_what_it_looks_for(code: str) -> None:
    assert dangers(ast.parse(code))


# -- paths ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dataset's root with a secret beside it."""
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "secret.json").write_text('[{"q": "?", "a": "secret"}]')
    (tmp_path / "secret.wav").write_bytes(b"RIFF")
    return tmp_path / "root"


@pytest.mark.parametrize(
    "name",
    [
        "../secret.wav",
        "sub/../../secret.wav",
        "./../secret.wav",
        "sub//..//../secret.wav",
        "..\\secret.wav",
        "/etc/hostname",
        "file:///etc/hostname",
        "C:/secret.wav",
        "~/secret.wav",
        "link.wav",
        "folder/secret.wav",
        "chain.wav",
        "sub/\0.wav",
    ],
)
def test_no_row_reaches_a_file_outside_the_root(root: Path, name: str) -> None:
    (root / "link.wav").symlink_to(root.parent / "secret.wav")
    (root / "folder").symlink_to(root.parent)
    (root / "chain.wav").symlink_to(root / "link.wav")
    doc = docs_of(root, HEARD, [{"q": "?", "a": "x", "path": name}]).docs[0]
    assert doc.error is not None
    assert doc.audio == ()


@pytest.mark.parametrize("name", ["../secret.json", "sub/../../secret.json", "link.json"])
def test_no_data_file_is_read_outside_the_root(root: Path, name: str) -> None:
    (root / "link.json").symlink_to(root.parent / "secret.json")
    path = write_task(root, KEYS)
    path.write_text(f"dataset_path: json\ndataset_kwargs: {{data_files: '{name}'}}\n{KEYS}")
    with pytest.raises(MarathonError, match="root"):
        load(path).docs(str(root))


@pytest.mark.parametrize("pattern", ["../{name}.wav", "/etc/{name}", "sub/../../{name}.wav"])
def test_no_file_tree_is_listed_outside_the_root(root: Path, pattern: str) -> None:
    path = write_task(root, KEYS)
    path.write_text(
        f"dataset_path: file_tree\ndataset_kwargs: {{file_tree: ['{pattern}']}}\n"
        "doc_to_text: name\ndoc_to_target: name\ndoc_to_audio: path\n"
    )
    with pytest.raises(MarathonError, match="root"):
        load(path).docs(str(root))


# -- keys ----------------------------------------------------------------------------------------------------------

KEY = "sk-" + "0123456789abcdef" * 2
LEAKY = '''
from marathon_eval.api.model import Model, ModelSettings, Response

class Leaky(Model):
    """Raises what a careless client would, and is given its key as an argument."""

    class Settings(ModelSettings):
        api_key: str = ""
        eos_token: str = ""

    def generate(self, requests):
        for request in requests:
            raise ConnectionError("401 for Authorization: Bearer " + self.settings.api_key + " at ?key=abcdefgh")
            yield request, Response("")
'''


def test_no_key_is_kept_in_results_samples_or_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "plainlookingvalue")
    model = tmp_path / "leaky.py"
    model.write_text(LEAKY.replace("at ?key", "and plainlookingvalue at ?key"))
    task = write_task(tmp_path, KEYS, [{"q": "?", "a": "x"}])
    arguments = {"api_key": KEY, "eos_token": "</s>"}
    result = simple_evaluate(str(model), [str(task)], arguments, use_cache=str(tmp_path / "kept"))
    write_run(result, tmp_path)
    assert result.samples["own"][0].status == "error"
    # the model's own text holds the words, and so does what Python compiles of it
    kept = [path for path in tmp_path.rglob("*") if path.suffix != ".pyc" and path != model]
    written = [path for path in kept if path.is_file()]
    assert {path.name for path in written} >= {"results.json", "samples_own.jsonl", "answers.sqlite"}
    for path in written:
        for secret in (KEY, "plainlookingvalue", "abcdefgh"):
            assert secret.encode() not in path.read_bytes(), path
    config = json.loads((tmp_path / "results.json").read_text())["config"]
    assert config["model_args"] == {"api_key": "<redacted>", "eos_token": "</s>"}


def test_secrets_are_cut_out_however_deep_and_in_every_argument() -> None:
    nested = {"headers": {"Authorization": KEY}, "list": [{"hf_token": KEY}], "max_new_tokens": 3}
    config = RunConfig(model="m", tasks=("t",), model_args=nested, judge_args=nested, gen_kwargs=nested)
    assert KEY not in json.dumps(config.recorded())
    assert config.recorded()["gen_kwargs"]["max_new_tokens"] == 3


def test_a_wrong_argument_is_told_without_its_secret(tmp_path: Path) -> None:
    model = tmp_path / "leaky.py"
    model.write_text(LEAKY.replace('api_key: str = ""', "api_key: int = 0"))
    task = write_task(tmp_path, KEYS, [{"q": "?", "a": "x"}])
    with pytest.raises(MarathonError, match="api_key") as caught:
        simple_evaluate(str(model), [str(task)], {"api_key": KEY})
    assert KEY not in str(caught.value)


def test_a_yaml_tag_runs_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for tag in (f"!!python/object/apply:os.system ['touch {marker}']", f"!function os.system {marker}"):
        path = write_task(tmp_path, KEYS)
        path.write_text(BASE + KEYS + f"metadata: {tag}\n")
        with pytest.raises(MarathonError, match="tag"):
            load(path)
    assert not marker.exists()
