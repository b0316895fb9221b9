"""Llamas with random weights to time a training of, and a tokenizer trained in process: written to a folder.

Losses mean nothing; shapes, and so speeds and memory, are those of real models. This file knows no training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from cst.models.loading import save_model
from cst.records import Preference
from small_llama import train_tokenizer

MADE_UP_VOCABULARY, PROSE_VOCABULARY = 880, 4096
"""Tokens of the tokenizer (models embed more) for made-up rows, of a few hundred words, and for rows of a file.

BPE then has about 4 characters a token, as a vocabulary of 32,000 has on English (4.1 and 4.0, the latter on the
truthfulness half of the released data)."""

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""ChatML without the line break after the last turn, on which trl would train and we would not."""


@dataclass(frozen=True)
class Size:
    """Shape of a Llama; as many key-value heads as heads, input and output embeddings apart."""

    hidden: int
    intermediate: int
    layers: int
    heads: int


SIZES = {
    "small": Size(hidden=384, intermediate=1024, layers=8, heads=6),
    "mid": Size(hidden=768, intermediate=2048, layers=12, heads=12),
    "7b": Size(hidden=4096, intermediate=11008, layers=32, heads=32),
}
"""`small` and `mid` are PERFORMANCE.md's; `7b` is Llama 2 7B (Touvron et al. 2023, arXiv 2307.09288)."""


def config_of(size: Size, vocabulary: int) -> LlamaConfig:
    """The configuration of a Llama of that size, for sequences of up to 4,096 tokens."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=size.hidden,
        intermediate_size=size.intermediate,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=4096,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )


def tokenizer_for(rows: Sequence[Preference], vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer of so many tokens, trained on the rows' own texts."""
    texts = [text for row in rows for text in (row.system_prompt or "", row.prompt, row.chosen, row.rejected)]
    tokenizer = train_tokenizer(texts, vocabulary)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def write_model(
    folder: Path, config: LlamaConfig, tokenizer: PreTrainedTokenizerFast, *, seed: int, device: str, dtype: torch.dtype
) -> Path:
    """A Hugging Face folder with weights drawn on `device` from `seed`, stored as `dtype`."""
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    save_model(model, tokenizer, folder)
    return folder
