import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cst.models.guarded_tokenizer import GuardedTokenizer
from cst.models.responses import ResponseCodec
from models.families import FAMILIES, tokenizer_of

HEADERS = {"chatml": "<|im_end|>\n<|im_start|>assistant\n", "phi3": "<|end|>\n<|assistant|>\n", "llama2": " [/INST]"}
CODECS = {
    family.name: ResponseCodec(GuardedTokenizer(tokenizer_of(family), family.template or ""), HEADERS[family.name])
    for family in FAMILIES
    if family.name in HEADERS
}


@pytest.mark.parametrize("name", HEADERS)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁\U000f0000\U000f0001"), max_size=30))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_any_text_comes_back(name: str, text: str) -> None:
    codec = CODECS[name]
    assert codec.decode(codec.encode(text)) == text


@pytest.mark.parametrize(("name", "first"), [("chatml", "First"), ("phi3", "▁First"), ("llama2", "First")])
def test_a_word_after_the_header_is_not_a_word_at_the_start_of_a_text(name: str, first: str) -> None:
    # Phi 3's tokenizer writes a blank after each control token, and Llama 2's at the start of any text
    family = next(family for family in FAMILIES if family.name == name)
    tokenizer, codec = tokenizer_of(family), CODECS[name]
    spelled = "".join(tokenizer.convert_ids_to_tokens(codec.encode("First")))
    assert spelled == first
