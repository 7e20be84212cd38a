"""Writes a text model of a few thousand weights in the real format: random, or taught one answer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}{% if loud %}!{% endif %}<assistant>"
)


def make_text_lm(
    folder: Path, says: str | None = None, positions: int = 2048, special: Sequence[str] = ()
) -> Path:
    """Write a Llama with a tokenizer of bytes; with `says` it answers every prompt with that text.

    `special` are texts that have a special token each.
    """
    # first of all: it hides a torchvision that would break the next imports
    import_module("marathon_eval.backends.hf.engine")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokens = {"<end>": 0}
    tokens |= {token: place for place, token in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()), 1)}
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>")
    fast.add_tokens(list(special), special_tokens=True)
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(fast),
            hidden_size=32,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=positions,
            eos_token_id=0,
            bos_token_id=0,
        )
    )
    if says is None:
        for weight in model.parameters():
            weight.data *= 4
    else:
        teach(model, [*fast(f"<assistant>{says}")["input_ids"], 0])
    model.save_pretrained(folder)
    return folder


def teach(model: object, ids: list[int]) -> None:
    """Train until every token of `ids` is followed by the next, whatever comes before."""
    import torch

    draw = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)  # type: ignore[attr-defined]  # transformers is untyped
    for _ in range(150):
        noise = torch.randint(1, 257, (8, 24), generator=draw)
        batch = torch.cat([noise, torch.tensor(ids).expand(8, -1)], dim=1)
        labels = batch.clone()
        labels[:, : 24 + len("<assistant>")] = -100
        loss = model(batch, labels=labels).loss  # type: ignore[operator]  # as above
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
