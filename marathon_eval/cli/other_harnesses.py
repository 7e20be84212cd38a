"""Says what to write here instead of flags of lm-eval, lmms-eval and inspect_ai that this command does not have."""

from __future__ import annotations

from typing import NamedTuple


class Elsewhere(NamedTuple):
    """Names the harness that has a flag, and what to write here."""

    harness: str
    here: str


_ALL_SAMPLES = "nothing: every run with --output_path writes samples_<task>.jsonl"
_CLIENT = "the model's argument in --model_args"
FLAGS_ELSEWHERE = {
    # https://github.com/EleutherAI/lm-evaluation-harness/blob/main/docs/interface.md
    "--cache_requests": Elsewhere(
        "lm-eval", "nothing: requests are built anew in seconds, answers are cached"
    ),
    "--check_integrity": Elsewhere("lm-eval", "`marathon-eval validate --tasks TASK`"),
    "--confirm_run_unsafe_code": Elsewhere("lm-eval", "--trust_task_code for `!function` in a task"),
    "--fewshot_as_multiturn": Elsewhere(
        "lm-eval", "nothing: examples stand in one turn, before the question (--num_fewshot N)"
    ),
    "--hf_hub_log_args": Elsewhere("lm-eval", "`marathon-eval push RUN hf://datasets/OWNER/NAME`"),
    "--metadata": Elsewhere("lm-eval", "the keys in a task file of yours that has `include: TASK`"),
    "--wandb_args": Elsewhere("lm-eval", "--log_to wandb:PROJECT"),
    "--wandb_config_args": Elsewhere("lm-eval", "--log_to wandb:PROJECT"),
    # https://github.com/EvolvingLMMs-Lab/lmms-eval/blob/main/lmms_eval/__main__.py
    "--baseline": Elsewhere("lmms-eval", "`marathon-eval compare RUN_A RUN_B`"),
    "--force_simple": Elsewhere("lmms-eval", "nothing: each model has one adapter"),
    "--launcher_args": Elsewhere(
        "lmms-eval", "`accelerate launch -m marathon_eval ...` or --model openai_audio"
    ),
    "--log_samples_suffix": Elsewhere("lmms-eval", "another --output_path DIR"),
    "--process_with_media": Elsewhere("lmms-eval", "nothing: audio is read when the model asks for it"),
    "--reasoning_tags": Elsewhere("lmms-eval", "a filter in the task: `strip_reasoning`"),
    "--timezone": Elsewhere("lmms-eval", "nothing: times are UTC"),
    # https://inspect.aisi.org.uk/options.html
    "--display": Elsewhere("inspect_ai", "--verbosity ERROR to hide the progress"),
    "--epochs": Elsewhere("inspect_ai", "`repeats: N` in the task file, with temperature above 0"),
    "--fail-on-error": Elsewhere("inspect_ai", "nothing: failed rows lower coverage, and the exit code is 3"),
    "--log-dir": Elsewhere("inspect_ai", "--output_path DIR"),
    "--log-format": Elsewhere("inspect_ai", _ALL_SAMPLES),
    "--max-connections": Elsewhere("inspect_ai", "--model_args concurrency=N"),
    "--max-retries": Elsewhere("inspect_ai", "--model_args retries=N"),
    "--max-samples": Elsewhere("inspect_ai", "--model_args concurrency=N"),
    "--max-tokens": Elsewhere("inspect_ai", "--gen_kwargs max_new_tokens=N"),
    "--model-base-url": Elsewhere("inspect_ai", "--model_args base_url=URL"),
    "--no-score": Elsewhere("inspect_ai", "--predict_only"),
    "--reasoning-effort": Elsewhere("inspect_ai", "--model_args reasoning_effort=low"),
    "--retry-on-error": Elsewhere("inspect_ai", "--retry_errors"),
    "--sample-id": Elsewhere("inspect_ai", """--samples '{"TASK": [0, 3]}'"""),
    "--solver": Elsewhere("inspect_ai", "the prompt in a task file of yours that has `include: TASK`"),
    "--system-message": Elsewhere("inspect_ai", "--system_instruction TEXT"),
    "--temperature": Elsewhere("inspect_ai", "--gen_kwargs temperature=T"),
    "--timeout": Elsewhere("inspect_ai", "--model_args timeout=SECONDS"),
    "--top-p": Elsewhere("inspect_ai", "--gen_kwargs top_p=P"),
    "-T": Elsewhere("inspect_ai", "the key in a task file of yours that has `include: TASK`"),
}
#: What people expect as flags of `run`, of no harness in particular.
FLAGS_OF_NONE = {
    "--press": "--model_args press=NAME,ratio=R, or `marathon-eval sweep --presses NAMES --ratios R,R`",
    "--presses": "--model_args press=NAME,ratio=R, or `marathon-eval sweep --presses NAMES --ratios R,R`",
    "--ratio": "--model_args press=NAME,ratio=R, or `marathon-eval sweep --presses NAMES --ratios R,R`",
    "--ratios": "--model_args press=NAME,ratio=R, or `marathon-eval sweep --presses NAMES --ratios R,R`",
    "--resume": "the same command again: only what is not in the cache is asked",
}
VERBS_ELSEWHERE = {
    "eval": Elsewhere("inspect_ai", "`marathon-eval run --model NAME --tasks TASK`"),
    "eval-set": Elsewhere("inspect_ai", "`marathon-eval run -C FILE` with a list of `models` (sets.md)"),
    "eval-retry": Elsewhere("inspect_ai", "the same command again: only what failed is asked"),
    "log": Elsewhere("inspect_ai", "`marathon-eval ls runs DIR`"),
}


def written_elsewhere(word: str) -> str:
    """Return ` --epochs is inspect_ai's. Write here: ...` for a flag or verb of theirs, else an empty text."""
    if word in FLAGS_OF_NONE:
        return f" Write here: {FLAGS_OF_NONE[word]}."
    found = FLAGS_ELSEWHERE.get(word) or VERBS_ELSEWHERE.get(word)
    return "" if found is None else f" {word} is {found.harness}'s. Write here: {found.here}."
