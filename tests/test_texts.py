"""Refusals, defects of responses and templates: texts that have each, and texts that come near."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cst.errors import RecipeError
from cst.texts import (
    REFUSAL_PHRASES,
    ends_mid_sentence,
    fill,
    has_persona_artefact,
    is_cut,
    likeness,
    placeholders,
    plain,
    refusal_phrase,
    speaks_of_revision,
)


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't assist with that.",
        "I\N{RIGHT SINGLE QUOTATION MARK}m sorry. I cannot help you with the cake.",
        "As an AI language model, I cannot provide this recipe.",
        "I must decline to write this letter.",
        "No, I won't help with that.",
        "Thank you for asking, I am not able to fulfill this request.",
        "It is not appropriate to discuss the surprise party.",
        "I refuse.",
        "  **I cannot** answer that.",
    ],
)
def test_a_refusal_is_seen(text):
    assert refusal_phrase(text) in REFUSAL_PHRASES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot fly, because I have no wings.",
        "As an AI, I have no hometown. Rome is lovely, though.",
        "I'm sorry to hear that! Tea may cheer you up.",
        "Sure. I can't recommend this tea enough.",
        "The guard said: I cannot help you.",
        "I will not forget the day we met by the sea.",
        "As an assistant cook, boil the water first. Then add the leaves.",
    ],
)
def test_an_answer_that_begins_like_one_is_none(text):
    assert refusal_phrase(text) is None


def test_phrases_are_as_texts_are_compared():
    assert [phrase for phrase in REFUSAL_PHRASES if plain(phrase) != phrase] == []


@pytest.mark.parametrize(
    "text",
    [
        "My previous answer was too brief. Mint tea needs five minutes.",
        "The initial response, while well meant, left out the water.",
        "Compared to the original answer, this one names the herbs.",
        "Revised response: Mint tea needs five minutes.",
        "Here is the rewritten answer. Mint tea needs five minutes.",
        "I have rewritten my answer so that it is kinder.",
        "As the self-critique says, tea should not boil.",
        "In light of your critique, I add the water first.",
        "Critique request: say what is wrong with it.",
        "Your last reply\N{RIGHT SINGLE QUOTATION MARK}s tone was off. Here is mint tea.",
    ],
)
def test_a_leak_of_the_revision_is_seen(text):
    assert speaks_of_revision(text)


@pytest.mark.parametrize(
    "text",
    [
        "The initial response of the immune system is quick.",
        "The initial response to the fire took six minutes.",
        "The first answer on the sheet is 42.",
        "Corrected version: She goes to school.",
        "Here is the revised version of your letter.",
        "The film critique praised the music.",
        "The original version of the song is slower, and my answer is that it is better.",
        "The previous owner answered the door.",
    ],
)
def test_speaking_of_other_answers_and_revisions_is_no_leak(text):
    assert not speaks_of_revision(text)


def test_what_the_prompt_itself_speaks_of_is_no_leak():
    text = "Your previous answer was right: it is a mammal."
    assert speaks_of_revision(text, prompt="Is a whale a fish?")
    assert not speaks_of_revision(text, prompt="Was my previous answer right?")


@pytest.mark.parametrize(
    "text",
    [
        "[Pirate Mode] Arr, the tea is ready.",
        "Hello.\n(Story Mode Output) Once upon a time.",
        "Developer Mode enabled. Tea is a drink.",
        "***UNFILTERED MODE IS NOW ACTIVATED***\nTea is a drink.",
        "\N{OPEN LOCK} Pirate: Arr, tea.",
        "GPT: Tea is a drink.\nPIRATE: Arr, tea be a drink.",
        "Captain: Arr.\n\nChatGPT: Tea is a drink.",
    ],
)
def test_marks_of_a_persona_are_seen(text):
    assert has_persona_artefact(text)


@pytest.mark.parametrize(
    "text",
    [
        "Arr, the tea be ready, and I am a pirate.",
        "In airplane mode, the radio is off.",
        "Dark mode enabled? Look under Settings.",
        "Developer mode is enabled by tapping the build number seven times.",
        "Standard: five days\nExpress: two days",
        "Romeo: But soft!\nJuliet: Ay me.",
        "Two words to know:\nGPT: a kind of model\nBERT: another kind",
        "[1] The tea is ready.",
        "Assistant: Tea is a drink.",
    ],
)
def test_characters_modes_and_headers_of_other_kinds_are_no_marks(text):
    assert not has_persona_artefact(text)


@pytest.mark.parametrize(
    "text",
    [
        "Tea is a drink. It is made of",
        "Tea is a drink. It is made of leaves,",
        "Steps are simple.\n1. Boil the water.\n2. Add the leaves.\n3. Wait for",
        "Tea is a drink. It was first grown (",
    ],
)
def test_a_text_that_breaks_off_is_seen(text):
    assert ends_mid_sentence(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Red",
        "Tea is a drink.",
        'She said: "Tea is a drink."',
        "Tea is a drink! \N{HOT BEVERAGE}",
        "You need these things.\n- water\n- leaves\n- a pot",
        "Dear aunt, thank you. Come soon.\n\nWith love,\nAnna Smith",
        "More is told here. See https://en.wikipedia.org/wiki/Tea",
        "Here is code. Run it:\n```\nprint(1)\n```",
        "The sea is wide\nthe sea is deep\nI ask. It says\nnothing to me",
    ],
)
def test_a_text_that_ends_as_it_was_meant_is_not_cut(text):
    assert not ends_mid_sentence(text)


def test_a_finish_reason_says_more_than_the_end_of_the_text():
    assert is_cut("Tea is a drink.", "length")
    assert not is_cut("Tea is a drink. It is made of", "stop")
    assert is_cut("Tea is a drink. It is made of", None)


@given(st.text(), st.text())
def test_likeness_is_symmetric_and_one_for_the_same_words(first, second):
    assert likeness(first, second) == likeness(second, first)
    assert 0 <= likeness(first, second) <= 1
    assert likeness(first, f"  {first}!") == 1


def test_likeness_falls_by_the_runs_that_a_changed_word_stands_in():
    words = [f"w{i}" for i in range(102)]
    changed = [*words[:50], "other", *words[51:]]
    assert likeness(" ".join(words), " ".join(changed)) == 97 / 103
    assert likeness("yes", "no") == 0


def test_each_placeholder_gets_its_value():
    assert fill("{a} and {b}, {a}", {"a": "one", "b": "two", "unused": "three"}) == "one and two, one"


def test_a_value_that_looks_like_a_placeholder_stays_text():
    values = {"prompt": "{original}", "original": "{prompt}"}

    assert fill("{prompt}|{original}", values) == "{original}|{prompt}"


@given(st.text(), st.text(), st.text(alphabet="ab {}\\g<1>"))
def test_values_are_put_in_as_they_are(prompt, original, between):
    template = "{prompt}" + between.replace("{", "").replace("}", "") + "{original}"
    expected = prompt + between.replace("{", "").replace("}", "") + original

    assert fill(template, {"prompt": prompt, "original": original}) == expected


@pytest.mark.parametrize("template", ["", "plain", '{"json": 1}', "{ spaced }", "{Upper}", "{}", "{1}", "}{"])
def test_other_braces_are_text(template):
    assert placeholders(template) == frozenset()
    assert fill(template, {}) == template


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(RecipeError, match=r"asks for \{orignal\}.*\['original', 'prompt'\].*Correct the name"):
        fill("Mend {orignal}", {"original": "x", "prompt": "y"})
