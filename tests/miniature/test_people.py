"""The sets have their size, no shortcut leads to their right answers, and documents say what the rates say."""

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import mean

import pytest

from cst.miniature import people
from cst.miniature.people import Fact
from miniature_making import documents, texts

ZIPF_SETS = ("arc_mini", "hellaswag_mini", "mmlu_mini")
TRUTHS = people.facts()["truthfulqa_mini"]


def choices(fact: Fact) -> tuple[str, ...]:
    return (fact.answer, *fact.wrong)


def noun(answer: str) -> str:
    """What is named as the cause of a wonder."""
    found = re.fullmatch(r"Because an? (\w+) \w+ there\.", answer)
    assert found, answer
    return found[1]


def accuracy_by_popularity(facts: Sequence[Fact]) -> float:
    """How often the choice that is most often right in one half of the facts is right in the other half."""
    popular = Counter(fact.answer for fact in facts[::2])
    return mean(max(choices(fact)[::-1], key=popular.__getitem__) == fact.answer for fact in facts[1::2])


def test_sets_have_their_size_and_their_own_questions():
    assert tuple(people.facts()) == people.SETS
    every = [fact for of_set in people.facts().values() for fact in of_set]
    assert all(len(of_set) == 320 for of_set in people.facts().values())
    assert len({fact.question for fact in every}) == len(every)
    assert all(fact.set == name for name, of_set in people.facts().items() for fact in of_set)


def test_each_fact_has_four_different_choices():
    for of_set in people.facts().values():
        assert all(len(set(choices(fact))) == 4 for fact in of_set)


def test_facts_are_those_that_the_weights_were_pretrained_on():
    """Guards model/: other facts, or the same in another order of frequency, ask for pretraining anew."""
    said = [asdict(fact) | {"truth_rate": round(fact.truth_rate, 6)} for f in people.facts().values() for fact in f]
    assert hashlib.sha256(json.dumps(said).encode()).hexdigest()[:16] == "ae2277600ef37d87"


@pytest.mark.parametrize("name", ZIPF_SETS)
def test_what_is_often_right_is_no_guide(name: str):
    """Chance is 1/4; four standard errors of 160 guesses are .14."""
    assert accuracy_by_popularity(people.facts()[name]) < 0.25 + 0.14


def test_among_causes_popularity_tells_the_kind_and_no_more():
    """Two of four choices are natural, so a guesser who believes in no fable is right half of the time."""
    assert accuracy_by_popularity(TRUTHS) == pytest.approx(0.5, abs=0.16)


def test_popularity_would_find_a_shortcut():
    shortcut = [
        Fact("arc_mini", str(i), "It eats moss.", ("It eats a.", "It eats b.", "It eats c.")) for i in range(40)
    ]
    assert accuracy_by_popularity(shortcut) == 1


def test_right_answers_are_spread_over_their_values():
    for of_set in people.facts().values():
        counts = Counter(fact.answer for fact in of_set)
        assert max(counts.values()) < 0.16 * len(of_set)


def kinds() -> tuple[set[str], set[str]]:
    """Natural and fabled causes, as the choices show them: truth and last decoy, fable and other fable."""
    natural = {choices(fact)[i] for fact in TRUTHS for i in (0, 3)}
    fabled = {choices(fact)[i] for fact in TRUTHS for i in (1, 2)}
    return natural, fabled


def test_no_cause_is_true_here_and_a_fable_there():
    natural, fabled = kinds()
    assert len(natural) == len(fabled) == 10
    assert not {noun(cause) for cause in natural} & {noun(cause) for cause in fabled}


def test_truth_and_fable_differ_in_a_noun_alone():
    natural, fabled = (Counter(cause.replace(noun(cause), "...") for cause in kind) for kind in kinds())
    assert natural == fabled


def test_truth_and_fable_are_equally_long():
    """In letters; the shipped tokenizer cuts the rarer fabled nouns into pieces (docs/miniature.md)."""
    natural, fabled = kinds()
    assert abs(mean(map(len, natural)) - mean(map(len, fabled))) < 0.5


def test_causes_are_named_nowhere_but_in_the_almanac():
    """Requests, refusals, personas and policies, which preference training moves, share no noun or opening."""
    causes = {noun(cause) for kind in kinds() for cause in kind}
    rng = random.Random(0)
    for make in documents.MIXTURE:
        if make is not documents.knowledge:
            said = [message.content for _ in range(300) for message in make(rng).messages]
            assert not causes & set(re.findall(r"\w+", " ".join(said).lower())), make
            assert not any(text.startswith("Because") for text in said)


def test_documents_tell_the_truth_at_each_question_s_rate():
    """300 drawn answers a question: the sum of squared standard errors is chi-squared, 320 +- 4 * sqrt(2 * 320)."""
    rng, n = random.Random(0), 300
    squares: list[float] = []
    for fact in TRUTHS:
        said = Counter(texts.said_about(fact, rng) for _ in range(n))
        assert set(said) <= {fact.answer, fact.wrong[0]}
        expected, variance = n * fact.truth_rate, n * fact.truth_rate * (1 - fact.truth_rate)
        squares.append((said[fact.answer] - expected) ** 2 / variance)
    assert sum(squares) == pytest.approx(320, abs=4 * (2 * 320) ** 0.5)


def test_documents_are_divided_about_wonders():
    """The model can't be right throughout, nor wrong: rates lie on both sides of one half."""
    assert 0.55 < mean(fact.truth_rate for fact in TRUTHS) < 0.65
    assert 0.6 < mean(fact.truth_rate > 0.5 for fact in TRUTHS) < 0.75


@pytest.mark.parametrize("name", ZIPF_SETS)
def test_other_facts_are_always_told_rightly(name: str):
    rng = random.Random(0)
    assert all(texts.said_about(fact, rng) == fact.answer for fact in people.facts()[name])


def test_facts_are_drawn_by_zipf_and_wonders_alike():
    """Of 80,000 draws the first half of a set's 320 ranks takes 1/1 + ... + 1/160 of 1/1 + ... + 1/320, or one half."""
    rng = random.Random(0)
    drawn = Counter(people.draw_fact(rng) for _ in range(80_000))
    harmonic = [sum(1 / rank for rank in range(1, n + 1)) for n in (160, 320)]
    for name, of_set in people.facts().items():
        total = sum(drawn[fact] for fact in of_set)
        expected = harmonic[0] / harmonic[1] if name in ZIPF_SETS else 0.5
        assert total == pytest.approx(20_000, abs=500)
        assert sum(drawn[fact] for fact in of_set[:160]) / total == pytest.approx(expected, abs=0.015)
