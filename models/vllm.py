"""Starts `vllm serve` for the run and asks it: https://docs.vllm.ai/en/latest/cli/serve/"""

from __future__ import annotations

import json

from marathon_eval.models._served import Served


class Vllm(Served):
    """Answers with any audio model that vLLM serves; the server runs as long as the run.

    - Chat: one user message, audio before the prompt (`audio_first=`); the server fills the model's template.
    - Audio: the model's limits in vLLM, as many clips per request as the requests hold; the token rate is measured.
    - Presses: none.
    - Source: https://docs.vllm.ai
    """

    package = "vllm"

    def command(self, port: int, revision: str | None, clips: int) -> list[str]:
        settings = self.settings
        flags = {
            "--host": "127.0.0.1",
            "--port": port,
            "--served-model-name": None if settings.model else self.served_name,
            "--revision": revision,
            "--dtype": settings.dtype,
            "--tensor-parallel-size": settings.tensor_parallel_size,
            "--max-model-len": settings.max_model_len,
            "--gpu-memory-utilization": settings.gpu_memory,
            # without it, some releases take one clip per request
            "--limit-mm-per-prompt": json.dumps({"audio": clips}),
        }
        given = [text for flag, value in flags.items() if value is not None for text in (flag, str(value))]
        trusted = ["--trust-remote-code"] if settings.trust_remote_code else []
        return [self.engine.executable, "serve", settings.pretrained, *given, *trusted]
