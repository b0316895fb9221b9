"""Make a small chat model from scratch: a tokenizer trained on a preference file, and a Llama with random weights.

    python benchmarks/small_llama.py rows.json runs/small-llama

For trying the training room on real text where no weights can be had: about 10 million parameters, ChatML template.
It can say nothing sensible; losses, gradients, files and speeds are real.
"""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cst.preferences.sources import read_preferences

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(texts: list[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with ChatML's control tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = TEMPLATE
    return fast


def build(tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """Hidden 320, 6 layers, tied embeddings: about 10 million parameters at 8,192 tokens."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=320,
        intermediate_size=864,
        num_hidden_layers=6,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", type=Path, help="preference rows to train the tokenizer on")
    parser.add_argument("out", type=Path)
    parser.add_argument("--vocab-size", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rows = read_preferences(asked.rows)
    texts = [text for row in rows for text in (row.system_prompt or "", row.prompt, row.chosen, row.rejected)]
    tokenizer = train_tokenizer(texts, asked.vocab_size)
    model = build(tokenizer, asked.seed)
    model.save_pretrained(asked.out)
    tokenizer.save_pretrained(asked.out)
    print(f"{asked.out}: {model.num_parameters():,} parameters, {len(tokenizer)} tokens, from {len(rows)} rows")


if __name__ == "__main__":
    main()
