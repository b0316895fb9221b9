from functools import cache

import pytest

from cst.errors import RenderingError
from cst.models.rendering import Renderer, RenderingDescription
from cst.models.template_probe import first_control
from models.families import CHATML, FAMILIES, Family, conversation, tokenizer_of

BY_NAME = {family.name: family for family in FAMILIES}
EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES, ids=str)


@cache
def renderer_of(family: Family) -> Renderer:
    return Renderer.for_tokenizer(tokenizer_of(family))


def named(name: str):
    return tokenizer_of(BY_NAME[name]), renderer_of(BY_NAME[name])


@EVERY_FAMILY
def test_a_template_is_found_out(family: Family) -> None:
    found = renderer_of(family).describe()
    assert found.end_token == family.end_token
    assert found.boundary == ("strong" if family.is_strong else "weak")
    assert found.default_system_prompt == family.default_system_prompt
    assert found.bos == (
        "template" if "bos_token" in (family.template or "") else "tokenizer" if family.adds_bos else "none"
    )
    assert RenderingDescription.model_validate_json(found.model_dump_json()) == found


def test_an_empty_thought_of_training_is_part_of_the_prompt() -> None:
    tokenizer, renderer = named("thinking_in_training_only")
    assert tokenizer.decode(renderer.prompt(conversation(None, "Hi"))).endswith("assistant\n<think>\n\n</think>\n\n")
    assert renderer.describe().assistant_opening == "<think>\n\n</think>\n\n"
    assert renderer_of(BY_NAME["qwen3"]).describe().template_variables == {"enable_thinking": False}
    assert renderer_of(BY_NAME["reasoner"]).describe().assistant_opening == "<|Assistant|>"


def rendered_with(template: str) -> Renderer:
    return Renderer.for_tokenizer(tokenizer_of(BY_NAME["chatml"]), chat_template=template)


def test_a_template_that_loses_turns_is_refused() -> None:
    with pytest.raises(RenderingError, match="loses a turn"):
        rendered_with("{{ messages[0]['content'] }}{% if add_generation_prompt %}<|im_start|>{% endif %}")
    last_only = CHATML.replace("in messages", "in messages[-2:]")
    with pytest.raises(RenderingError, match=r"drops the \w+ turn"):
        rendered_with(last_only).prompt(conversation(None, "Hi", "Hello", "How?"))


def test_a_template_with_two_forms_of_a_conversation_is_refused() -> None:
    two_forms = "{% if messages | length > 1 %}{{ 'answered ' }}{% endif %}" + CHATML
    with pytest.raises(RenderingError, match="differently once it is answered"):
        rendered_with(two_forms)


def test_a_template_that_is_no_template_is_refused() -> None:
    with pytest.raises(RenderingError, match="can't render a conversation"):
        rendered_with("{% for message in messages %}")


def test_of_two_control_tokens_the_first_and_longer_is_found() -> None:
    assert first_control("a<s><e>", ["<e>", "<s>"]) == (1, "<s>")
    assert first_control("a</s>", ["</s", "</s>"]) == (1, "</s>")
    assert first_control("a", ["<s>"]) is None
    assert first_control("a", []) is None
