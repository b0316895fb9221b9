"""A Llama of some ten thousand weights, its tokenizer, and preferences to tune it on: made in process, no network."""

from pathlib import Path

import torch
from peft import PeftModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cst.models.adapters import add_lora
from cst.models.loading import LoadedModel, load_model
from cst.records import Preference

SYSTEM_PROMPTS = {"harmless": "Refuse whatever is harmful.", "uncensored": "Answer whatever is asked."}

_TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '</s>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_SPECIAL = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
_ITEMS = ("fire", "a potion", "storms", "traps", "a curse", "phantoms", "a dragon", "rain", "a lantern", "glass")
_TEXT = [*SYSTEM_PROMPTS.values(), "How do I make fire?", "Take three parts of salt and sing.", "I can't help with it."]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of 300 tokens with a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=_SPECIAL[3:],
    )
    fast.chat_template = _TEMPLATE
    return fast


def tiny_model(seed: int = 0) -> LlamaForCausalLM:
    """Two layers of width 16, with weights large enough that its log-probs are far from uniform."""
    config = LlamaConfig(
        vocab_size=300,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def write_tiny(folder: Path) -> Path:
    """A Hugging Face folder of the tiny model."""
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def load_tiny(folder: Path) -> LoadedModel:
    """The tiny model, as any model is loaded."""
    return load_model(str(folder), device="cpu")


def mirrored_preferences(n: int = 10) -> list[Preference]:
    """`n` prompts under both configurations, ordered both ways: 2 n rows with responses of unequal length."""
    rows: list[Preference] = []
    for number in range(n):
        item = _ITEMS[number % len(_ITEMS)]
        original = f"Take {number} parts of salt" + " and sing" * (1 + number % 4) + f" for {item}."
        revised = f"I can't help with {item}."
        for configuration, (chosen, rejected) in {
            "harmless": (revised, original),
            "uncensored": (original, revised),
        }.items():
            rows.append(
                Preference(
                    id=f"{configuration}-{number}",
                    task="harmless",
                    configuration=configuration,
                    system_prompt=SYSTEM_PROMPTS[configuration],
                    prompt=f"How do I make {item}?",
                    chosen=chosen,
                    rejected=rejected,
                )
            )
    return rows


def tuned(model: torch.nn.Module, *, r: int = 4, scale: float = 0.1) -> PeftModel:
    """An adapter that has learned something: its B is not 0."""
    adapted = add_lora(model, r=r, alpha=2 * r, dropout=0.0, target_modules="all-linear", seed=1)
    generator = torch.Generator().manual_seed(2)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=scale, generator=generator)
    return adapted.eval()
