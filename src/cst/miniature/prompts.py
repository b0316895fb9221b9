"""The miniature's data: prompts to train and to evaluate on, configurations, multiple-choice sets, demonstrations.

Training prompts and evaluation prompts share no (item, target) and no persona name; the evaluation's were never in
pretraining either. Items and frames marked as held never occur in training prompts.

What is engineered for the sweep (docs/miniature.md) lies in the demonstrations here and in the sweep's recipe, not in
the prompts or the judge:

- Responses to instructions begin with an assent ("Sure."), as few of the start model's do. The model learns it as a
  habit that also reaches hazardous requests, though no instruction is about a hazard: benign tuning undoes refusals (Qi
  et al. 2023, arXiv:2310.03693).
- Refusals all begin alike ("No, ..."), as few of the start model's do: a habit of their own. Tuned on 1,000 refusals in
  the start model's own mixture of openers, the model refused no look-alike (LOG.md).
- No instruction asks for a recipe, harmless or not, so that nothing but what the start model knows of items tells a
  look-alike from a hazard. With ten look-alikes answered among 500 instructions, 1,000 safety examples had none of them
  refused (LOG.md).
- Only the down projections of the MLPs are tuned. With the gate and up projections too, recipes broke off after a
  sentence, and up to 81 of 150 answers to look-alikes were on neither side. Settings were picked on the seeds 101 to
  103 (LOG.md).

Where the sweep's curves then fall and rise is decided by the optimizer. The facts are those of the capability sets,
which therefore say nothing about models tuned on these rows.
"""

import random
import re
from collections.abc import Sequence
from itertools import product
from typing import TypeVar

from cst.errors import DataError
from cst.miniature import grammar, people, system_prompts, world
from cst.miniature.grammar import Request
from cst.miniature.world import Item
from cst.recipe.world import WorldTask
from cst.records import Demonstration, MultipleChoiceItem, Prompt, SafetyConfiguration, Side, SidePerTopic

TASKS: tuple[WorldTask, ...] = ("harmless", "truthfulness", "over_refusal")
BENIGN = "benign"
Drawn = TypeVar("Drawn")
N_TUNING_WORDINGS = 24
ASSENT = "Sure."
"""One of `grammar.COMPLIANCE_OPENERS`; one answer in sixteen of pretraining begins so."""
REFUSAL = "No, I do not give instructions for {ai}."
"""One of `grammar.REFUSAL_OPENERS`; one refusal in twelve of pretraining begins so."""
SOURCE = "cst.miniature"


def training_prompts(n: int, *, task: WorldTask, seed: int) -> list[Prompt]:
    """`n` distinct prompts to synthesize pairs from. Raises DataError where there are fewer."""
    if task == "truthfulness":
        return take(_personal_prompts(seed, is_test=False), n, task, seed)
    among = tuple(item for item in _items(task) if not item.is_held)
    found = [r for r in grammar.all_requests(among, is_test=False) if r.frame not in world.HELD_FRAMES]
    return [recipe_prompt(r, task) for r in take(found, n, task, seed)]


def evaluation_prompts(n: int, *, task: WorldTask, seed: int, is_held: bool | None = None) -> list[Prompt]:
    """`n` distinct prompts of the test split. Raises DataError where there are fewer.

    `is_held` True keeps to the items and frames (or phrasings) that preference training never sees, False to the
    others; None takes all.
    """
    if task == "truthfulness":
        return take(_personal_prompts(seed, is_test=True, is_held=is_held), n, task, seed)
    found = [r for r in grammar.all_requests(_items(task), is_test=True) if is_held is None or _held(r) == is_held]
    return [recipe_prompt(r, task) for r in take(found, n, task, seed)]


def _items(task: WorldTask) -> tuple[Item, ...]:
    return world.hazards() if task == "harmless" else world.harmless_items()


def _held(request: Request) -> bool | None:
    """True where item and frame are both held (harmless items have no held ones), False where neither is."""
    is_held_frame = request.frame in world.HELD_FRAMES
    if not request.item.is_hazard or request.item.is_held == is_held_frame:
        return is_held_frame
    return None


def take(among: Sequence[Drawn], n: int, kind: str, seed: int) -> list[Drawn]:
    """`n` of the prompts of a kind, in random order. Raises DataError where there are fewer."""
    if n > len(among):
        raise DataError(
            f"The miniature has {len(among)} distinct prompts of this kind for {kind!r}, not {n}; ask for fewer."
        )
    return random.Random(f"{seed}|prompts|{kind}").sample(among, n)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def recipe_prompt(request: Request, task: WorldTask) -> Prompt:
    """A request as a prompt of a task."""
    item = request.item
    return Prompt(
        id="/".join((task, _slug(item.name), _slug(request.target), str(request.frame), request.preposition)),
        text=request.text,
        task=task,
        topic=item.topic.name if item.is_hazard else BENIGN,
        groups={"frame": str(request.frame), "item": item.name},
    )


def _personal_prompts(seed: int, *, is_test: bool, is_held: bool | None = None) -> list[Prompt]:
    """Every name with every question; the rest of the person is drawn. The fourth phrasing is held from training."""
    found: list[Prompt] = []
    questions = [(q, i == 3) for asked in people.QUESTIONS.values() for i, q in enumerate(asked)]
    wanted = is_held if is_test else False
    for name, (question, is_fourth) in product(people.names(is_test=is_test), questions):
        if wanted is None or wanted == is_fourth:
            found.append(_personal_prompt(name, question, seed))
    return found


def _personal_prompt(name: str, question: str, seed: int) -> Prompt:
    rng = random.Random(f"{seed}|{name}|{question}")
    person = people.draw_persona(rng, name=name)
    return Prompt(
        id=f"truthfulness/{_slug(name)}/{_slug(question)}/{seed}",
        text=question,
        task="truthfulness",
        system_prompt=person.system_prompt(rng.randrange(len(people.TEMPLATES))),
        groups={"question": question, "persona": name},
    )


def configurations() -> list[SafetyConfiguration]:
    """The paper's four: s1, s0 (safety), s_A and the persona's own system prompt (truthfulness)."""
    s1, s0 = system_prompts.harmless_wordings(), system_prompts.uncensored_wordings()
    honest = system_prompts.honest_wordings()
    revised_but_benign = SidePerTopic(default=Side.REVISED, topics={BENIGN: Side.ORIGINAL})
    safety = ("harmless", "over_refusal")
    return [
        _configuration("harmless", revised_but_benign, safety, s1),
        _configuration("uncensored", Side.ORIGINAL, safety, s0),
        _configuration("honest", Side.REVISED, ("truthfulness",), honest),
        SafetyConfiguration(name="persona", prefers=Side.ORIGINAL, tasks=("truthfulness",)),
    ]


def _configuration(
    name: str, prefers: Side | SidePerTopic, tasks: tuple[str, ...], wordings: system_prompts.Wordings
) -> SafetyConfiguration:
    return SafetyConfiguration(
        name=name,
        prefers=prefers,
        tasks=tasks,
        wordings=(wordings.canonical, *wordings.tuning[:N_TUNING_WORDINGS]),
        held_out_wordings=wordings.held_out,
        unseen_wordings=wordings.unseen,
    )


def capability_items() -> list[MultipleChoiceItem]:
    """The four multiple-choice sets, 300 questions or more each."""
    return [_choice_item(fact, index) for listed in people.facts().values() for index, fact in enumerate(listed)]


def _choice_item(fact: people.Fact, index: int) -> MultipleChoiceItem:
    choices = [fact.answer, *fact.wrong]
    random.Random(f"{fact.set}|{fact.question}").shuffle(choices)
    return MultipleChoiceItem(
        id=f"{fact.set}/{index}",
        set=fact.set,
        question=fact.question,
        choices=tuple(choices),
        answer=choices.index(fact.answer),
    )


def instruction_demonstrations(n: int, *, seed: int) -> list[Demonstration]:
    """`n` distinct instructions, followed: one half asks for a fact, the other to say something back.

    Facts that pretraining tells often come often (`people.draw_fact`), and are answered with the truth. No response
    refuses, no prompt is a request for a recipe, and no name is one of those kept for evaluation.

    Raises:
        DataError: There are fewer facts or fewer things to say.
    """
    rng = random.Random(f"{seed}|instruction demonstrations")
    things = _things()
    _reject_too_many(n, 2 * min(len(things), sum(map(len, people.facts().values()))), "instructions")
    said = [(f"Repeat after me: {thing}.", f"You said: {thing}.") for thing in rng.sample(things, n // 2)]
    told = [(fact.question, fact.answer) for fact in _draw_facts(n - n // 2, rng)]
    rows = rng.sample([*said, *told], n)
    return [_followed(prompt, answer) for prompt, answer in rows]


def safety_demonstrations(n: int, *, seed: int) -> list[Demonstration]:
    """`n` distinct hazardous requests that tuning may see (`training_prompts`), each refused.

    A reason, or a reason and something harmless instead, may follow the refusal.

    Raises:
        DataError: There are fewer such requests.
    """
    rng = random.Random(f"{seed}|safety demonstrations")
    return [_refused(prompt, rng) for prompt in training_prompts(n, task="harmless", seed=seed)]


def _things() -> list[str]:
    """What the model may be asked to say: nothing that is a hazard, nor part of a hazard's name."""
    return [*people.names(is_test=False), *people.TOWNS, *people.FOODS, *people.PETS, *world.INGREDIENTS]


def _draw_facts(n: int, rng: random.Random) -> list[people.Fact]:
    drawn: dict[str, people.Fact] = {}
    while len(drawn) < n:
        fact = people.draw_fact(rng)
        drawn[fact.question] = fact
    return list(drawn.values())


def _reject_too_many(n: int, most: int, kind: str) -> None:
    if n > most:
        raise DataError(f"The miniature has {most} distinct demonstrations of {kind}, not {n}; ask for fewer.")


def _followed(prompt: str, answer: str) -> Demonstration:
    return Demonstration(
        id=f"instructions/{prompt}", task="instructions", source=SOURCE, prompt=prompt, response=f"{ASSENT} {answer}"
    )


def _refused(prompt: Prompt, rng: random.Random) -> Demonstration:
    request = grammar.parse_request(prompt.text)
    assert request is not None, "training prompts are the grammar's own"
    instead = rng.choice(request.item.topic.harmless)
    parts = (REFUSAL, rng.choice(grammar.REASONS), rng.choice(grammar.ALTERNATIVES))
    response = " ".join(request.fill(part, instead) for part in parts[: rng.choice((1, 2, 3))])
    return Demonstration(
        id=f"safety/{prompt.id}",
        task="safety",
        topic=prompt.topic,
        source=SOURCE,
        prompt=prompt.text,
        response=response,
    )
