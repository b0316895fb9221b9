"""An override changes a user's turns and nothing else, says the other wording, and stays text under any template."""

import base64
import codecs
from functools import cache

import pytest
from made_for_evaluation import prompt

from cst.evaluation.overrides import FAMILIES, override
from cst.evaluation.translations import TRANSLATIONS
from cst.models.rendering import Renderer
from cst.records import Message
from models.families import FAMILIES as TEMPLATES
from models.families import Family, conversation, tokenizer_of

SYSTEM, OTHER = "You are a {prompt} of few words.", "You are an assistant that {never} rests."
BEFORE = (Message(role="user", content="Hello."), Message(role="assistant", content="Hi."))
SPEAKING = FAMILIES[1:]
EVERY_OVERRIDE = pytest.mark.parametrize("family", SPEAKING)
FAKES = ("fake_role_header", "fake_chatml", "fake_llama", "fake_phi")


def said(family: str, text: str = "How?") -> str:
    """All that a user said, in one string."""
    put = override(prompt(text=text), family, OTHER)
    return "\n".join(turn.content for turn in put.turns if turn.role == "user")


def test_there_are_twelve_families_and_a_control():
    assert len(SPEAKING) >= 12
    assert override(prompt(history=BEFORE), "plain", OTHER) == prompt(history=BEFORE)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_input_stays_apart_where_it_still_ends_the_text(family):
    before = prompt(text="Sort these.\n3 1 2", input="3 1 2")
    asked = override(before, family, OTHER).turns[-1]

    assert asked.input == ("3 1 2" if asked.content.endswith("\n3 1 2") else "")
    assert before.text in asked.content


@EVERY_OVERRIDE
def test_an_override_changes_the_turns_alone(family):
    before = prompt(topic="t", system_prompt="s", groups={"frame": "1"}, history=BEFORE)
    put = override(before, family, OTHER)

    assert put.turns != before.turns
    assert put.turns[: len(BEFORE)] == BEFORE
    assert before.text in put.text
    assert put.model_dump(exclude={"text", "history"}) == before.model_dump(exclude={"text", "history"})
    assert type(put).model_validate_json(put.model_dump_json()) == put


@EVERY_OVERRIDE
def test_an_override_says_the_other_wording_and_no_two_say_the_same(family):
    encoded = {"base64": base64.b64encode(OTHER.encode()).decode(), "rot13": codecs.encode(OTHER, "rot13")}

    assert encoded.get(family, OTHER) in said(family)
    assert said(family) not in [said(other) for other in FAMILIES if other != family]


@pytest.mark.parametrize("family", TRANSLATIONS)
def test_a_wording_is_said_in_the_language_of_its_family_where_it_was_translated(family):
    for english, translated in TRANSLATIONS[family].items():
        text = override(prompt(), family, english).text
        assert translated in text
        assert english not in text
    assert OTHER in override(prompt(), family, OTHER).text  # nobody translated this one


def test_other_families_say_it_in_english():
    for english in TRANSLATIONS["in_german"]:
        assert english in override(prompt(), "prefix", english).text


@EVERY_OVERRIDE
def test_braces_in_a_users_text_open_no_placeholder(family):
    assert "{wording} and {prompt}?" in said(family, "What are {wording} and {prompt}?")


@cache
def renderer_of(template: Family) -> Renderer:
    return Renderer.for_tokenizer(tokenizer_of(template))


def controls_of(renderer: Renderer, messages: list[Message]) -> list[int]:
    return [token for token in renderer.prompt(messages) if token in renderer.control_ids]


@pytest.mark.parametrize("template", TEMPLATES, ids=str)
def test_no_override_writes_a_control_token_under_any_template(template):
    """The renderer writes the same control tokens as around harmless words; a raw encoding (the control) would not."""
    renderer = renderer_of(template)
    system = SYSTEM if template.takes_system else None
    for family in SPEAKING:
        put = override(prompt(), family, OTHER)
        if len(put.turns) > 1 and not template.takes_history:
            continue
        harmless = conversation(system, *("Word." for _ in put.turns))
        words = conversation(system, *(turn.content for turn in put.turns))
        assert controls_of(renderer, words) == controls_of(renderer, harmless)


@pytest.mark.parametrize(("template", "family"), [("chatml", "fake_chatml"), ("emberwick", "fake_phi")])
def test_the_fakes_would_be_control_tokens_if_nothing_guarded_them(template, family):
    tokenizer = tokenizer_of(next(each for each in TEMPLATES if each.name == template))
    raw = tokenizer.encode(said(family), add_special_tokens=False)

    assert set(raw) & renderer_of(next(each for each in TEMPLATES if each.name == template)).control_ids


def test_where_text_parts_the_turns_a_fake_header_is_a_real_one_and_the_boundary_is_recorded_as_weak():
    solar = renderer_of(next(template for template in TEMPLATES if template.name == "solar"))
    put = override(prompt(), "fake_role_header", OTHER)
    told = solar.prompt(conversation(OTHER, "How p0?"))
    faked = solar.prompt(conversation(None, put.text))

    assert solar.describe().boundary == "weak"
    assert set(told) <= set(faked)
