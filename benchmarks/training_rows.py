"""Preference rows of the lengths that decide the speed of preference training: benign words, made from a seed.

`real` rows are mirrored pairs under the two system prompts of the CST paper, whose refusals and answers are of very
unequal length; `long` rows have a policy text before each system prompt. This file knows text only, no tokens.
"""

from pathlib import Path
from random import Random
from typing import Literal

from cst.miniature.system_prompts import S0, S1
from cst.preferences.sources import read_preferences
from cst.records import Preference

RowKind = Literal["real", "long"]

SHORT_CHARACTERS, LONG_CHARACTERS = 630, 1760
"""Mean lengths of the two responses of a pair in the released safety half of the CST paper's data."""

PROMPT_CHARACTERS = 45
"""A short question, as in that data: sharing prompts within a row then leaves .9 of the tokens (there: .93)."""

POLICY_CHARACTERS = 1200
"""About 300 tokens."""

SHAPE = 8.0
"""Of the gamma distribution of lengths (standard deviation: .35 of the mean). Padding batches of 1, 2 and 8 rows then
costs 1.4, 1.6 and 2.1 times the tokens; on the released data 1.47, 1.72 and 1.96 (PERFORMANCE.md)."""

_TEXT = (
    "a about across add after all also an and another any around as at autumn away bake basil before begin below "
    "best better between big bird boil book bowl bread bright bring brown butter by cabin can carry change chapter "
    "check choose clean clear clock close cloud coast cold collect colour comfortable compare cook cool corner "
    "cover cup cut day deep different dish distance dry each early earth easily edge empty enough even evening "
    "every example fall family farm few field fill find fine first flour flower follow for forest fresh friend from "
    "fruit garden gentle give glass gold good grain grass green ground grow half hand harbour have heat herb high "
    "hill history hold home honey hour house how if important in inside into island it keep kettle kind kitchen "
    "lake land language large late learn leave lemon letter light like line listen little long look low make map "
    "many market meadow measure milk minute mix month moon more morning mountain move music near new next night "
    "north of often old on once one onion open orange orchard other over paint paper park part path pepper piece "
    "place plan plant plate play pour practice prepare press quiet rain read ready recipe remember repeat rest rice "
    "river road rock room round salt sand sea season seed sentence set several shade shape share short simple slow "
    "small smooth snow soft soil song soup south spoon spring stand star start stay step stir stone story street "
    "strong sugar summer sun sweet table take tea teach temperature than that the their then these they thin this "
    "through time to together tomato travel tree turn under until use usually valley vegetable village visit wait "
    "walk warm wash watch water way weather week west when where which while white wide wild wind window winter "
    "with without wood word work world write year you young"
)
_WORDS = _TEXT.split()


def prose(generator: Random, characters: int) -> str:
    """Sentences of ordinary words, of that many characters to within a word, and of one word at least."""
    text = _sentence(generator)
    while len(text) < characters:
        text = f"{text} {_sentence(generator)}"
    cut = text.rfind(" ", 0, characters)
    return text[: cut if cut > 0 else text.index(" ")].rstrip(".") + "."


def _sentence(generator: Random) -> str:
    words = generator.choices(_WORDS, k=generator.randint(6, 14))
    return " ".join(words).capitalize() + "."


def mirrored_rows(n: int, seed: int) -> list[Preference]:
    """`n` rows in random order, half of them mirrors of the other half: each pair stands under S1 and under S0."""
    generator = Random(f"rows {seed}")
    pairs = -(-n // 2)
    lengths = zip(
        _lengths(generator, pairs, SHORT_CHARACTERS), _lengths(generator, pairs, LONG_CHARACTERS), strict=True
    )
    rows = [
        row
        for number, (short, long) in enumerate(lengths)
        for row in _mirrored(generator, f"{number:04d}", short, long)
    ]
    generator.shuffle(rows)
    return rows[:n]


def _lengths(generator: Random, n: int, mean: float) -> list[int]:
    """Gamma-distributed lengths, scaled so that their mean is `mean`, however few they are."""
    drawn = [generator.gammavariate(SHAPE, 1.0) for _ in range(n)]
    return [round(length * mean * n / sum(drawn)) for length in drawn]


def _mirrored(generator: Random, number: str, short: int, long: int) -> tuple[Preference, Preference]:
    prompt = prose(generator, PROMPT_CHARACTERS).rstrip(".") + "?"
    refusal, answer = prose(generator, short), prose(generator, long)
    return (
        _preference(f"s1-{number}", "s1", S1, prompt, refusal, answer),
        _preference(f"s0-{number}", "s0", S0, prompt, answer, refusal),
    )


def _preference(name: str, configuration: str, system: str, prompt: str, chosen: str, rejected: str) -> Preference:
    return Preference(
        id=name,
        task="harmless",
        configuration=configuration,
        system_prompt=system,
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
    )


def rows_of_file(path: Path, n: int, seed: int) -> list[Preference]:
    """`n` rows of a preference file, drawn without replacement; fewer, if it has fewer."""
    rows = read_preferences(path)
    return Random(f"rows {seed}").sample(rows, min(n, len(rows)))


def with_policies(rows: list[Preference], seed: int) -> list[Preference]:
    """The rows with a policy text before each system prompt, the same one wherever the system prompt is the same."""
    return [row.model_copy(update={"system_prompt": _under_policy(row.system_prompt or "", seed)}) for row in rows]


def _under_policy(system: str, seed: int) -> str:
    return f"{prose(Random(f'policy {seed} {system}'), POLICY_CHARACTERS)}\n\n{system}"


def rows_of(kind: RowKind, *, n: int, seed: int, file: Path | None = None) -> list[Preference]:
    """`n` rows to time a training on, of `file` or made up."""
    rows = mirrored_rows(n, seed) if file is None else rows_of_file(file, n, seed)
    return with_policies(rows, seed) if kind == "long" else rows
