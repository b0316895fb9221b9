"""`cst judge-card`: ask a recipe's judge about answers that people labelled, and write down how often it errs."""

import json
from collections.abc import Sequence
from pathlib import Path

from cst.chat.budget import Budget
from cst.commands.console import draw, folder_of, read_recipe, tell
from cst.errors import RecipeError
from cst.evaluation.card_tables import card_table
from cst.evaluation.judge_card import JudgeCard, task_cards
from cst.kept_recipe import refuse_another_recipe
from cst.labelled_answers import LabelReading, read_labelled
from cst.recipe import Recipe
from cst.records import Side
from cst.run_folder import RunFolder
from cst.stages.judge_cards import CARD, judge_fingerprint
from cst.store import fingerprint_of_file, write_json
from cst.workshop import Workshop


def show(
    labelled: Path,
    recipe_file: Path,
    folder: Path | None,
    overrides: Sequence[str],
    reading: LabelReading,
    *,
    positive: Side,
    budget: Budget,
    as_json: bool,
) -> None:
    """Make the card, write it to the recipe's `judge_card` or else into the run folder, and print it."""
    recipe = read_recipe(recipe_file, overrides)
    home = folder_of(recipe, folder)
    card = make_card(labelled, recipe, home, reading, positive=positive, budget=budget)
    out = recipe.judge_card or home / CARD
    write_json(out, card)
    if as_json:
        print(json.dumps(card.model_dump(mode="json"), indent=2))
    else:
        draw(card_table(card))
        tell(f"card: {out}")


def make_card(
    labelled: Path, recipe: Recipe, home: Path, reading: LabelReading, *, positive: Side, budget: Budget | None = None
) -> JudgeCard:
    """The card of a recipe's judge; calls of models are journalled in its run folder.

    Raises:
        DataError: The labelled file can't be used.
        RecipeError: The recipe names no judge.
        CstError: The judge's own errors; a model's answers so far are kept, and the same call goes on from there.
    """
    workshop = Workshop(recipe, home, budget=budget)
    read = read_labelled(labelled, reading)
    if recipe.judge is None:
        raise RecipeError("The recipe has no section `judge`, so there is none to make a card of. Add it.")
    with RunFolder(home).locked():
        refuse_another_recipe(workshop)
        try:
            tasks = task_cards(read.answers, workshop.judge, positive=positive)
            name = workshop.judge.name
        finally:
            workshop.close()
    return JudgeCard(
        judge=name,
        settings=recipe.judge.model_dump(mode="json"),
        fingerprint=judge_fingerprint(workshop),
        labelled=labelled.name,
        labelled_sha256=fingerprint_of_file(labelled),
        labels=read.labels,
        positive=positive,
        tasks=tasks,
    )
