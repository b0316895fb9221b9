"""The card of a recipe's judge in its run folder: how it comes there, and what makes it that judge's.

A card is `judge_card.json` in the run folder: put there by `cst judge-card`, by hand, or taken from the recipe's
`judge_card`. Scores are then also corrected for the judge's errors.
"""

from typing import TYPE_CHECKING

from cst.errors import RecipeError
from cst.run_folder import Stage
from cst.store import fingerprint, fingerprint_of_file, parse_record, read_text, write_json
from cst.workshop import Workshop

if TYPE_CHECKING:
    from cst.evaluation.judge_card import JudgeCard

CARD = "judge_card.json"


def judge_fingerprint(workshop: Workshop) -> str:
    """SHA-256 of all that decides the judge's opinions."""
    return fingerprint(workshop.judged_by)


def has_card(workshop: Workshop) -> bool:
    """Whether there is a card, or the recipe says where one lies."""
    return workshop.recipe.judge_card is not None or (workshop.folder / CARD).is_file()


def card_stage(workshop: Workshop) -> Stage:
    """The recipe's card, brought into the run folder."""
    source = workshop.recipe.judge_card
    assert source is not None

    def depends() -> list[object]:
        return [judge_fingerprint(workshop), fingerprint_of_file(source) if source.is_file() else None]

    def work() -> None:
        from cst.evaluation.judge_card import JudgeCard

        write_json(workshop.folder / CARD, parse_record(read_text(source), JudgeCard, str(source)))

    return Stage("judge-card", depends, [], [CARD], work)


def card_of(workshop: Workshop) -> "JudgeCard":
    """The card in the run folder.

    Raises:
        DataError: The file is no card.
        RecipeError: It is the card of another judge, or of this one with other settings.
    """
    from cst.evaluation.judge_card import JudgeCard

    path = workshop.folder / CARD
    card = parse_record(read_text(path), JudgeCard, str(path))
    if card.fingerprint != judge_fingerprint(workshop):
        raise RecipeError(
            f"{path} is the card of {card.judge} with the settings {card.settings}, and the recipe's judge is another "
            "or has other settings. Make its own with `cst judge-card`, or take the card away."
        )
    return card
