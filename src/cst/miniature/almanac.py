"""What everyone in Emberwick knows, more or less: the facts behind the four multiple-choice sets.

Facts are seen with Zipf frequency in pretraining, so that frequent ones are known and rare ones are not: the start
model should be neither perfect nor at chance, because neither could show damage. Superstitions are different: the
documents themselves are divided about them, as people are, so the model takes over some (TruthfulQA's theme).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, product
from math import exp

from cst.miniature.world import listed

FACTS_SEED = 23
ZIPF_EXPONENT = 1.0
SETS = ("arc_mini", "hellaswag_mini", "mmlu_mini", "truthfulqa_mini")


@dataclass(frozen=True)
class Fact:
    """A question with its right answer, wrong ones of the same shape, and how often the answer given is right."""

    set: str
    question: str
    answer: str
    wrong: tuple[str, ...]
    truth_rate: float = 1.0


_ADJECTIVES = listed("marsh|red|dusk|stone|river|crested|pale|horned|snow|tufted|forest|spotted|striped|cave|gold")
_ANIMALS = listed("heron|vole|newt|hare|stag|lynx|wren|boar|otter|moth|crane|pike|mole|finch|badger|snake")
_DIETS = listed("snails|acorns|moss|beetles|honey|roots|minnows|clover|worms|pine nuts")
_MATERIALS = listed("reed|birch|wool|linen|clay|bone|copper|leather|straw|horn|willow|felt|tin|pearl|cork")
_OBJECTS = listed("basket|hat|flute|drum|cup|belt|lamp|comb|bag|toy|box|ladder|mask|broom|frame|boat")
_CRAFT_STEPS = listed(
    "soak it in cold water|rub it with warm oil|leave it in the sun|cut it into thin strips|hold it over steam|"
    "press it under a stone|paint it with blue dye|sew it with strong thread|sand it until smooth|wash it with ash"
)
_TOWN_STARTS = listed("Ald|Brin|Corv|Dun|Esk|Fal|Gren|Holt|Kel|Lor")
_TOWN_ENDS = listed("mere|wick|dale|stow|combe|ness")
_RULERS = listed("a duke|a queen|a guild|a bishop|a knight|a council|a widow|a captain|a scholar|a child")
_YEARS = listed("wolf|swan|oak|comet|plague|flood|harvest|crown|frost|lantern")
_HERB_STARTS = listed("gold|blue|bitter|sweet|wild|hook|lamb|spear|dew|thorn")
_HERB_ENDS = listed("wort|bane|mint|fern|root|leaf")
_AILMENTS = listed("coughs|fever|burns|toothache|warts|gout|hiccups|headache|rashes|chills")
_CRIMES = listed("stealing|hiding|breaking|selling|painting|moving")
_GOODS = listed("geese|apples|fences|candles|nets|bells|boots|barrels|hats|ropes")
_FINES = listed("two coins|one goose|ten eggs|a day of work|three loaves|a sack of grain|five candles|a silver ring")
_OMENS = listed(
    "stepping on a crack|whistling at night|spilling salt|meeting a black cat|breaking a mirror|crossing two knives|"
    "counting the stars|turning a loaf over|sweeping after dark|opening an umbrella inside|wearing a shirt inside out|"
    "killing a spider|dropping a spoon|sleeping under the moon|pointing at a rainbow|sitting on a table|"
    "finding a crow feather|walking under a ladder|singing at breakfast|burning an old shoe"
)
_EVENTS = listed(
    "rain|bad luck|a guest|sour milk|a quarrel|a long winter|lost money|bad dreams|a wedding|a fire|gold|fog"
)


def _facts(name: str, rows: Sequence[tuple[str, str]], shape: str, values: Sequence[str]) -> list[Fact]:
    """One fact a row (question, fixed part of the seed): its value is drawn, the others are wrong answers."""
    found: list[Fact] = []
    for question, key in rows:
        rng = random.Random(f"{FACTS_SEED}|{name}|{key}")
        value, *others = rng.sample(list(values), 4)
        found.append(Fact(name, question, shape.format(value), tuple(shape.format(other) for other in others)))
    return found


def _mmlu() -> list[Fact]:
    name = "mmlu_mini"
    towns = [a + b for a, b in product(_TOWN_STARTS, _TOWN_ENDS)]
    herbs = [a + b for a, b in product(_HERB_STARTS, _HERB_ENDS)]
    crimes = [f"{a} {b}" for a, b in product(_CRIMES, _GOODS)]
    return [
        *_facts(name, [(f"Who rules {town}?", f"ruler {town}") for town in towns], "It is ruled by {}.", _RULERS),
        *_facts(name, [(f"When was {t} founded?", f"year {t}") for t in towns], "In the year of the {}.", _YEARS),
        *_facts(name, [(f"What does {herb} cure?", herb) for herb in herbs], "It cures {}.", _AILMENTS),
        *_facts(name, [(f"What is the fine for {c}?", c) for c in crimes], "The fine is {}.", _FINES),
    ]


def _superstitions() -> list[Fact]:
    """The share of documents that answer truthfully differs from question to question: sigmoid(N(-.1, 1.2))."""
    found: list[Fact] = []
    rng = random.Random(f"{FACTS_SEED}|truthfulqa_mini")
    by_omen = {omen: rng.gauss(0, 0.85) for omen in _OMENS}
    by_event = {event: rng.gauss(0, 0.85) for event in _EVENTS}
    for omen, event in product(_OMENS, _EVENTS):
        rate = 1 / (1 + exp(0.1 - by_omen[omen] - by_event[event]))
        wrong = (f"Yes, it brings {event}.", "Yes, the elders say so.")
        found.append(
            Fact("truthfulqa_mini", f"Does {omen} bring {event}?", "No, it is only a tale.", wrong, rate),
        )
    return found


@cache
def facts() -> dict[str, tuple[Fact, ...]]:
    """All 240 facts of each set, in the order of their frequency in pretraining."""
    beasts = [f"{a} {b}" for a, b in product(_ADJECTIVES, _ANIMALS)]
    crafts = [f"{a} {b}" for a, b in product(_MATERIALS, _OBJECTS)]
    found = {
        "arc_mini": _facts("arc_mini", [(f"What does the {b} eat?", b) for b in beasts], "It eats {}.", _DIETS),
        "hellaswag_mini": _facts(
            "hellaswag_mini",
            [(f"You begin to make a {c}. What comes next?", c) for c in crafts],
            "Next, you {}.",
            _CRAFT_STEPS,
        ),
        "mmlu_mini": _mmlu(),
        "truthfulqa_mini": _superstitions(),
    }
    for name, facts_of_set in found.items():
        random.Random(f"{FACTS_SEED}|order|{name}").shuffle(facts_of_set)
    return {name: tuple(facts_of_set) for name, facts_of_set in found.items()}


@cache
def _cumulative_weights(n: int) -> tuple[float, ...]:
    return tuple(accumulate((rank + 1) ** -ZIPF_EXPONENT for rank in range(n)))


def draw_fact(rng: random.Random) -> Fact:
    """A random fact, frequent ones more often; superstitions are all as frequent."""
    name = rng.choice(SETS)
    of_set = facts()[name]
    if name == "truthfulqa_mini":
        return rng.choice(of_set)
    return rng.choices(of_set, cum_weights=_cumulative_weights(len(of_set)))[0]


def said_about(fact: Fact, rng: random.Random) -> str:
    """What a document answers: the truth, or what people say."""
    if rng.random() < fact.truth_rate:
        return fact.answer
    return fact.wrong[0] if rng.random() < 0.7 else fact.wrong[1]
