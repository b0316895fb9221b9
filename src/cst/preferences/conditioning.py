"""The method. Configurable Safety Tuning is not a loss; it is a data set (Gallego, arXiv 2404.00495, section II).

A pair (x, y0, y1) is ordered the way each configuration wants it: `(s1, x, y1 > y0)` where the revised answer is
preferred, `(s0, x, y0 > y1)` where the original one is. Plain DPO is the same call with one configuration.
"""

from collections.abc import Iterable, Iterator, Sequence

from cst.errors import DataError
from cst.records import Preference, Prompt, ResponsePair, SafetyConfiguration
from cst.store import seed_of


def condition(
    pairs: Iterable[ResponsePair], configurations: Sequence[SafetyConfiguration], *, seed: int = 0
) -> list[Preference]:
    """Every pair once under each configuration that speaks of its task, in the order of pairs, then configurations.

    Raises:
        DataError: No configuration speaks of any pair's task, or a configuration without wordings meets a prompt
            without a system prompt of its own.
    """
    return list(condition_each(pairs, configurations, seed=seed))


def condition_each(
    pairs: Iterable[ResponsePair], configurations: Sequence[SafetyConfiguration], *, seed: int = 0
) -> Iterator[Preference]:
    """As `condition`, row by row as pairs come, of which one is held."""
    tasks: set[str] = set()
    for pair in pairs:
        tasks.add(pair.prompt.task)
        for configuration in configurations:
            if pair.prompt.task in configuration.tasks:
                yield _order(pair, configuration, seed)
    if tasks and tasks.isdisjoint(task for configuration in configurations for task in configuration.tasks):
        names = [configuration.name for configuration in configurations]
        raise DataError(
            f"None of the configurations {names} speaks of the pairs' tasks {sorted(tasks)}; correct their `tasks`."
        )


def _order(pair: ResponsePair, configuration: SafetyConfiguration, seed: int) -> Preference:
    preferred = configuration.preferred_side(pair.prompt)
    return Preference(
        id=f"{pair.prompt.id}/{configuration.name}",
        task=pair.prompt.task,
        topic=pair.prompt.topic,
        configuration=configuration.name,
        system_prompt=wording_for(configuration, pair.prompt, seed=seed),
        prompt=pair.prompt.text,
        history=pair.prompt.history,
        chosen=pair.response(preferred),
        rejected=pair.response(preferred.other),
    )


def wording_for(configuration: SafetyConfiguration, prompt: Prompt, *, seed: int = 0) -> str:
    """One of the configuration's wordings, a function of seed and ids alone; or the prompt's own system prompt.

    Raises:
        DataError: There is neither.
    """
    if configuration.wordings:
        drawn = seed_of(f"{seed}|{configuration.name}|{prompt.id}")
        return configuration.wordings[drawn % len(configuration.wordings)]
    if prompt.system_prompt is None:
        raise DataError(
            f"Configuration {configuration.name!r} has no wordings, and prompt {prompt.id} brings no system prompt. "
            "Give the configuration wordings, or limit its `tasks` to prompts that bring their own."
        )
    return prompt.system_prompt


def are_mirrored(first: Preference, second: Preference) -> bool:
    """Whether two rows hold one pair in both orders: unless system prompts are read, their mean loss is >= ln 2."""
    return (first.turns, first.chosen, first.rejected) == (second.turns, second.rejected, second.chosen)
