"""Under which configuration a row of a preference file stands: its system prompt tells.

Published rows name none, but a baseline that is tuned under some configurations alone is to see their rows alone.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from cst.errors import DataError
from cst.records import Preference, SafetyConfiguration


def under_configurations(
    rows: Iterable[Preference], configurations: Sequence[SafetyConfiguration], names: Collection[str] = ()
) -> list[Preference]:
    """The rows that stand under the configurations called `names` (any row by default), each naming its own.

    A row stands under the configuration of its task that has its system prompt as a wording; else, if it brings a
    system prompt, under the one of its task that has no wordings. Where there is none it is left as it is.

    Raises:
        DataError: `names` are given, and rows stand under no configuration.
    """
    found = [(row, configuration_of(row, configurations)) for row in rows]
    if names:
        _refuse_unknown([row for row, name in found if name is None], len(found))
    named = [(row if name is None else row.model_copy(update={"configuration": name}), name) for row, name in found]
    return [row for row, name in named if not names or name in names]


def configuration_of(row: Preference, configurations: Sequence[SafetyConfiguration]) -> str | None:
    """The name of the configuration that a row stands under."""
    speaking = [configuration for configuration in configurations if row.task in configuration.tasks]
    for configuration in speaking:
        if row.system_prompt in (
            *configuration.wordings,
            *configuration.held_out_wordings,
            *configuration.unseen_wordings,
        ):
            return configuration.name
    unworded = [configuration.name for configuration in speaking if not configuration.wordings]
    return unworded[0] if row.system_prompt and len(unworded) == 1 else None


def _refuse_unknown(rows: Sequence[Preference], n: int) -> None:
    if not rows:
        return
    found = Counter((row.task, row.system_prompt or "") for row in rows)
    (task, system_prompt), count = found.most_common(1)[0]
    raise DataError(
        f"{len(rows)} of {n} rows stand under no configuration, so that none can be left out for a model that names "
        f"its own: {count} of task {task!r} have the system prompt {system_prompt[:80]!r}. Add it to a "
        "configuration's wordings."
    )
