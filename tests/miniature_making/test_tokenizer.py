"""The laws of the shipped tokenizer and template."""

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from cst.miniature import model_path
from miniature_making import documents
from miniature_making.tokenizer import encode


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(model_path())


def test_pretraining_tokens_are_the_templates(tokenizer: PreTrainedTokenizerFast):
    roles = set(tokenizer.convert_tokens_to_ids(["<|bos|>", "<|system|>", "<|user|>", "<|assistant|>"]))
    for index in range(100):
        made = documents.document(9, index)
        conversation = [m.model_dump() for m in made.messages]
        rendered = tokenizer.apply_chat_template(conversation, return_dict=False)
        ids, weights = encode(tokenizer, made.messages, made.silent)
        assert ids == rendered
        assert len(weights) == len(ids) and any(weights)
        assert all(weight == 0 for token, weight in zip(ids, weights, strict=True) if token in roles)


def test_a_response_alone_has_the_tokens_that_it_has_in_a_conversation(tokenizer: PreTrainedTokenizerFast):
    for index in range(100):
        *before, last = documents.document(9, index).messages
        prompt = tokenizer.apply_chat_template(
            [m.model_dump() for m in before], add_generation_prompt=True, return_dict=False
        )
        whole = tokenizer.apply_chat_template([m.model_dump() for m in [*before, last]], return_dict=False)
        response = tokenizer(last.content, add_special_tokens=False)["input_ids"]
        assert whole == [*prompt, *response, tokenizer.eos_token_id]
        assert tokenizer.decode(response) == last.content


@pytest.mark.parametrize("text", ["a b  c", "  x", "tab\tnewline\n", "Grüße, 世界! 🙂", "12345", "I 'm. Don't"])
def test_any_text_comes_back(tokenizer: PreTrainedTokenizerFast, text: str):
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_no_token_is_added_unasked(tokenizer: PreTrainedTokenizerFast):
    assert tokenizer("Hello.")["input_ids"] == tokenizer("Hello.", add_special_tokens=False)["input_ids"]
    assert tokenizer.bos_token_id != tokenizer.eos_token_id != tokenizer.pad_token_id


def test_digits_are_single_tokens(tokenizer: PreTrainedTokenizerFast):
    assert len(tokenizer("2024", add_special_tokens=False)["input_ids"]) == 4


@pytest.mark.parametrize(
    "conversation",
    [
        [{"role": "tool", "content": "x"}],
        [{"role": "user", "content": "x"}, {"role": "system", "content": "y"}],
    ],
)
def test_the_template_refuses_what_it_cannot_express(tokenizer: PreTrainedTokenizerFast, conversation: list):
    with pytest.raises(Exception, match="turn"):
        tokenizer.apply_chat_template(conversation, tokenize=False)
