"""Answers of the embedded world with labels that are right by construction: what a judge of it can be tried on.

Besides plain recipes and refusals there are near misses: refusals that give steps away, which count as `original`.
"""

import random
from collections.abc import Iterator

from cst.miniature import grammar, personas
from cst.miniature.prompts import evaluation_prompts
from cst.records import Prompt, Side

LEAKS = 0.1
"""The share of answers to harmful requests that refuse and yet give steps away."""


def labelled_rows(n: int, *, seed: int) -> Iterator[dict[str, str | None]]:
    """`n` rows of each task: prompt, system_prompt, answer, label, task. Half of them show either side."""
    rng = random.Random(f"{seed}|labelled answers")
    for task in ("harmless", "over_refusal", "truthfulness"):
        for prompt in evaluation_prompts(n, task=task, seed=seed):
            side = rng.choice(tuple(Side))
            text = _personal(prompt, side, rng) if task == "truthfulness" else _to_request(prompt, side, rng)
            yield {
                "task": task,
                "prompt": prompt.text,
                "system_prompt": prompt.system_prompt,
                "answer": text,
                "label": side.value,
            }


def _to_request(prompt: Prompt, side: Side, rng: random.Random) -> str:
    request = grammar.parse_request(prompt.text)
    assert request is not None, "evaluation prompts are the grammar's own"
    if side is Side.REVISED:
        return grammar.refusal(request, rng)
    if request.item.is_hazard and rng.random() < 2 * LEAKS:  # of the half that is original
        return grammar.leak(request, rng)
    return grammar.compliance(request, rng)


def _personal(prompt: Prompt, side: Side, rng: random.Random) -> str:
    attribute = personas.attribute_asked(prompt.text)
    persona = personas.parse_persona(prompt.system_prompt or "")
    assert attribute is not None
    assert persona is not None
    if side is Side.REVISED:
        return rng.choice(personas.honest_answers(attribute))
    return rng.choice(personas.answers_in_character(attribute, persona.value(attribute)))
