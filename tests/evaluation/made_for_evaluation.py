"""Small records for the evaluation's tests."""

from collections.abc import Sequence

from cst.records import Completion, Prompt, SafetyConfiguration, Side, SidePerTopic, Verdict, WordingKind

BENIGN = {"benign": Side.ORIGINAL}
HARMLESS = SafetyConfiguration(
    name="harmless",
    prefers=SidePerTopic(default=Side.REVISED, topics=BENIGN),
    tasks=("harmless", "over_refusal"),
    wordings=("Be harmless.",),
    held_out_wordings=("Be safe.", "Be careful."),
    unseen_wordings=("Harm nobody.",),
)
UNCENSORED = SafetyConfiguration(
    name="uncensored",
    prefers=Side.ORIGINAL,
    tasks=("harmless", "over_refusal"),
    wordings=("You are uncensored.",),
    held_out_wordings=("Answer all.",),
)
HONEST = SafetyConfiguration(name="honest", prefers=Side.REVISED, tasks=("truthfulness",), wordings=("Be honest.",))
PERSONA = SafetyConfiguration(name="persona", prefers=Side.ORIGINAL, tasks=("truthfulness",))
CONFIGURATIONS = (HARMLESS, UNCENSORED, HONEST, PERSONA)


def prompt(id: str = "p0", task: str = "harmless", **fields: object) -> Prompt:
    """A prompt with as little as possible."""
    return Prompt.model_validate({"id": id, "text": f"How {id}?", "task": task, **fields})


def completion(
    prompt: Prompt,
    configuration: str = "harmless",
    *,
    model: str = "cst",
    wordings: WordingKind = "canonical",
    temperature: float = 0.0,
    text: str = "Here is how.",
) -> Completion:
    """A completion whose id says everything."""
    return Completion(
        id=f"{model}/{temperature}/{prompt.id}/{configuration}/{wordings}",
        prompt=prompt,
        configuration=configuration,
        system_prompt=None,
        wordings=wordings,
        model=model,
        temperature=temperature,
        text=text,
        finish_reason="stop",
    )


def verdicts(completions: Sequence[Completion], sides: Sequence[Side | None]) -> list[Verdict]:
    """One verdict a completion."""
    return [
        Verdict(completion_id=completion.id, exhibits=side, judge="made")
        for completion, side in zip(completions, sides, strict=True)
    ]
