"""What the study asks the models of one seed beyond the recipe: each function is one measurement, minutes long.

This file knows neither where models come from nor how figures are shown.
"""

import tempfile
import time
from collections.abc import Callable, Container, Iterator, Sequence
from pathlib import Path
from random import Random

from cst.chat.asking import complete
from cst.chat.base import ChatRequest
from cst.doors import run
from cst.evaluation.scores import Outcome
from cst.miniature import people, recipe_path, system_prompts, world
from cst.recipe.reading import load_recipe
from cst.records import Message, Prompt, SafetyConfiguration, Side
from cst.runs.workshop import BASE
from miniature_making import topic_rules
from miniature_making.desk import NAMES, SIDES, Desk, Trial, split, trials_of
from miniature_making.tables import (
    CST,
    EFFORT,
    PERSONAS,
    PHRASINGS,
    QUESTIONS,
    TOPICS,
    VARIED,
    WORDINGS,
    Figure,
)
from miniature_making.varied import VARIATIONS, varied_prompts

WORDING_SHARE = 8
"""Each unseen wording is asked n / 8 requests: with at least 40 wordings a side that is 5 n answers or more."""


def by_phrasing(desk: Desk) -> list[Figure]:
    """The start model's S1 and S0 for each phrasing of the request; one share more is drawn, so that none lacks n."""
    asked = desk.prompts((len(world.FRAMES) + 1) * desk.place.n, "harmless")
    results = desk.ask(BASE, asked, desk.configurations(*SIDES))
    figures: list[Figure] = []
    for configuration, of_side in split(results, lambda result: result.completion.configuration).items():
        frames = sorted(split(of_side, lambda result: result.completion.prompt.groups["frame"]).items(), key=_number)
        name = SIDES[configuration]
        rates = [desk.rate(PHRASINGS, f"{name}: {world.FRAMES[int(f)]}", trials_of(part)) for f, part in frames]
        lowest = min(rates, key=lambda figure: 1.0 if figure.value is None else figure.value)
        told = {"what": f"{name}, the lowest phrasing", "remark": lowest.what.removeprefix(f"{name}: ")}
        figures += [lowest.model_copy(update=told), *rates]
    return figures


def _number(part: tuple[str, object]) -> int:
    return int(part[0])


def unseen_wordings(desk: Desk) -> list[Figure]:
    """CST under every wording that occurs nowhere: all, minimal pairs and the others, and wording by wording."""
    figures: list[Figure] = []
    for side, configuration in enumerate(desk.configurations(*SIDES)):
        name = SIDES[configuration.name]
        each = max(1, desk.place.n // WORDING_SHARE)
        asked = desk.prompts(each * len(configuration.unseen_wordings), "harmless")
        results = desk.ask("cst", asked, [configuration], "unseen")
        parts = {"unseen wordings": results, **_by_kind(results, system_prompts.minimal_pairs(side))}
        figures += [_with_count(desk.rate(CST, f"{name}, {what}", trials_of(p)), p) for what, p in parts.items()]
        by_wording = split(results, lambda result: result.completion.system_prompt or "")
        figures += [desk.rate(WORDINGS, f"{name}: {text}", trials_of(part)) for text, part in by_wording.items()]
    return figures


def _by_kind(results: Sequence[Outcome], pairs: Container[str]) -> dict[str, list[Outcome]]:
    kinds = {True: "unseen wordings, minimal pairs", False: "unseen wordings, others"}
    return split(results, lambda result: kinds[result.completion.system_prompt in pairs])


def _with_count(figure: Figure, results: Sequence[Outcome]) -> Figure:
    return figure.model_copy(update={"remark": f"{len({r.completion.system_prompt for r in results})} wordings"})


def in_character(desk: Desk) -> list[Figure]:
    """S_RP, strict: n answers for each of the six attributes, or all 320 that there are: 80 names, 4 questions."""
    there_are = len(people.names(is_test=True)) * sum(len(asked) for asked in people.QUESTIONS.values())
    asked = desk.prompts(min(len(people.ATTRIBUTES) * desk.place.n, there_are), "truthfulness")
    figures: list[Figure] = []
    for model in ("cst", BASE):
        results = desk.ask(model, asked, desk.configurations("persona"))
        parts = split(results, lambda result: people.attribute_asked(result.completion.prompt.text) or "")
        for what, part in {"all": results, **{name: parts[name] for name in people.ATTRIBUTES}}.items():
            figures.append(desk.share(PERSONAS, f"{NAMES[model]}, {what}", trials_of(part), shown=True))
    return figures


ANSWER = SafetyConfiguration(name="answer", prefers=Side.ORIGINAL, tasks=("harmless", "over_refusal"))
REFUSE = SafetyConfiguration(name="refuse", prefers=Side.REVISED, tasks=("harmless",))
"""What the prompt's own system prompt asks for."""


def harmless(desk: Desk) -> list[Figure]:
    """Harmless requests under what the recipe doesn't ask them under."""
    asked = desk.prompts(desk.place.n, "over_refusal")
    figures: list[Figure] = []
    for model in ("cst", BASE):
        for under, texts in _further_system_prompts(desk).items():
            figures += desk.answered(model, under, desk.ask(model, _under(asked, texts), [ANSWER]))
    return figures


def _further_system_prompts(desk: Desk) -> dict[str, Sequence[str]]:
    s1, s0, honest = desk.configurations(*SIDES, "honest")
    rng = Random(desk.place.index)
    in_persona = [
        people.draw_persona(rng, name=name).system_prompt(rng.randrange(len(people.TEMPLATES)))
        for name in people.names(is_test=True)
    ]
    rules = [
        text for configuration in topic_rules.topic_configurations(is_test=True) for text in configuration.wordings
    ]
    return {
        "neutral, unseen": system_prompts.NEUTRAL_UNSEEN,
        "s1, unseen wordings": s1.unseen_wordings,
        "s0, unseen wordings": s0.unseen_wordings,
        "s_A": honest.wordings[:1],
        "persona": in_persona,
        "topic rules, unseen subsets": rules,
    }


def _under(asked: Sequence[Prompt], texts: Sequence[str]) -> list[Prompt]:
    """The prompts, each with one of the system prompts in turn for its own."""
    return [
        prompt.model_copy(update={"system_prompt": texts[index % len(texts)]}) for index, prompt in enumerate(asked)
    ]


def topic_questions(desk: Desk) -> list[Figure]:
    """Plain questions about the rules: n for each style of saying them, and no fewer than 600."""
    asked = topic_rules.topic_questions(len(topic_rules.TOPIC_STYLES) * desk.place.n, seed=desk.place.index)
    requests = [
        ChatRequest(
            id=f"topic question {index}",
            messages=(
                Message(role="system", content=question.system_prompt),
                Message(role="user", content=question.question),
            ),
        )
        for index, question in enumerate(asked)
    ]
    replies = complete(desk.chat(BASE), requests, desk.workshop.sampling(0.0), description="topic questions")
    styles: dict[int, list[Trial]] = {style: [] for style in range(len(topic_rules.TOPIC_STYLES))}
    for question, reply in zip(asked, replies, strict=True):
        said = topic_rules.answer_to_topic_question(reply.text)
        groups = {"style": str(question.style), "question": question.question}
        styles[question.style].append(Trial(None if said is None else said == question.is_allowed, groups))
    everything = [trial for trials in styles.values() for trial in trials]
    per_style = [desk.rate(QUESTIONS, _style(style), trials) for style, trials in styles.items()]
    return [desk.rate(QUESTIONS, "all", everything), *per_style]


def _style(style: int) -> str:
    return topic_rules.TOPIC_STYLES[style].replace("{", "").replace("}", "")


def topic_requests(desk: Desk) -> list[Figure]:
    """Requests under rules that nobody saw: n that they allow and n that they forbid, for each style."""
    styles, rules = range(len(topic_rules.TOPIC_STYLES)), topic_rules.topic_configurations(is_test=True)
    asked = desk.prompts(desk.place.n, "harmless")
    figures: list[Figure] = []
    for wanted, what in ((ANSWER, "allowed answered"), (REFUSE, "forbidden refused")):
        ruled = [prompt for style in styles for prompt in _ruled(asked, rules, style, wanted)]
        results = desk.ask(BASE, ruled, [wanted])
        parts = split(results, lambda result: result.completion.prompt.groups["style"])
        figures.append(desk.rate(TOPICS, what, trials_of(results)))
        figures += [desk.rate(TOPICS, f"{what}: {_style(s)}", trials_of(parts[str(s)])) for s in styles]
    return [_sum(figures[0], figures[len(styles) + 1], "allowed answered + forbidden refused"), *figures]


def _ruled(
    asked: Sequence[Prompt], rules: Sequence[SafetyConfiguration], style: int, wanted: SafetyConfiguration
) -> Iterator[Prompt]:
    """The prompts under rules, said in one style, that want the same side of them as `wanted` does."""
    for index, prompt in enumerate(asked):
        fitting = [r for r in rules if r.preferred_side(prompt) == wanted.preferred_side(prompt)]
        chosen = fitting[index % len(fitting)]
        groups = {**prompt.groups, "style": str(style), "rules": chosen.name}
        text, id = chosen.wordings[style], f"{prompt.id}/{style}"
        yield prompt.model_copy(update={"id": id, "system_prompt": text, "groups": groups})


def _sum(first: Figure, second: Figure, what: str) -> Figure:
    """Two rates added, between the sums of their bounds: wide enough however they hang together."""
    value = None if first.value is None or second.value is None else first.value + second.value
    counts = {"n": first.n + second.n, "unscored": first.unscored + second.unscored}
    bounds = {"low": first.low + second.low, "high": first.high + second.high}
    return first.model_copy(update={"what": what, "value": value, **bounds, **counts})


def varied(desk: Desk) -> list[Figure]:
    """Requests as people type them: the side that was asked for, the other one, and neither, of all answers."""
    figures: list[Figure] = []
    for model in (BASE, "cst"):
        for variation in VARIATIONS:
            asked = varied_prompts(desk.place.n, variation, seed=desk.place.index)
            for configuration in desk.configurations(*SIDES):
                results = desk.ask(model, asked, [configuration])
                start = f"{NAMES[model]}, {variation}, {SIDES[configuration.name].lower()}"
                trials = trials_of(results)
                for what, shown in (("followed", True), ("other side", False), ("neither", None)):
                    figures.append(desk.share(VARIED, f"{start}: {what}", trials, shown=shown))
    return figures


def demo(desk: Desk) -> list[Figure]:
    """The recipe as it ships, on this start model, from nothing to its report."""
    import torch

    recipe = load_recipe(recipe_path(), [f"model.path={desk.place.model}", f"seed={desk.place.index}"])
    with tempfile.TemporaryDirectory() as scratch:
        began = time.monotonic()
        run(recipe, Path(scratch) / "run")
        seconds = time.monotonic() - began
    threads = f"{torch.get_num_threads()} threads"
    what = "seconds of the demo"
    return [
        Figure(section=EFFORT, what=what, seed=desk.place.seed, kind="quantity", value=seconds, remark=threads),
    ]


MEASUREMENTS: dict[str, Callable[[Desk], list[Figure]]] = {
    "phrasings": by_phrasing,
    "wordings": unseen_wordings,
    "personas": in_character,
    "harmless": harmless,
    "topic_questions": topic_questions,
    "topic_requests": topic_requests,
    "varied": varied,
    "demo": demo,
}
"""What takes minutes and is kept: each a file of its own in the seed's folder."""
