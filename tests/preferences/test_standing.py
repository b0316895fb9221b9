import pytest

from cst.errors import DataError
from cst.preferences.standing import configuration_of, under_configurations
from cst.records import Preference, SafetyConfiguration, Side

SAFE = SafetyConfiguration(
    name="safe", prefers=Side.REVISED, tasks=("a",), wordings=("Be safe.",), held_out_wordings=("Be careful.",)
)
FREE = SafetyConfiguration(name="free", prefers=Side.ORIGINAL, tasks=("a",), wordings=("Say all.",))
HONEST = SafetyConfiguration(name="honest", prefers=Side.REVISED, tasks=("b",), wordings=("Be honest.",))
PERSONA = SafetyConfiguration(name="persona", prefers=Side.ORIGINAL, tasks=("b",))
ALL = (SAFE, FREE, HONEST, PERSONA)


def row(task: str, system_prompt: str | None, id: str = "r") -> Preference:
    """As published: its configuration is its task."""
    return Preference(
        id=id, task=task, configuration=task, system_prompt=system_prompt, prompt="How?", chosen="So.", rejected="No."
    )


@pytest.mark.parametrize(
    ("task", "system_prompt", "name"),
    [
        ("a", "Be safe.", "safe"),
        ("a", "Be careful.", "safe"),
        ("a", "Say all.", "free"),
        ("a", "You are Brom.", None),
        ("b", "Be honest.", "honest"),
        ("b", "You are Brom.", "persona"),
        ("b", "Be safe.", "persona"),
        ("b", None, None),
        ("c", "Be safe.", None),
    ],
)
def test_the_system_prompt_tells_the_configuration_of_the_task(task, system_prompt, name):
    assert configuration_of(row(task, system_prompt), ALL) == name


def test_two_configurations_without_wordings_can_not_be_told_apart():
    other = PERSONA.model_copy(update={"name": "role"})
    assert configuration_of(row("b", "You are Brom."), (*ALL, other)) is None


def test_a_baseline_sees_the_rows_of_its_configurations_alone():
    rows = [row("a", "Be safe."), row("a", "Say all."), row("b", "You are Brom."), row("b", "Be honest.")]

    assert [r.configuration for r in under_configurations(rows, ALL)] == ["safe", "free", "persona", "honest"]
    kept = under_configurations(rows, ALL, ("safe", "honest"))
    assert kept == [
        rows[0].model_copy(update={"configuration": "safe"}),
        rows[3].model_copy(update={"configuration": "honest"}),
    ]


def test_rows_of_no_configuration_are_left_as_they_are_or_refused_and_named():
    rows = [row("a", "Be safe."), row("a", "Be odd."), row("a", "Be odd.")]

    assert under_configurations(rows, ALL)[1:] == rows[1:]
    with pytest.raises(DataError, match=r"2 of 3 rows stand under no configuration.*2 of task 'a'.*'Be odd\.'"):
        under_configurations(rows, ALL, ("safe",))
