"""Classifiers small enough to make in a test: random weights, several architectures, tokenizers of their manner."""

from functools import cache
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForSequenceClassification,
)
from transformers.utils import logging

from models.families import CHATML, TEXT

Kind = Literal["roberta", "deberta", "bert", "llama", "llama_without_padding"]
KINDS: tuple[Kind, ...] = ("roberta", "deberta", "bert", "llama", "llama_without_padding")

SPECIAL = ("<s>", "<pad>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>")
START, PADDING, END = 0, 1, 2
SIZES = {
    "vocab_size": 600,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "initializer_range": 0.1,
    "bos_token_id": START,
    "eos_token_id": END,
}


def tiny_classifier(kind: Kind, *, labels: int, seed: int) -> PreTrainedModel:
    """A classifier with weights large enough that its scores differ."""
    sizes = {**SIZES, "num_labels": labels, "pad_token_id": None if kind == "llama_without_padding" else PADDING}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "roberta":
            return RobertaForSequenceClassification(
                RobertaConfig(max_position_embeddings=130, type_vocab_size=1, **sizes)
            )
        if kind == "deberta":
            relative = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False}
            return DebertaV2ForSequenceClassification(
                DebertaV2Config(max_position_embeddings=128, type_vocab_size=0, **relative, **sizes)
            )
        if kind == "bert":
            return BertForSequenceClassification(BertConfig(max_position_embeddings=128, **sizes))
        return LlamaForSequenceClassification(LlamaConfig(max_position_embeddings=128, **sizes))


@cache
def _trained() -> str:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return tokenizer.to_str()


def tiny_tokenizer(kind: Kind) -> PreTrainedTokenizerFast:
    """Encoders have a start and an end, BERT has segments, the Llamas a start and ChatML."""
    inner = Tokenizer.from_str(_trained())
    ends = [("<s>", START), ("</s>", END)]
    if kind.startswith("llama"):
        inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=ends[:1])
    else:
        inner.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=ends
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token=None if kind == "llama_without_padding" else "<pad>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=CHATML if kind.startswith("llama") else None,
        model_input_names=["input_ids", *(["token_type_ids"] if kind == "bert" else []), "attention_mask"],
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )


def classifier_folder(folder: Path, kind: Kind = "roberta", *, labels: int = 1, seed: int = 0) -> Path:
    """A Hugging Face folder with the weights, in safetensors, and the tokenizer."""
    logging.disable_progress_bar()
    tiny_classifier(kind, labels=labels, seed=seed).save_pretrained(folder)
    tiny_tokenizer(kind).save_pretrained(folder)
    logging.enable_progress_bar()
    return folder
