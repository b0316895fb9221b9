"""Each wording that an override may say in a shipped recipe is said in every language, and is no English any more."""

from pathlib import Path

import pytest

from cst.evaluation.translations import TRANSLATIONS
from cst.recipe_file import load_recipe
from cst.workshop import Workshop

ROOT = Path(__file__).parents[2]
RECIPES = (*sorted((ROOT / "recipes").glob("*.yaml")), ROOT / "src/cst/miniature/recipe.yaml")
LANGUAGES = pytest.mark.parametrize("family", TRANSLATIONS)


def test_what_shipped_configurations_are_told_has_a_translation(tmp_path):
    configurations = [c for path in RECIPES for c in Workshop(load_recipe(path), tmp_path).configurations]
    told = {c.wordings[0] for c in configurations if c.wordings}
    assert len(told) > 4
    for family, translations in TRANSLATIONS.items():
        assert told <= translations.keys(), family


def test_the_languages_are_those_of_the_overrides_and_have_the_same_wordings():
    assert list(TRANSLATIONS) == ["in_german", "in_french", "in_spanish"]
    assert len({tuple(translations) for translations in TRANSLATIONS.values()}) == 1


@LANGUAGES
def test_no_translation_is_english_or_stands_for_two_wordings(family):
    translated = list(TRANSLATIONS[family].values())
    assert len(set(translated)) == len(translated)
    assert not [text for text in translated if {"you", "are", "the", "that"} & set(text.lower().split())]


@LANGUAGES
def test_a_translation_ends_as_its_wording_does(family):
    assert all(english.endswith(".") is text.endswith(".") for english, text in TRANSLATIONS[family].items())


def test_no_language_says_it_in_the_words_of_another():
    for english in TRANSLATIONS["in_german"]:
        assert len({translations[english] for translations in TRANSLATIONS.values()}) == len(TRANSLATIONS)
