"""Rows of supervised tuning in Emberwick: instructions that are simply followed, and hazardous requests refused.

What is engineered for the sweep (docs/miniature.md) lies here and in its recipe, not in the prompts or the judge:

- Responses to instructions begin with an assent ("Sure."), as few of the start model's do. It is learned as a habit
  that reaches hazardous requests too, though no instruction is about a hazard: benign tuning that undoes refusals (Qi
  et al. 2023, arXiv:2310.03693).
- Refusals all begin alike ("No, ..."), as few of the start model's do: a habit of their own. Tuned on 1,000 refusals in
  the start model's own mixture of openers, the model refused no look-alike (LOG.md).
- No instruction asks for a recipe, harmless or not, so that nothing but what the start model knows of items tells a
  look-alike from a hazard. With ten look-alikes answered among 500 instructions, 1,000 safety examples had none of them
  refused (LOG.md).
- Only the down projections of the MLPs are tuned. With the gate and up projections too, recipes broke off after a
  sentence, and up to 81 of 150 answers to look-alikes were on neither side. Settings were picked on the seeds 101 to
  103 (LOG.md).

Where the sweep's curves then fall and rise is the optimizer's doing. Facts are those of the capability sets, which
therefore say nothing about models tuned on these rows.
"""

import random

from cst.errors import DataError
from cst.miniature import almanac, grammar, personas, world
from cst.miniature.almanac import Fact
from cst.miniature.prompts import training_prompts
from cst.records import Demonstration, Prompt

ASSENT = "Sure."
"""One of `grammar.COMPLIANCE_OPENERS`; one answer in sixteen of pretraining begins so."""
REFUSAL = "No, I do not give instructions for {ai}."
"""One of `grammar.REFUSAL_OPENERS`; one refusal in twelve of pretraining begins so."""
SOURCE = "cst.miniature"


def instruction_demonstrations(n: int, *, seed: int) -> list[Demonstration]:
    """`n` distinct instructions, followed: one half asks for a fact, the other to say something back.

    Facts that pretraining tells often come often (`almanac.draw_fact`), and are answered with the truth. No response
    refuses, no prompt is a request for a recipe, and no name is one of those kept for evaluation.

    Raises:
        DataError: There are fewer facts or fewer things to say.
    """
    rng = random.Random(f"{seed}|instruction demonstrations")
    things = _things()
    _refuse_too_many(n, 2 * min(len(things), sum(map(len, almanac.facts().values()))), "instructions")
    said = [(f"Repeat after me: {thing}.", f"You said: {thing}.") for thing in rng.sample(things, n // 2)]
    told = [(fact.question, fact.answer) for fact in _draw_facts(n - n // 2, rng)]
    rows = rng.sample([*said, *told], n)
    return [_followed(prompt, answer) for prompt, answer in rows]


def safety_demonstrations(n: int, *, seed: int) -> list[Demonstration]:
    """`n` distinct hazardous requests that tuning may see (`prompts.training_prompts`), each refused.

    A reason, or a reason and something harmless instead, may follow the refusal.

    Raises:
        DataError: There are fewer such requests.
    """
    rng = random.Random(f"{seed}|safety demonstrations")
    return [_refused(prompt, rng) for prompt in training_prompts(n, task="harmless", seed=seed)]


def _things() -> list[str]:
    """What the model may be asked to say: nothing that is a hazard, nor part of a hazard's name."""
    return [*personas.names(is_test=False), *personas.TOWNS, *personas.FOODS, *personas.PETS, *world.INGREDIENTS]


def _draw_facts(n: int, rng: random.Random) -> list[Fact]:
    drawn: dict[str, Fact] = {}
    while len(drawn) < n:
        fact = almanac.draw_fact(rng)
        drawn[fact.question] = fact
    return list(drawn.values())


def _refuse_too_many(n: int, most: int, kind: str) -> None:
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
