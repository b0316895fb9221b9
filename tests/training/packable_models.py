"""Random tiny models of the families that packs are tested on."""

import torch
import transformers
from transformers import PreTrainedConfig, PreTrainedModel

SHAPE = {
    "vocab_size": 120,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 8192,
    "initializer_range": 0.25,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
SLIDING = ["sliding_attention", "full_attention", "sliding_attention"]


def configs() -> dict[str, PreTrainedConfig]:
    return {
        "llama": transformers.LlamaConfig(**SHAPE),
        "mistral": transformers.MistralConfig(**SHAPE, sliding_window=7),
        "qwen3": transformers.Qwen3Config(**SHAPE, head_dim=8),
        "gemma3": transformers.Gemma3TextConfig(**SHAPE, head_dim=8, sliding_window=9, layer_types=SLIDING),
        "gemma2": transformers.Gemma2Config(**SHAPE, head_dim=8, sliding_window=9),
        "phi": transformers.PhiConfig(**SHAPE | {"num_key_value_heads": 4}),
        "cohere": transformers.CohereConfig(**SHAPE),
    }


def family(name: str) -> PreTrainedModel:
    return made(configs()[name])


def made(config: PreTrainedConfig) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return transformers.AutoModelForCausalLM.from_config(config).eval().requires_grad_(False)
