"""Computes text embeddings by mean pooling, for models of the E5 family.

See https://huggingface.co/intfloat/multilingual-e5-small.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import transformers

from marathon_eval.backends.hf.engine.load import chosen_device, quiet, refuse_missing_weights
from marathon_eval.errors import MarathonError, RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Tokens of the longest text that models of the E5 family were trained on.
LONGEST_TEXT = 512
BATCH = 32


class TextEncoder:
    """Embeds texts with a checkpoint of the E5 family. Raises MarathonError when the folder does not load."""

    def __init__(self, folder: Path, device: str) -> None:
        self.device = chosen_device(device)
        try:
            with quiet():
                self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
                self.model: Any
                self.model, info = transformers.AutoModel.from_pretrained(
                    folder, dtype=torch.float32, output_loading_info=True, ignore_mismatched_sizes=True
                )
        except (OSError, ValueError, ImportError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise MarathonError(f"--model embedder: cannot load {folder}: {reason}") from None
        # the mean of the last layer's states is taken, which passes by BERT's pooler
        kind = type(self.model).__name__
        refuse_missing_weights(info, f"--model embedder: {folder}", kind, unused="pooler.")
        self.model.to(self.device).eval()

    def query(self, texts: list[str]) -> NDArray[np.float32]:
        """Return unit vectors [n, d] of questions, with E5's prefix "query: "."""
        return self._vectors([f"query: {text}" for text in texts])

    def passage(self, texts: list[str]) -> NDArray[np.float32]:
        """Return unit vectors [n, d] of possible answers, with E5's prefix "passage: "."""
        return self._vectors([f"passage: {text}" for text in texts])

    @torch.no_grad()
    def _vectors(self, texts: list[str]) -> NDArray[np.float32]:
        batches = [self._batch(texts[first : first + BATCH]) for first in range(0, len(texts), BATCH)]
        vectors: NDArray[np.float32] = torch.cat(batches).cpu().numpy()
        return vectors

    def _batch(self, texts: list[str]) -> torch.Tensor:
        inputs = self.tokenizer(texts, padding=True, return_tensors="pt")
        if (length := inputs["input_ids"].shape[1]) > LONGEST_TEXT:
            raise RowError(f"a question or passage of {length} tokens; the encoder reads {LONGEST_TEXT}")
        inputs = inputs.to(self.device)
        states = self.model(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        mean = (states * mask).sum(1) / mask.sum(1)
        return torch.nn.functional.normalize(mean, dim=-1)
