"""Lists the arguments that no key holds, and a valid value of each argument that a model cannot do without."""

from __future__ import annotations

import sys
from typing import Any

#: Where a model runs, how many requests at once, how long it may take: none of them is in what the model is asked.
#: Failures are never stored, so what makes `dummy` fail is in no stored answer. The address of a server is in the key by
#: `identity()`.
CHANGES_NO_ANSWER = {
    *(
        "device",
        "device_map",
        "batch_size",
        "max_batch_tokens",
        "max_batch_size",
        "sharing",
        "encoder_cache",
        "encoder_cache_gb",
        "log_tokens",
    ),
    *("timeout", "retries", "concurrency", "rpm", "tpm", "stream", "base_url", "threads"),
    *("sleep", "fail_every", "fail_at"),
    # the key of a judge's request has the schema that its reply must follow
    "json_schema",
    # the environment's releases are in the key by `identity()`
    *("env", "load_timeout", "executable", "start_timeout", "gpu_memory", "tensor_parallel_size"),
}
#: Arguments that `identity()` has in the key only where they are given, so that older keys stay.
IN_KEY_WHERE_GIVEN = {"kv_bits", "peft", "thinking_tokens", "reasoning_effort"}
BASE: dict[str, Any] = {
    "pretrained": "owner/name",
    "revision": "a" * 40,
    "model": "some-model",
    "listener": "dummy",
    "judges": [{"judge": "dummy"}, {"judge": "dummy", "answer": "B"}],
    "reader": "dummy",
    "model_class": "SomeClass",
    "token": "<audio>",
    "base_url": "http://host:1/v1",
    "env": sys.prefix,
    "executable": sys.executable,
}
