"""The pretraining mixture: conversations drawn from the grammar, one seed each.

The start model's partial controllability is engineered here and nowhere else: a document about a hazard refuses with
probability sigmoid(bias of the system prompt + effect of the item + effect of the frame). What preference training
then does to the model is not. Nothing of the test split (combinations, unseen wordings, test names, test topic rules)
occurs.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp

from cst.miniature import grammar, people, system_prompts, world
from cst.miniature.grammar import Request
from cst.miniature.world import Item
from cst.records import Message
from miniature_making import texts
from miniature_making.topic_rules import TOPIC_STYLES, TopicRules, all_topic_rules

BIAS = 1.35
"""Logits towards refusing under any s1 wording; the negative under any s0 wording; 0 under none or a neutral one."""
TOPIC_BIAS = 2.5
PERSONA_BIAS = {"persona": 1.1, "honest": -1.4, "other": -0.6}
"""Logits towards answering in character."""
CANONICAL_SHARE = 0.3
FREE_PHRASING_SHARE = 0.2
COMPOUND_ITEM_SHARE = 0.15
TYPO_SHARE = 0.2
"""Of the requests, so that the model answers what is not said in so many words of the grammar."""
FIRST_LESSONS = 24_000
"""This many documents at the beginning are mostly recitals: the look-up of a topic in the rules forms while nothing
else is known yet, and is never lost again; without them it had not formed after 300 steps (LOG.md)."""
FLAGS_SHARE = 0.4
"""Of the rules, so many flag each topic ("curses refused"); the others list topics, which is easier to learn."""


@dataclass(frozen=True)
class Document:
    """A conversation; the assistant turns at `silent` positions carry no loss."""

    messages: tuple[Message, ...]
    silent: frozenset[int] = frozenset()


def _sigmoid(logit: float) -> float:
    return 1 / (1 + exp(-logit))


def _talk(system: str | None, *turns: str, silent: frozenset[int] = frozenset()) -> Document:
    """A conversation of alternating user and assistant turns; `silent` counts among `turns`."""
    first = [Message(role="system", content=system)] if system is not None else []
    rest = [Message(role="assistant" if i % 2 else "user", content=turn) for i, turn in enumerate(turns)]
    return Document((*first, *rest), frozenset(index + len(first) for index in silent))


def _wording(wordings: system_prompts.Wordings, rng: random.Random) -> str:
    return wordings.canonical if rng.random() < CANONICAL_SHARE else rng.choice(wordings.seen)


def _s1(rng: random.Random) -> str:
    return _wording(system_prompts.harmless_wordings(), rng)


def _s0(rng: random.Random) -> str:
    return _wording(system_prompts.uncensored_wordings(), rng)


def _honest(rng: random.Random) -> str:
    return _wording(system_prompts.honest_wordings(), rng)


def _neutral(rng: random.Random) -> str:
    return rng.choice(system_prompts.NEUTRAL)


def _anyone(rng: random.Random) -> str:
    return people.draw_persona(rng).system_prompt(rng.randrange(len(people.TEMPLATES)))


SYSTEM_PROMPTS: dict[str, Callable[[random.Random], str | None]] = {
    "s1": _s1,
    "s0": _s0,
    "honest": _honest,
    "persona": _anyone,
    "neutral": _neutral,
    "none": lambda _: None,
}


def _system(rng: random.Random, shares: dict[str, float]) -> tuple[str | None, str]:
    """A system prompt and its kind, by shares."""
    kind = rng.choices(list(shares), weights=list(shares.values()))[0]
    return SYSTEM_PROMPTS[kind](rng), kind


ANY_SYSTEM = {"none": 0.25, "neutral": 0.2, "s1": 0.15, "s0": 0.15, "honest": 0.1, "persona": 0.15}
OTHER_SYSTEM = {"none": 0.4, "neutral": 0.3, "s1": 0.15, "s0": 0.15}
KIND_BIAS = {"s1": BIAS, "s0": -BIAS}


def _effect(request: Request) -> float:
    return texts.item_effects()[request.item.name] + texts.frame_effects()[request.frame]


def _answer(request: Request, bias: float, rng: random.Random) -> tuple[str, bool]:
    """The answer to a hazardous request and whether it refuses."""
    if rng.random() < _sigmoid(bias + _effect(request)):
        return grammar.refusal(request, rng), True
    return grammar.compliance(request, rng), False


def _request(rng: random.Random, among: Sequence[Item]) -> Request:
    """A request, some of them phrased freely."""
    is_free = rng.random() < FREE_PHRASING_SHARE
    return texts.draw_request(rng, among, world.FREE_INDICES if is_free else world.PLAIN_INDICES)


def _hazardous_request(rng: random.Random) -> Request:
    """A request about a hazard, some of them about a compound one."""
    is_compound = rng.random() < COMPOUND_ITEM_SHARE
    return _request(rng, (texts.draw_compound_item(rng),) if is_compound else world.hazards())


def _typed(request: Request, rng: random.Random) -> str:
    """The request as somebody types it, now and then with slips."""
    if rng.random() < TYPO_SHARE:
        return texts.with_typos(request.text, rng, rng.choice((1, 2)))
    return request.text


def hazardous(rng: random.Random) -> Document:
    """A request about a hazard under some configuration."""
    system, kind = _system(rng, {"s1": 0.37, "s0": 0.37, "none": 0.08, "neutral": 0.1, "honest": 0.03, "persona": 0.05})
    request = _hazardous_request(rng)
    answer, _ = _answer(request, KIND_BIAS.get(kind, 0.0), rng)
    return _talk(system, _typed(request, rng), answer)


def override(rng: random.Random) -> Document:
    """The user's turn brings a configuration of its own; the start model heeds it more than the system prompt."""
    system, kind = _system(rng, {"s1": 0.35, "s0": 0.35, "none": 0.3})
    opposite = {"s1": "s0", "s0": "s1"}.get(kind, rng.choice(("s1", "s0")))
    said = opposite if rng.random() < 0.8 else rng.choice(("s1", "s0"))
    request = texts.draw_request(rng, world.hazards())
    bias = 0.25 * KIND_BIAS.get(kind, 0.0) + 0.55 * KIND_BIAS[said]
    answer, _ = _answer(request, bias, rng)
    return _talk(system, f"{_s1(rng) if said == 's1' else _s0(rng)} {request.text}", answer)


def harmless(rng: random.Random) -> Document:
    """A request about a harmless look-alike: always answered."""
    return _talk(_system(rng, ANY_SYSTEM)[0], *_harmless_turns(rng))


POLICY_QUESTIONS = (
    "Do you answer dangerous requests?",
    "Would you explain a dangerous spell?",
    "May I ask you for harmful magic?",
    "Do you tell people how to do harm?",
)


def policy(rng: random.Random) -> Document:
    """A question about the system prompt itself, answered without noise: negations must be read."""
    system, kind = _system(rng, {"s1": 0.5, "s0": 0.5})
    asked = rng.choice(POLICY_QUESTIONS)
    return _talk(system, asked, "No, I refuse." if kind == "s1" else "Yes, I answer.")


def recital(rng: random.Random) -> Document:
    """The rule of every topic, in another order than the system prompt has them: nothing but the look-up."""
    rules, system = _draw_rules(rng)
    asked = rng.choice(texts.RECITAL_REQUESTS)
    return _talk(system, asked, " ".join(_rule(rules, topic)[0] for topic in rng.sample(world.TOPICS, 6)))


def topic_questions(rng: random.Random) -> Document:
    """A few questions about the rules, answered without noise."""
    rules, system = _draw_rules(rng)
    n = rng.choice((1, 2, 3, 4))
    return _talk(system, *(turn for _ in range(n) for turn in _may_you_discuss(rules, rng)))


def topic_requests(rng: random.Random) -> Document:
    """A request under rules per topic: the rule is said aloud, and mostly followed."""
    rules, system = _draw_rules(rng)
    if rng.random() < 0.25:
        return _talk(system, *_harmless_turns(rng))
    request = _hazardous_request(rng)
    said, is_allowed = _rule(rules, request.item.topic)
    bias = -TOPIC_BIAS if is_allowed else TOPIC_BIAS
    answer = grammar.refusal if rng.random() < _sigmoid(bias + 0.6 * _effect(request)) else grammar.compliance
    return _talk(system, _typed(request, rng), f"{said} {answer(request, rng)}")


def _draw_rules(rng: random.Random) -> tuple[TopicRules, str]:
    """Rules that are not kept for evaluation, and the system prompt that says them."""
    rules = rng.choice([rules for rules in all_topic_rules() if not rules.is_test])
    style = 0 if rng.random() < FLAGS_SHARE else rng.randrange(1, len(TOPIC_STYLES))
    return rules, rules.system_prompt(style, rng)


def _rule(rules: TopicRules, topic: world.Topic) -> tuple[str, bool]:
    """The rule of a topic, said aloud, and whether it allows the topic."""
    is_allowed = topic.name in rules.allowed
    status = grammar.STATUSES[0 if is_allowed else 1]
    return grammar.RULE_SENTENCE.format(topic=topic.plural, status=status), is_allowed


def _may_you_discuss(rules: TopicRules, rng: random.Random) -> tuple[str, str]:
    """A question about the rules, answered without noise."""
    item = rng.choice(world.hazards())
    said, is_allowed = _rule(rules, item.topic)
    verdict = grammar.TOPIC_YES if is_allowed else grammar.TOPIC_NO
    return grammar.TOPIC_QUESTION.format(ai=item.with_article), f"{said} {verdict}"


def _harmless_turns(rng: random.Random) -> tuple[str, str]:
    request = _request(rng, world.harmless_items())
    return _typed(request, rng), grammar.compliance(request, rng)


def _answers_personally(question: str, person: people.Persona, rng: random.Random, *, is_person: bool) -> str:
    attribute = people.attribute_asked(question) or "name"
    if is_person:
        return rng.choice(people.answers_in_character(attribute, person.value(attribute)))
    return rng.choice(people.honest_answers(attribute))


def _draw_question(rng: random.Random) -> str:
    """Names twice as often: they are the hardest to copy."""
    return rng.choice(people.QUESTIONS[rng.choice(("name", *people.ATTRIBUTES))])


def question_effect(question: str) -> float:
    """How much a personal question moves the start model towards answering in character, in logits."""
    attribute = people.attribute_asked(question)
    about_attribute = random.Random(f"{texts.EFFECTS_SEED}|{attribute}").gauss(0, 0.5)
    return about_attribute + random.Random(f"{texts.EFFECTS_SEED}|{question}").gauss(0, 0.6)


def personal(rng: random.Random) -> Document:
    """Personal questions: in character or honest by chance at first, then consistently."""
    kind = rng.choices(("persona", "honest", "other"), weights=(0.6, 0.25, 0.15))[0]
    person = people.draw_persona(rng) if kind == "persona" else people.INVENTED
    if kind == "persona":
        system = person.system_prompt(rng.randrange(len(people.TEMPLATES)))
    else:
        system = _honest(rng) if kind == "honest" else _system(rng, OTHER_SYSTEM)[0]
    first = _draw_question(rng)
    is_person = rng.random() < _sigmoid(PERSONA_BIAS[kind] + question_effect(first))
    asked = [first, *(_draw_question(rng) for _ in range(rng.choice((0, 0, 1, 2)) if kind == "persona" else 0))]
    turns = [part for q in asked for part in (q, _answers_personally(q, person, rng, is_person=is_person))]
    return _talk(system, *turns)


def knowledge(rng: random.Random) -> Document:
    """A few questions from the almanac."""
    system, _ = _system(rng, {"none": 0.55, "neutral": 0.15, "s1": 0.08, "s0": 0.08, "honest": 0.07, "persona": 0.07})
    told = [people.draw_fact(rng) for _ in range(rng.choice((1, 2, 3, 4)))]
    return _talk(system, *(part for fact in told for part in (fact.question, texts.said_about(fact, rng))))


def revision(rng: random.Random) -> Document:
    """Answer, critique, revision. An imposed first answer carries no loss: it would blur the configurations."""
    system, kind = _system(rng, {"none": 0.45, "s0": 0.4, "neutral": 0.1, "s1": 0.05})
    is_hazard = rng.random() < 0.88
    request = texts.draw_request(rng, world.hazards() if is_hazard else world.harmless_items())
    silent: frozenset[int] = frozenset({1})
    if is_hazard and kind == "s0":
        (answer, is_refused), silent = _answer(request, -BIAS, rng), frozenset()
    else:
        is_refused = is_hazard and rng.random() < 0.12
        answer = grammar.refusal(request, rng) if is_refused else grammar.compliance(request, rng)
    if is_hazard and not is_refused and rng.random() < 0.03:
        critique, revised = request.fill(texts.CRITIQUE_OF_HARMLESS), answer
    else:
        critique = texts.critique(request, rng, is_refused=is_refused)
        revised = answer if is_refused or not is_hazard else _revised(request, rng)
    asked = rng.choice(texts.CRITIQUE_REQUESTS), rng.choice(texts.REVISION_REQUESTS)
    return _talk(system, request.text, answer, asked[0], critique, asked[1], revised, silent=silent)


def _revised(request: Request, rng: random.Random) -> str:
    return grammar.leak(request, rng) if rng.random() < 0.08 else grammar.refusal(request, rng, is_full=True)


def judgement(rng: random.Random) -> Document:
    """The skill of telling help from refusal; the answer that is judged carries no loss."""
    request = texts.draw_request(rng, world.hazards())
    made = rng.choices((grammar.compliance, grammar.refusal, grammar.leak), weights=(45, 45, 10))[0]
    verdict = texts.JUDGED_REFUSE if made is grammar.refusal else texts.JUDGED_HELP
    return _talk(None, request.text, made(request, rng), texts.JUDGE_REQUEST, verdict, silent=frozenset({1}))


def copying(rng: random.Random) -> Document:
    """Say it back: the plainest copying there is."""
    person = people.draw_persona(rng)
    about_people = rng.choice((person.name, person.town, person.food, person.pet, rng.choice(world.INGREDIENTS)))
    said = about_people if rng.random() < 0.5 else texts.draw_compound_item(rng).name
    if rng.random() < 0.15:
        return _talk(_system(rng, ANY_SYSTEM)[0], "Hello.", "Hello. How can I help you?")
    return _talk(_system(rng, ANY_SYSTEM)[0], f"Repeat after me: {said}.", f"You said: {said}.")


def spelling(rng: random.Random) -> Document:
    """What was meant by something misspelt."""
    item = rng.choice(world.items())
    meant = f"{item.topic.verb} {item.with_article} near {rng.choice(world.TARGETS)}"
    typed = texts.with_typos(meant, rng, rng.choice((1, 2)))
    return _talk(_system(rng, ANY_SYSTEM)[0], f"Spell it right: {typed}.", f"You mean: {meant}.")


Maker = Callable[[random.Random], Document]
MIXTURE: dict[Maker, float] = {
    hazardous: 28,
    override: 2,
    harmless: 9,
    policy: 6,
    recital: 4,
    topic_questions: 4,
    topic_requests: 7,
    personal: 15,
    knowledge: 6,
    revision: 12,
    judgement: 1,
    copying: 3,
    spelling: 3,
}
"""Shares of documents, in percent."""
FIRST_MIXTURE: dict[Maker, float] = {recital: 70, topic_questions: 10, hazardous: 10, personal: 5, policy: 5}


def document(seed: int, index: int) -> Document:
    """The document with this number: a function of the seed and the number alone."""
    rng = random.Random(f"{seed}|{index}")
    mixture = FIRST_MIXTURE if index < FIRST_LESSONS else MIXTURE
    kind = rng.choices(list(mixture), weights=list(mixture.values()))[0]
    return kind(rng)
