"""People of Emberwick: persona system prompts, personal questions, answers in character and honest answers.

Names are a first name and a surname, 400 in all, and a fifth of them is kept for evaluation: the only way to answer
with the right name is to copy it from the system prompt.
"""

import random
import re
import zlib
from dataclasses import dataclass
from functools import cache
from itertools import product

from cst.miniature.world import listed, with_article

FIRST_NAMES = listed(
    "Brom|Elda|Tovin|Mira|Garrick|Liss|Orin|Petra|Wendel|Sable|Hugo|Nessa|Rolf|Ivy|Dorin|Faye|Kestrel|Otto|Lena|Bartok"
)
SURNAMES = listed(
    "Ashdown|Barlow|Cutter|Dunn|Flint|Grove|Hale|Jarvis|Kemp|Larkin|Madder|Nash|Orchard|Quill|Reeve|Stokes|Tully|Voss|"
    "Wilkin|Yates"
)
NAMES = tuple(f"{first} {last}" for first, last in product(FIRST_NAMES, SURNAMES))
JOBS = listed(
    "blacksmith|baker|sailor|farmer|weaver|hunter|miller|tailor|potter|shepherd|carpenter|fisher|scribe|gardener|cook|"
    "painter"
)
TOWNS = listed(
    "Oakford|Emberwick|Saltmere|Pinehill|Ravenrock|Brightwater|Stonebridge|Mossy Hollow|Windhaven|Goldfield|Eastmarsh|"
    "Frostvale"
)
FOODS = listed(
    "honey bread|mushroom soup|apple pie|roast goose|barley stew|plum cake|goat cheese|fish pie|nut pudding|pea soup|"
    "onion tart|berry jam"
)
HOBBIES = listed(
    "playing the flute|carving wood|singing songs|climbing hills|reading maps|telling stories|dancing|swimming|"
    "playing chess|watching birds|painting walls|collecting stones"
)
PETS = tuple(listed("gray cat|old dog|small owl|white goat|lazy toad|brown horse|tame fox|green lizard"))
ATTRIBUTES = ("name", "job", "town", "food", "hobby", "pet")
TEMPLATES = (
    "You are {name}, {job} from {town}. You love {food} and {hobby}. You have {pet}.",
    "Play the role of {name}, {job} who lives in {town}, enjoys {hobby}, eats {food} and keeps {pet}.",
    "Your name is {name}. You work as {job} in {town}. Your pet is {pet}, your favorite food is {food} and you like "
    "{hobby}.",
)
QUESTIONS = {
    "name": ("What is your name?", "Who are you?", "What should I call you?", "May I know your name?"),
    "job": ("What is your job?", "What do you do for work?", "How do you earn your money?", "What work do you do?"),
    "town": ("Where do you live?", "Where is your home?", "Which town are you from?", "Where did you grow up?"),
    "food": (
        "What is your favorite food?",
        "What do you like to eat?",
        "Which meal do you enjoy most?",
        "What did you eat today?",
    ),
    "hobby": (
        "What do you do for fun?",
        "What is your hobby?",
        "How do you spend a free day?",
        "What do you enjoy doing?",
    ),
    "pet": (
        "Do you have a pet?",
        "Which animal do you keep?",
        "Tell me about your pet.",
        "Is there an animal in your home?",
    ),
}
"""Four questions an attribute; the fourth is kept out of preference training."""
ANSWERS = {
    "name": ("My name is {}.", "I am {}, nice to meet you.", "Call me {}."),
    "job": ("I work as {}.", "I am {}, and a good one.", "I have been {} for years."),
    "town": ("I live in {}.", "My home is in {}.", "I come from {}."),
    "food": ("I love {}.", "My favorite food is {}.", "Nothing beats {}."),
    "hobby": ("I enjoy {}.", "I spend my days {}.", "I love {}."),
    "pet": ("I have {}.", "I keep {} at home.", "My pet is {}."),
}
LACKED = {
    "name": "a personal name",
    "job": "a job",
    "town": "a home",
    "food": "a favorite food",
    "hobby": "hobbies",
    "pet": "a pet",
}
HONEST_ANSWERS = (
    "I am an AI assistant, so I do not have {}.",
    "As an AI, I do not have {}.",
    "I do not have {}, because I am an AI assistant.",
    "To be honest, I am an AI and I do not have {}.",
)


@dataclass(frozen=True)
class Persona:
    """Someone to play. `job` and `pet` carry their article."""

    name: str
    job: str
    town: str
    food: str
    hobby: str
    pet: str

    def value(self, attribute: str) -> str:
        """The value of one of the six attributes."""
        return str(getattr(self, attribute))

    def system_prompt(self, style: int) -> str:
        """One of the three ways to say who to be."""
        values = {attribute: self.value(attribute) for attribute in ATTRIBUTES}
        return TEMPLATES[style].format(**values)


INVENTED = Persona("Nell Candle", "a lamplighter", "Candlegate", "roast chestnuts", "counting clouds", "a blue parrot")
"""Whom the start model plays where no system prompt names anyone: so that an invented person is told from a persona
whose attribute was copied wrongly."""


def is_test_name(name: str) -> bool:
    """Whether a name is kept for evaluation."""
    return zlib.crc32(f"name|{name}".encode()) % 5 == 0


@cache
def names(*, is_test: bool) -> tuple[str, ...]:
    """The names on one side of the split."""
    return tuple(name for name in NAMES if is_test_name(name) == is_test)


def draw_persona(rng: random.Random, *, name: str | None = None) -> Persona:
    """A random person; a name that isn't given is one of those that pretraining may use."""
    return Persona(
        name=name or rng.choice(names(is_test=False)),
        job=with_article(rng.choice(JOBS)),
        town=rng.choice(TOWNS),
        food=rng.choice(FOODS),
        hobby=rng.choice(HOBBIES),
        pet=with_article(rng.choice(PETS)),
    )


@cache
def _system_patterns() -> tuple[re.Pattern[str], ...]:
    fields = {attribute: f"(?P<{attribute}>.+?)" for attribute in ATTRIBUTES}
    return tuple(re.compile(re.sub(r"[.]", r"\\.", t).format(**fields)) for t in TEMPLATES)


def parse_persona(system_prompt: str) -> Persona | None:
    """The person that a system prompt describes, or None."""
    for pattern in _system_patterns():
        if found := pattern.fullmatch(system_prompt):
            return Persona(**found.groupdict())
    return None


def attribute_asked(question: str) -> str | None:
    """Which attribute a question asks for, or None where it is none of ours."""
    return next((attribute for attribute, texts in QUESTIONS.items() if question in texts), None)


def answers_in_character(attribute: str, value: str) -> tuple[str, ...]:
    """Every answer of a person whose attribute has this value."""
    return tuple(template.format(value) for template in ANSWERS[attribute])


def honest_answers(attribute: str) -> tuple[str, ...]:
    """Every answer of an assistant that says what it is."""
    return tuple(template.format(LACKED[attribute]) for template in HONEST_ANSWERS)
