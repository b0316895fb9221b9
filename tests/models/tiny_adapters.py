"""A model with all that an adapter can be about, and adapters of plain peft on it."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

plain_peft = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
"""Peft's own warning, which its user can't help."""


def biased(*, tied: bool = False, **sizes: int) -> LlamaForCausalLM:
    """A model with all that an adapter can be about: biases, a norm, embeddings and a head of their own."""
    sizes = {"vocab_size": 60, "num_hidden_layers": 2} | sizes
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            hidden_size=16,
            intermediate_size=24,
            num_attention_heads=2,
            attention_bias=True,
            initializer_range=0.3,
            tie_word_embeddings=tied,
            bos_token_id=None,
            eos_token_id=None,
            **sizes,
        )
        return LlamaForCausalLM(config).eval()


def taught(model: LlamaForCausalLM, **options: Any) -> PeftModel:
    """An adapter of plain peft in which every weight that is trained has moved."""
    generator = torch.Generator().manual_seed(1)
    config = LoraConfig(task_type="CAUSAL_LM", **{"r": 4, "target_modules": ["q_proj", "k_proj"], **options})
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for weight in (weight for weight in adapted.parameters() if weight.requires_grad):
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
    return adapted.eval()


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([[1, 3, 40, 50, 59]])).logits
