"""Starts SGLang's server for the run and asks it: https://docs.sglang.io/advanced_features/server_arguments.html"""

from __future__ import annotations

from marathon_eval.models._served import Served


class Sglang(Served):
    """Answers with any audio model that SGLang serves (`sglang serve`); the server runs as long as the run.

    - Chat: one user message, audio before the prompt (`audio_first=`); the server fills the model's template.
    - Audio: the model's limits in SGLang; the token rate is measured.
    - Presses: none.
    - Source: https://docs.sglang.io
    """

    package = "sglang"

    def command(self, port: int, revision: str | None, clips: int) -> list[str]:
        settings = self.settings
        flags = {
            "--model-path": settings.pretrained,
            "--host": "127.0.0.1",
            "--port": port,
            "--served-model-name": None if settings.model else self.served_name,
            "--revision": revision,
            "--dtype": settings.dtype,
            "--tp-size": settings.tensor_parallel_size,
            "--context-length": settings.max_model_len,
            "--mem-fraction-static": settings.gpu_memory,
        }
        given = [text for flag, value in flags.items() if value is not None for text in (flag, str(value))]
        trusted = ["--trust-remote-code"] if settings.trust_remote_code else []
        return [self.engine.executable, "serve", *given, "--enable-multimodal", *trusted]
