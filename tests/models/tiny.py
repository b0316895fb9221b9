"""A model folder small enough to make in a test: random weights, a tokenizer of one of the families."""

import json
from pathlib import Path

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from models.families import FAMILIES, Family, tokenizer_of

EMBERWICK = next(family for family in FAMILIES if family.name == "emberwick")


def tiny_model(*, vocab_size: int = 512, max_positions: int = 96, seed: int = 0) -> LlamaForCausalLM:
    """A Llama of 2 layers, 32 wide, with weights large enough that its answers differ."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=max_positions,
            initializer_range=0.3,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=None,
        )
        return LlamaForCausalLM(config)


def model_folder(folder: Path, *, family: Family = EMBERWICK, dtype: torch.dtype = torch.float16, **sizes: int) -> Path:
    """A Hugging Face folder with weights, tokenizer and template."""
    logging.disable_progress_bar()
    tiny_model(**sizes).to(dtype).save_pretrained(folder)
    tokenizer_of(family).save_pretrained(folder)
    logging.enable_progress_bar()
    return folder


def edit(path: Path, **changes: object) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def absolute_model() -> GPT2LMHeadModel:
    """A GPT-2 with random weights: its positions are absolute, so that filler that counted would show."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=64, initializer_range=0.3,
            bos_token_id=None, eos_token_id=None,
        )  # fmt: skip
        return GPT2LMHeadModel(config).eval()
